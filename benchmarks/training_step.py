"""Speed of updates on this machine, as a share of what its matrix products allow.

Give a folder with ``train.*`` text files for a real corpus: one sentence per line, tokens separated by blanks. Without
one, random sentences of similar lengths and vocabularies are drawn. Compare two versions of the code only by running
both in turn on the same quiet machine; with one thread, processor time tells more than time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from benchmarks._assembly import put_together
from benchmarks._ceiling import ceiling, operations
from benchmarks._configurations import COMPARED
from benchmarks._corpus import Prepared, prepared, texts
from benchmarks._synthetic import vocabularies, write_channels
from s2s_algo.data.plans import PlannedBatch
from s2s_algo.training.assembly import Assembled
from s2s_algo.training.trainer import update

_PAIRS = 6_400


@dataclass(frozen=True, slots=True)
class Measured:
    """Some updates: real target tokens, operations of matrix products on real tokens, seconds, processor seconds."""

    tokens: int
    operations: float
    seconds: float
    processor: float


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--configuration", "names", multiple=True, type=click.Choice(list(COMPARED)), default=["A", "B"])
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--languages", default="en,de", show_default=True, help="Endings of the source and the target file.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--updates", default=10, show_default=True, help="Updates of each round.")
@click.option("--threads", default=1, show_default=True)
@click.option("--profile", is_flag=True, help="Show which operators take the time.")
def main(
    folder: Path | None,
    names: tuple[str, ...],
    precision: str,
    languages: str,
    rounds: int,
    updates: int,
    threads: int,
    profile: bool,
) -> None:
    """Prints throughputs in real target tokens, ``</s>`` included, no padding counted."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    print(f"torch {torch.__version__}, {threads} threads, {precision}, batches of 64 pairs, Adam, no dropout")
    for name in names:
        with tempfile.TemporaryDirectory(prefix="s2s-bench-") as scratch:
            assembled = _assemble(Path(scratch), folder, languages, {**COMPARED[name], "precision": precision})
            _measure(assembled, 0, updates)  # the first ones pay for memory and code that later ones find ready
            found, ceilings = [], []
            for number in range(rounds):
                ceilings.append(ceiling(getattr(torch, precision), clock))
                found.append(_measure(assembled, number, updates))
            rates = [measured.tokens / measured.processor for measured in found]
            per_second = statistics.median(measured.tokens / measured.seconds for measured in found)
            # Of one thread the processor's seconds count, which others on this machine change less.
            share = statistics.median(
                measured.operations / (measured.processor if threads == 1 else measured.seconds) / most
                for measured, most in zip(found, ceilings, strict=True)
            )
            print(
                f"{name}: {statistics.median(rates):6.0f} tokens per processor second ({min(rates):.0f} to "
                f"{max(rates):.0f}), {per_second:6.0f} per second; products {statistics.median(ceilings) / 1e9:.0f} "
                f"GFLOP/s, of which training reaches {share:.0%}",
                flush=True,
            )
            if profile:
                with torch.profiler.profile(record_shapes=True) as profiler:
                    _measure(assembled, 0, updates)
                print(
                    profiler.key_averages(group_by_input_shape=False).table(sort_by="self_cpu_time_total", row_limit=30)
                )


def _measure(assembled: Assembled, epoch: int, updates: int) -> Measured:
    job = assembled.job
    plan = [planned for planned in job.train_data.plan(epoch) if len(planned.pairs) == 64][:updates]
    needed = sum(_operations(assembled, planned) for planned in plan)
    began, processor = time.perf_counter(), time.process_time()
    tokens = sum(update(job, assembled.state, planned).tokens for planned in plan)
    return Measured(tokens, needed, time.perf_counter() - began, time.process_time() - processor)


def _operations(assembled: Assembled, planned: PlannedBatch) -> float:
    """Of an update: one pass forward, and backward two products for each of its products."""
    batch = assembled.job.train_data.collate(planned)
    source, target = int(batch.source_length.sum()), int(batch.target_length.sum())
    return 3 * operations(assembled.job.model, len(batch.source), source, target)


def _assemble(scratch: Path, folder: Path | None, languages: str, hyperparameters: dict[str, str]) -> Assembled:
    if folder is None:
        data = Prepared(write_channels(scratch, _PAIRS), vocabularies())
    else:
        text = texts(folder, "train", languages)
        data = prepared(text, text, scratch / "data")
    hyperparameters |= {"optimizer_type": "adam", "batch_size": "64"}
    return put_together(hyperparameters, data.channels, data.vocabularies, scratch)


if __name__ == "__main__":
    main()
