"""The two commands of the container as child processes, started and stopped as Docker does."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from local_test.predict import is_ready

# What SageMaker waits between SIGTERM and SIGKILL.
_TRAIN_GRACE_SECONDS, _SERVE_GRACE_SECONDS = 120, 30
_START_SECONDS = 240

_LOG_TAIL = 20  # lines of the server's log that a message shows

_QUALITY = re.compile(r"#quality_metric: host=\S+, epoch=\S+, validation (\w+) <\w+>=(\S+)")


class ContainerError(Exception):
    """A command of the container failed; the message says which one, how, and where its log is."""


def train(folder: Path, log: Path) -> None:
    """Runs a training job and shows its log as it is written.

    Args:
        folder: Stands for /opt/ml.
        log: File that gets the log as well.

    Raises:
        ContainerError: The job failed; holds the text of the failure file.
    """
    process = _start("train", folder, {}, subprocess.PIPE)
    try:
        assert process.stdout is not None
        with log.open("wb") as copy:
            for line in process.stdout:
                copy.write(line)
                print(f"  {line.decode('utf-8', errors='replace').rstrip()}", flush=True)
        status = process.wait()
    finally:
        _stop(process, _TRAIN_GRACE_SECONDS)
    if status != 0:
        failure = folder / "output" / "failure"
        reason = failure.read_text(encoding="utf-8", errors="replace") if failure.exists() else "no failure file"
        raise ContainerError(f"train ended with exit code {status}: {reason}\nits log: {log}")


@contextmanager
def serve(folder: Path, log: Path) -> Iterator[str]:
    """Runs the endpoint on a free port of the loopback interface until the block ends.

    Args:
        folder: Stands for /opt/ml.
        log: File that gets the log.

    Yields:
        The URL of the endpoint once it is ready.

    Raises:
        ContainerError: The endpoint did not become ready, or did not stop properly.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = _start(
            "serve", folder, {"S2S_BIND_ADDRESS": "127.0.0.1", "SAGEMAKER_BIND_TO_PORT": str(port)}, output
        )
        try:
            _wait_until_ready(process, url, log)
            yield url
        finally:
            status = _stop(process, _SERVE_GRACE_SECONDS)
    if status != 0:
        raise ContainerError(f"serve ended with exit code {status}\n{_tail(log)}")


def read_validation_metrics(lines: Iterable[str]) -> list[dict[str, float]]:
    """Returns the validation metrics of each checkpoint from the log of a training job."""
    checkpoints: list[dict[str, float]] = []
    for line in lines:
        found = _QUALITY.search(line)
        if found is None:
            continue
        name, value = found[1], float(found[2])
        if not checkpoints or name in checkpoints[-1]:
            checkpoints.append({})
        checkpoints[-1][name] = value
    return checkpoints


def _start(command: str, folder: Path, environment: dict[str, str], output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Starts a command of the container with its own /opt/ml."""
    return subprocess.Popen(
        [sys.executable, "-m", "container.entrypoint", command],
        env={**os.environ, "PYTHONUNBUFFERED": "1", "SAGEMAKER_BASE_DIR": str(folder.resolve()), **environment},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # An interrupt typed at the terminal reaches this process alone, which then stops the child as SageMaker would.
        start_new_session=True,
    )


def _stop(process: subprocess.Popen[bytes], grace_seconds: float) -> int:
    """Ends a process, if it still runs, with SIGTERM and after the grace period with SIGKILL; returns its status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=grace_seconds)  # reads what it still writes, so that it cannot block on that
    except subprocess.TimeoutExpired:
        process.kill()
    except BaseException:  # a second interrupt: no more patience
        process.kill()
        raise
    return process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Returns when the endpoint answers."""
    deadline = time.monotonic() + _START_SECONDS
    while not is_ready(url):
        if process.poll() is not None:
            raise ContainerError(f"serve ended with exit code {process.returncode} before it was ready\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise ContainerError(f"serve was not ready within {_START_SECONDS} s\n{_tail(log)}")
        time.sleep(0.2)


def _tail(log: Path) -> str:
    """Returns the end of a log and where the rest is."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"the end of {log}:", *(f"  {line}" for line in lines[-_LOG_TAIL:])])


def _free_port() -> int:
    """Returns a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
