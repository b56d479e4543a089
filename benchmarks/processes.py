"""What several training processes gain over one, each with one thread, and what one sum of all gradients costs.

The same job runs by turns with one process and with several, in processes of their own, which talk to each other as
those of a real job do. What is timed are updates as they are in the midst of a job.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import click
import torch

from benchmarks._assembly import put_together
from benchmarks._configurations import SIZES
from benchmarks._synthetic import vocabularies, write_channels
from s2s_algo.machine import available_cores
from s2s_algo.training.assembly import Assembled
from s2s_algo.training.trainer import update
from s2s_algo.training.workers import Workers, joined

_PAIRS = 6_400
# Updates before the measurement: the first ones pay for memory and code that later ones find ready.
_WARM_UP = 3
_SUMS = 5


@dataclass(frozen=True, slots=True)
class _Run:
    """What a run of some processes told.

    Attributes:
        tokens_per_second: Target tokens of all processes together.
        sum_seconds: What one sum of all gradients takes; 0 with one process.
        sum_bytes: What each process gives into it.
    """

    tokens_per_second: float
    sum_seconds: float
    sum_bytes: int


@click.command()
@click.option("--configuration", type=click.Choice(list(SIZES)), default="small", show_default=True)
@click.option("--processes", default=2, show_default=True, help="To compare with one process.")
@click.option("--rounds", default=5, show_default=True, help="Runs of either; the median and the range are shown.")
@click.option("--updates", default=20, show_default=True, help="That are timed in each run.")
@click.option("--batch", default=64, show_default=True, help="Pairs of an update, of all processes together.")
@click.option("--worker", is_flag=True, hidden=True, help="Be one of the processes of a run.")
def main(configuration: str, processes: int, rounds: int, updates: int, batch: int, worker: bool) -> None:
    """Prints a table of throughputs."""
    if worker:
        _work({**SIZES[configuration], "batch_size": str(batch)}, updates)
        return
    if processes < 2:
        raise click.BadParameter("must be 2 or more, for one is what they are compared with", param_hint="--processes")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, ", end="")
    print(f"{available_cores()} cores, 1 thread in each process")
    print(f"configuration {configuration}: batch {batch}, mlp attention; tokens are real ones, no padding counted\n")
    one, several = [], []
    for _ in range(rounds):
        one.append(_run(configuration, 1, updates, batch))
        several.append(_run(configuration, processes, updates, batch))
    _row("1 process, target tokens/s", [run.tokens_per_second for run in one], "10.0f")
    _row(f"{processes} processes, target tokens/s", [run.tokens_per_second for run in several], "10.0f")
    ratios = [b.tokens_per_second / a.tokens_per_second for a, b in zip(one, several, strict=True)]
    _row(f"{processes} processes to 1, ratio of each round", ratios, "10.2f")
    _row("efficiency, ratio / processes", [ratio / processes for ratio in ratios], "10.2f")
    _row("one sum of all gradients, ms", [1000 * run.sum_seconds for run in several], "10.1f")
    print(f"{'  of so many MiB in each process':40} {several[0].sum_bytes / 2**20:10.1f}")


def _row(name: str, found: Sequence[float], form: str) -> None:
    low, high = (format(value, form).strip() for value in (min(found), max(found)))
    print(f"{name:40} {statistics.median(found):{form}}   ({low} to {high})", flush=True)


def _run(configuration: str, processes: int, updates: int, batch: int) -> _Run:
    """Trains with so many new processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "benchmarks.processes", "--worker", f"--configuration={configuration}", f"--updates={updates}"]
    command.append(f"--batch={batch}")
    with tempfile.TemporaryDirectory(prefix="s2s-bench-") as folder:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": folder},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        raise click.ClickException(f"a run with {processes} processes failed; its messages are above")
    return _Run(**json.loads(done.stdout))


def _work(hyperparameters: Mapping[str, str], updates: int) -> None:
    """What each process of a run does; the first one prints what was found."""
    rank, size, local_rank, local_size = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    with joined(rank, size, local_rank, local_size) as workers:
        assembled = _assemble(hyperparameters, workers)
        job, plan = assembled.job, cycle(assembled.job.train_data.plan(0))
        for _ in range(_WARM_UP):
            update(job, assembled.state, next(plan))
        tokens = 0

        def train() -> None:
            nonlocal tokens
            tokens = sum(update(job, assembled.state, next(plan)).tokens for _ in range(updates))

        seconds = _timed(train, workers)
        sums = [_timed(lambda: workers.sum_gradients(job.optimizer.parameters), workers) for _ in range(_SUMS)]
        if workers.is_leader:
            size_of_sum = sum(p.numel() * p.element_size() for p in job.optimizer.parameters) if size > 1 else 0
            print(json.dumps(asdict(_Run(tokens / seconds, statistics.median(sums), size_of_sum))))


def _timed(task: Callable[[], None], workers: Workers) -> float:
    """Seconds until the last process is done, from when all are ready."""
    _settle(workers)
    began = time.perf_counter()
    task()
    _settle(workers)
    return time.perf_counter() - began


def _settle(workers: Workers) -> None:
    """Waits for all processes, and for what the device still has to do."""
    if workers.device.type == "cuda":
        torch.cuda.synchronize(workers.device)
    workers.any(False)


def _assemble(hyperparameters: Mapping[str, str], workers: Workers) -> Assembled:
    # The folder of the run is shared; each process writes the channels anew, and one reads them for all.
    folder = Path(tempfile.gettempdir())
    own = folder / f"channels-{workers.rank}"
    own.mkdir()
    return put_together(hyperparameters, write_channels(own, _PAIRS), vocabularies(), folder, workers)


if __name__ == "__main__":
    main()
