"""How the cost of a target token grows with the model, the sentences, the batch, the corpus and the beam.

One thread's processor time for each real target token, of random sentences that are all of one length. In each row all
sizes are measured by turns, so that whoever else uses the machine changes them alike. A straight line in a plot with
two logarithmic axes is a power: the exponent is its slope, 0 where the cost of a token does not depend on the size, 1
where it doubles with it, -1 where it halves.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks._assembly import put_together
from benchmarks._growth import Growth, exponent, save_plot
from benchmarks._synthetic import SOURCE_WORDS, TARGET_WORDS, vocabularies, write_pairs
from s2s_algo.data.channels import Channels
from s2s_algo.data.corpus import build_corpus
from s2s_algo.data.vocabulary import SPECIAL_TOKENS
from s2s_algo.decoding.fixed import fix_weights
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translator import Translator
from s2s_algo.training.assembly import Assembled
from s2s_algo.training.trainer import update

# What stays the same where something else grows.
_WIDTH, _LENGTH, _BATCH, _BEAM, _PAIRS = 256, 16, 64, 5, 1_000
# Long enough for the clock, of which only updates and searches as a whole can be counted.
_LEAST_SECONDS = 0.3
_NEVER = -1e4

# Seconds of processor time for each target token.
Measure = Callable[[], float]


@click.command()
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="PNG file to draw into.")
@click.option("--rounds", default=3, show_default=True, help="Measurements of each size; the median counts.")
def main(plot: Path | None, rounds: int) -> None:
    """Prints a table of costs, in microseconds, and the exponents that fit them."""
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, 1 thread; unless it grows: {_WIDTH} units, sentences of {_LENGTH} tokens, ", end=""
    )
    print(f"batches of {_BATCH}, a beam of {_BEAM}\n")
    rows = []
    for name, size, sizes, prepare in _ROWS:
        with tempfile.TemporaryDirectory(prefix="s2s-bench-") as folder:
            measures = [prepare(_made(Path(folder), number), value) for number, value in enumerate(sizes)]
            rows.append(Growth(name, size, sizes, _by_turns(measures, rounds)))
        cells = ", ".join(f"{value}: {1e6 * cost:.0f}" for value, cost in zip(sizes, rows[-1].costs, strict=True))
        powers = f"exponent {rows[-1].exponent:+.2f}, of the last step {exponent(sizes[-2:], rows[-1].costs[-2:]):+.2f}"
        print(f"{name}, by {size}: {cells}; {powers}", flush=True)
    if plot:
        save_plot(rows, plot)


def _by_turns(measures: Sequence[Measure], rounds: int) -> list[float]:
    for measure in measures:  # the first time pays for memory and code that later ones find ready
        measure()
    found = [[measure() for measure in measures] for _ in range(rounds)]
    return [statistics.median(costs) for costs in zip(*found, strict=True)]


def _training(folder: Path, value: int, axis: str) -> Measure:
    at = {"width": _WIDTH, "length": _LENGTH, "batch": _BATCH, "pairs": _PAIRS, axis: value}
    assembled = _assemble(folder, at["width"], at["length"], at["batch"], max(at["pairs"], 2 * at["batch"]))
    plan = [planned for planned in assembled.job.train_data.plan(0) if len(planned.pairs) == at["batch"]]
    position = 0

    def measure() -> float:
        nonlocal position
        tokens, began = 0, time.process_time()
        while (seconds := time.process_time() - began) < _LEAST_SECONDS or not tokens:
            tokens += update(assembled.job, assembled.state, plan[position % len(plan)]).tokens
            position += 1
        return seconds / tokens

    return measure


def _translating(folder: Path, value: int, axis: str) -> Measure:
    """Of a model that has learned nothing and never ends a sentence before it is as long as its source."""
    at = {"width": _WIDTH, "length": _LENGTH, "batch": _BATCH, "beam": _BEAM, axis: value}
    assembled = _assemble(folder, at["width"], at["length"], _BATCH, _PAIRS)
    with torch.no_grad():
        assembled.job.model.output_layer.bias[vocabularies()[1].eos_id] = _NEVER
    translator = Translator.from_artifact(assembled.artifact(), assembled.job.model.device)
    fix_weights(translator.model)
    options = SearchOptions(beam_size=at["beam"], max_output_length=at["length"], with_attention=False)
    sources = [source for source, _ in _pairs(at["length"], at["batch"])]

    def measure() -> float:
        tokens, began = 0, time.process_time()
        while (seconds := time.process_time() - began) < _LEAST_SECONDS or not tokens:
            tokens += sum(len(found.token_ids) for found in translator.translate(sources, options))
        return seconds / tokens

    return measure


def _reading(folder: Path, value: int) -> Measure:
    channels = _write(folder, _LENGTH, value)
    source, target = vocabularies()
    number = 0

    def measure() -> float:
        nonlocal number
        number += 1
        began = time.process_time()
        build_corpus(channels.train, len(source), len(target), folder / f"read-{number}")
        return (time.process_time() - began) / value

    return measure


def _assemble(folder: Path, width: int, length: int, batch: int, pairs: int) -> Assembled:
    sizes = {"rnn_num_hidden": str(width), "num_embed_source": str(width), "num_embed_target": str(width)}
    channels = _write(folder, length, pairs)
    return put_together({**sizes, "batch_size": str(batch), "optimizer_type": "adam"}, channels, vocabularies(), folder)


def _write(folder: Path, length: int, pairs: int) -> Channels:
    return write_pairs(folder, _pairs(length, pairs))


def _pairs(length: int, pairs: int) -> list[tuple[list[int], list[int]]]:
    """Of so many tokens, ``</s>`` not counted in the target."""
    random = np.random.default_rng(0)
    first = len(SPECIAL_TOKENS)
    sides = [
        random.integers(first, first + words, (pairs, size)).tolist()
        for words, size in ((SOURCE_WORDS, length), (TARGET_WORDS, max(1, length - 1)))
    ]
    return list(zip(*sides, strict=True))


def _made(folder: Path, number: int) -> Path:
    made = folder / str(number)
    made.mkdir()
    return made


_WIDTHS, _LENGTHS, _BATCHES = (64, 128, 256, 512, 1024), (5, 10, 20, 40, 80), (1, 4, 16, 64, 256)
_ROWS: tuple[tuple[str, str, tuple[int, ...], Callable[[Path, int], Measure]], ...] = (
    ("training", "units", _WIDTHS, partial(_training, axis="width")),
    ("translating", "units", _WIDTHS, partial(_translating, axis="width")),
    ("training", "tokens in a sentence", _LENGTHS, partial(_training, axis="length")),
    ("translating", "tokens in a sentence", _LENGTHS, partial(_translating, axis="length")),
    ("training", "sentences in a batch", _BATCHES, partial(_training, axis="batch")),
    ("translating", "sentences in a batch", _BATCHES, partial(_translating, axis="batch")),
    ("translating", "hypotheses in a beam", (1, 2, 5, 10, 20), partial(_translating, axis="beam")),
    ("training", "pairs of the corpus", (1_000, 10_000, 100_000), partial(_training, axis="pairs")),
    ("reading, for each pair", "pairs of the corpus", (1_000, 10_000, 100_000), _reading),
)


if __name__ == "__main__":
    main()
