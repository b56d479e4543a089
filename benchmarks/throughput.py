"""Speed of parsing, training and decoding on this machine.

Compare two versions of the code only by running both in turn on the same quiet machine.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks._assembly import put_together
from benchmarks._synthetic import SOURCE_WORDS, sentence, vocabularies, write_channels
from s2s_algo.data.corpus import build_corpus
from s2s_algo.decoding.fixed import fix_weights
from s2s_algo.decoding.translator import Translator
from s2s_algo.training.assembly import Assembled
from s2s_algo.training.trainer import update

# The sizes in which the field compares such models: a small one, and the defaults of the hyperparameter page.
CONFIGURATIONS = {
    "small": {"rnn_num_hidden": "512", "num_embed_source": "256", "num_embed_target": "256"},
    "default": {},
}
_PAIRS = 6_400


@click.command()
@click.option("--configuration", type=click.Choice(list(CONFIGURATIONS)), default="small", show_default=True)
@click.option(
    "--rounds", default=5, show_default=True, help="Measurements per line; the median and the range are shown."
)
@click.option("--threads", default=os.cpu_count() or 1, show_default=True)
def main(configuration: str, rounds: int, threads: int) -> None:
    """Prints a table of throughputs."""
    torch.set_num_threads(threads)
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {threads} threads, {platform.machine()}")
    print(f"configuration {configuration}: batch 64, mlp attention, beam 5; tokens are real ones, no padding counted\n")
    with tempfile.TemporaryDirectory(prefix="s2s-bench-") as folder:
        assembled = _assemble(Path(folder), CONFIGURATIONS[configuration])
        _row("parsing, records/s", rounds, lambda: _parse(Path(folder)))
        _row("training, target tokens/s", rounds, lambda: _train(assembled))
        translator = Translator.from_artifact(assembled.artifact(), assembled.job.model.device)
        fix_weights(translator.model)
        _row("decoding in batches, target tokens/s", rounds, lambda: _decode(translator, 64))
        _row("decoding one by one, target tokens/s", rounds, lambda: _decode(translator, 1))
    # Kilobytes on Linux, bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(f"{'peak memory, MiB':40} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:10.0f}")


def _row(name: str, rounds: int, measure: Callable[[], float]) -> None:
    measure()  # the first time pays for memory and code that later ones find ready
    found = [measure() for _ in range(rounds)]
    print(f"{name:40} {statistics.median(found):10.0f}   ({min(found):.0f} to {max(found):.0f})", flush=True)


def _assemble(folder: Path, hyperparameters: dict[str, str]) -> Assembled:
    return put_together(hyperparameters, write_channels(folder, _PAIRS), vocabularies(), folder)


def _parse(folder: Path) -> float:
    channels = write_channels(folder, _PAIRS)
    source, target = vocabularies()
    began = time.perf_counter()
    build_corpus(channels.train, len(source), len(target), folder / "parsed")
    return _PAIRS / (time.perf_counter() - began)


def _train(assembled: Assembled, updates: int = 10) -> float:
    plan = assembled.job.train_data.plan(0)[:updates]
    began = time.perf_counter()
    tokens = sum(update(assembled.job, assembled.state, planned).tokens for planned in plan)
    return tokens / (time.perf_counter() - began)


def _decode(translator: Translator, batch: int) -> float:
    """An untrained model never ends a sentence, so every sentence is as long as its limit."""
    random = np.random.default_rng(1)
    sources = [sentence(random, SOURCE_WORDS) for _ in range(64 if batch > 1 else 8)]
    began = time.perf_counter()
    tokens = 0
    for start in range(0, len(sources), batch):
        tokens += sum(len(found.token_ids) for found in translator.translate(sources[start : start + batch]))
    return tokens / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
