"""How long programs take until they do what they were started for, each in a new process.

Files lie in the system's cache, as they do from the second start on.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from benchmarks._configurations import SIZES
from benchmarks._job_folder import lay_out
from benchmarks._rivals.stamps import read_stamps
from benchmarks._server import Server, write_model
from benchmarks._synthetic import write_channels

_ROOT = Path(__file__).parents[1]
_PAIRS = 10_000
_QUESTION = json.dumps({"instances": [{"data": "w1 w2 w3"}]})
_IMPORT = "from s2s_algo.decoding.translator import Translator"

# Seconds, and seconds of processor time.
Taken = tuple[float, float]


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Starts of each; the median and the range are shown.")
def main(rounds: int) -> None:
    """Prints a table in seconds."""
    with tempfile.TemporaryDirectory(prefix="s2s-bench-") as name:
        folder = Path(name)
        # A model of 512 units in either case.
        job = folder / "training"
        write_channels(lay_out(job, SIZES["small"]), _PAIRS)
        served = folder / "serving"
        served.mkdir()
        write_model(served, SIZES["small"])
        print("| from its start until | seconds | processor seconds |")
        print("|---|---|---|")
        _row("`import s2s_algo` is done", rounds, partial(_run, ["-c", "import s2s_algo"]))
        _row("the translator is imported, with torch", rounds, partial(_run, ["-c", _IMPORT]))
        _row("`s2s --help` has answered", rounds, partial(_run, ["-m", "s2s_algo.cli", "--help"]))
        _row(f"training on {_PAIRS:,} pairs has made an update", rounds, partial(_train, job, folder / "stamps"))
        _row("the endpoint has answered a request", rounds, partial(_serve, served))


def _row(name: str, rounds: int, measure: Callable[[], Taken]) -> None:
    measure()  # which fills the system's cache
    cells = [_cell(values) for values in zip(*(measure() for _ in range(rounds)), strict=True)]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _cell(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _run(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Taken:
    began, used = time.perf_counter(), _used()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began, _used() - used


def _train(job: Path, stamps: Path) -> Taken:
    """The first stamp is that of the first update, by a clock that all processes share."""
    began = time.perf_counter()
    watched = {"BENCHMARK_STAMPS": str(stamps), "BENCHMARK_SECONDS": "0", "BENCHMARK_WARM_UP": "1"}
    arguments = ["-m", "benchmarks._rivals.inside.ours", "container.entrypoint", "train"]
    _run(arguments, {**watched, "SAGEMAKER_BASE_DIR": str(job)})
    (first,) = read_stamps(stamps)
    return first.ended[0] - began, first.ended[1]


def _serve(base: Path) -> Taken:
    began = time.perf_counter()
    with Server(base, log=base / "log") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/invocations", _QUESTION, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        taken = time.perf_counter() - began, server.cpu_seconds()
        connection.close()
    if answer.status != 200:
        raise click.ClickException(f"the endpoint answered {answer.status}")
    return taken


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
