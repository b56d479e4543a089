"""Memory and start of a training job on a corpus that is larger than memory should be.

The job is a real one, ``container.entrypoint train`` in a process of its own: once with a few pairs, which tells what
the model needs, once with many, and once more with their corpus kept from before.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks._job_folder import lay_out
from benchmarks._synthetic import write_channels

# So many different pairs, over and over: to make more takes longer than to train on them, and nothing here depends on
# what they are.
_DIFFERENT_PAIRS = 100_000
_FEW_PAIRS = 1_000
_BATCH = 64
_JOB = {
    "rnn_num_hidden": "64",
    "num_embed_source": "64",
    "num_embed_target": "64",
    "max_num_batches": "200",
    "batch_size": str(_BATCH),
}
_READ = re.compile(r"train channel: \d+ pairs in")
_SPEED = re.compile(r"Epoch\[\d+\] Batch \[\d+\]\s+Speed: (\S+) samples/sec")
_SPEED_EVERY = 50  # updates


@dataclass
class _Run:
    """What a job needed.

    Attributes:
        anonymous: Largest anonymous memory, in MiB: all but the pages of mapped files, which the system takes back
            when it needs them.
        read: Seconds until the training channel was read.
        first_update: Seconds until the first update began.
        end: Seconds until the process had ended.
    """

    anonymous: float = 0.0
    read: float = 0.0
    first_update: float = 0.0
    end: float = 0.0


@click.command()
@click.option("--pairs", default=10_000_000, show_default=True)
@click.option("--updates", default=int(_JOB["max_num_batches"]), show_default=True, help="After which a job ends.")
def main(pairs: int, updates: int) -> None:
    """Prints a table of three jobs."""
    with tempfile.TemporaryDirectory(prefix="s2s-bench-") as name:
        folder = Path(name)
        _write_job(folder / "few", _FEW_PAIRS, _FEW_PAIRS, updates)
        _write_job(folder / "many", pairs, min(pairs, _DIFFERENT_PAIRS), updates)
        size = sum(file.stat().st_size for file in (folder / "many/input/data/train").iterdir())
        print(f"{pairs} pairs, {size / 2**20:.0f} MiB of records; {updates} updates of {_BATCH} pairs\n")
        print(f"{'job':34} {'anonymous MiB':>13} {'read s':>9} {'update 1 s':>10} {'end s':>9}")
        few = _row("few pairs", _run(folder / "few", {}))
        _row("many pairs", many := _run(folder / "many", {}))
        cache = {"S2S_CACHE_DIR": str(folder / "cache")}
        _row("many pairs, corpus to be kept", _run(folder / "many", cache))
        _row("many pairs, corpus kept", _run(folder / "many", cache))
    seconds = many.read - few.read
    print(f"\nmany pairs need {many.anonymous - few.anonymous:.0f} MiB of anonymous memory more than few")
    print(f"records read, checked and digested: {pairs / seconds:.0f} a second")


def _write_job(base: Path, pairs: int, different: int, updates: int) -> None:
    train = lay_out(base, _JOB | {"max_num_batches": str(updates)})
    (base / "different").mkdir()
    content = write_channels(base / "different", different).train.files[0].read_bytes()
    with (train / "pairs.rec").open("wb") as stream:
        for _ in range(pairs // different):
            stream.write(content)


def _run(base: Path, more: dict[str, str]) -> _Run:
    run = _Run()
    began = time.monotonic()
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(base), "TMPDIR": str(base), "OMP_NUM_THREADS": "1"} | more
    command = [sys.executable, "-m", "container.entrypoint", "train"]
    job = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    threading.Thread(target=_watch, args=(job, run), daemon=True).start()
    assert job.stdout is not None
    log = []
    for line in job.stdout:
        log.append(line)
        passed = time.monotonic() - began
        if _READ.search(line):
            run.read = passed
        if not run.first_update and (speed := _SPEED.search(line)):
            run.first_update = passed - _SPEED_EVERY * _BATCH / float(speed[1])
    if job.wait():
        raise click.ClickException("".join(log[-20:]))
    run.end = time.monotonic() - began
    return run


def _watch(job: subprocess.Popen[str], run: _Run) -> None:
    while job.poll() is None:
        try:
            memory = Path(f"/proc/{job.pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:  # it has just ended
            return
        found = re.search(r"^Anonymous:\s+(\d+) kB", memory, re.MULTILINE)
        if found:
            run.anonymous = max(run.anonymous, int(found[1]) / 2**10)
        time.sleep(0.05)


def _row(name: str, run: _Run) -> _Run:
    print(f"{name:34} {run.anonymous:13.0f} {run.read:9.1f} {run.first_update:10.1f} {run.end:9.1f}", flush=True)
    return run


if __name__ == "__main__":
    main()
