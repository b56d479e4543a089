"""A real server process on the loopback interface, and what the operating system and its /metrics tell about it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import click
from prometheus_client.parser import text_string_to_metric_families

from benchmarks._assembly import put_together
from benchmarks._synthetic import vocabularies, write_channels
from s2s_algo.checkpoints.artifact import save_artifact

APPLICATION = "container.serve:application()"
_ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_MEBIBYTE = 1 << 20


def write_model(base: Path, hyperparameters: Mapping[str, str]) -> None:
    """Leaves an untrained model where a server with this base folder looks for it."""
    folder = base / "job"
    folder.mkdir()
    assembled = put_together(hyperparameters, write_channels(folder, 500), vocabularies(), folder)
    save_artifact(assembled.artifact(), base / "model")


class Server:
    """A server that runs as long as the block.

    Args:
        base: The folder that holds ``model``.
        threads: That compute.
        environment: Variables of the server.
        application: Where gunicorn finds the application.
        log: Where its log goes; by default where this process writes.

    Attributes:
        port: Where it listens.
        pid: Of gunicorn's master.
    """

    def __init__(
        self,
        base: Path,
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        application: str = APPLICATION,
        log: Path | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._log = log
        self._command = [sys.executable, "-c", f"from container.serve import run; run({application!r})"]
        if application == APPLICATION:
            self._command = [sys.executable, "-m", "container.entrypoint", "serve"]
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
            "SAGEMAKER_BASE_DIR": str(base),
            "S2S_BIND_ADDRESS": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "SAGEMAKER_CONTAINER_LOG_LEVEL": "WARNING",
            "OMP_NUM_THREADS": str(threads),
            "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        output = self._log.open("wb") if self._log else None
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=output, stderr=subprocess.STDOUT if output else None
        )
        if output:
            output.close()
        try:
            while not self._is_ready():
                if not self.is_alive():
                    raise click.ClickException(f"the server ended with exit code {self._process.returncode}")
                time.sleep(0.1)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The number of the process that was started."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def _is_ready(self) -> bool:
        try:
            return self.get("/ping")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """What the server counts, by name; all labels of a name are added up."""
        sums: dict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(self.get("/metrics")[1].decode()):
            for sample in family.samples:
                sums[sample.name] += sample.value
        return sums

    def resident(self) -> float:
        """Memory that its processes hold at the moment, in MiB."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._processes())
        return pages * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE

    def cpu_seconds(self) -> float:
        """CPU seconds that its processes have used."""
        return sum(map(_cpu_seconds, self._processes()))

    def _processes(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [self.pid, *map(int, children.split())]


def _cpu_seconds(pid: int) -> float:
    # The name of the command, in brackets, may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
