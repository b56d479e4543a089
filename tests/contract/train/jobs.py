"""Training jobs as child processes, each with a folder of its own in place of ``/opt/ml``."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.recordio import write_record
from s2s_algo.data.vocabulary import SPECIAL_TOKENS

REPOSITORY = Path(__file__).parents[3]

Pair = tuple[Sequence[int], Sequence[int]]

WORDS = 12  # of each vocabulary, beside the special symbols

# A model that makes an update in milliseconds. Limits are passed by each test.
TINY = {
    "rnn_num_hidden": "8",
    "num_embed_source": "6",
    "num_embed_target": "6",
    "batch_size": "8",
    "max_seq_len_source": "10",
    "max_seq_len_target": "10",
    "beam_size": "2",
}

_PATIENCE = 120.0  # seconds until a job that hangs fails its test
_POLL = 0.005  # seconds


def random_pairs(number: int, seed: int, longest: int = 6) -> list[Pair]:
    """Sources of random words; each target is its source in reverse order."""
    draw = random.Random(seed)
    sources = [draw.choices(range(4, 4 + WORDS), k=draw.randint(1, longest)) for _ in range(number)]
    return [(source, source[::-1]) for source in sources]


def framed(pairs: Iterable[Pair]) -> bytes:
    """The bytes of a record file."""

    class _Joined(list):
        write = list.append

    joined = _Joined()
    for pair in pairs:
        write_record(joined, encode_pair(*pair))
    return b"".join(joined)


@dataclass(frozen=True)
class OptMl:
    """What the platform mounts as ``/opt/ml``.

    Attributes:
        base: The folder.
    """

    base: Path

    @classmethod
    def ready(cls, base: Path, hyperparameters: Mapping[str, Any] = TINY) -> Self:
        """A folder with everything that a job needs."""
        made = cls(base)
        made.configure("hyperparameters.json", hyperparameters)
        made.put("train/train.rec", framed(random_pairs(40, seed=1)))
        made.put("validation/val.rec", framed(random_pairs(12, seed=2)))
        made.put_vocabularies()
        return made

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def checkpoints(self) -> Path:
        return self.base / "checkpoints"

    @property
    def failure(self) -> Path:
        return self.base / "output" / "failure"

    @property
    def scratch(self) -> Path:
        """Where the job is told to put temporary files."""
        return self.base.with_name(self.base.name + "-tmp")

    def configure(self, name: str, values: Any) -> None:
        """Writes one of the platform's JSON files."""
        path = self.base / "input" / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")

    def put(self, name: str, content: bytes) -> Path:
        """Writes a file of a channel; ``name`` begins with the channel."""
        path = self.base / "input" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def put_vocabularies(self, words: int = WORDS) -> None:
        """Writes both vocabularies with so many words."""
        for side in ("src", "trg"):
            tokens = [*SPECIAL_TOKENS, *(f"{side}{number}" for number in range(words))]
            text = json.dumps({token: id_ for id_, token in enumerate(tokens)}, indent=4)
            self.put(f"vocab/vocab.{side}.json", text.encode())

    def files(self) -> set[str]:
        """All files of the folder but those the platform put there and what is shown of the progress."""
        paths = (path.relative_to(self.base) for path in self.base.rglob("*") if not path.is_dir())
        shown = {("output", "data"), ("output", "tensorboard")}
        return {str(path) for path in paths if path.parts[0] != "input" and path.parts[:2] not in shown}

    def checkpoint_names(self) -> list[str]:
        """The folders of checkpoints, in order; whatever else is there must be the lock."""
        names = sorted(path.name for path in self.checkpoints.iterdir())
        assert [name for name in names if not name.startswith("checkpoint-")] == ["lock.sagemaker-ignore"]
        return names[:-1]

    def environment(self, more: Mapping[str, str] = {}) -> dict[str, str]:
        """Of the process: nothing of ours but what is needed to run beside other jobs."""
        self.scratch.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "SAGEMAKER_BASE_DIR": str(self.base),
            "TMPDIR": str(self.scratch),
            # More threads than cores are many times slower, and only one adds numbers in one order.
            "OMP_NUM_THREADS": "1",
            **more,
        }


@dataclass(frozen=True)
class Finished:
    """A job that has ended.

    Attributes:
        opt_ml: Its folder.
        exit_code: As Docker sees it; negative: the signal that killed it.
        log: What it printed.
        cpu_seconds: Time it computed.
        stop_seconds: From the first SIGTERM to the end; ``None`` without one.
    """

    opt_ml: OptMl
    exit_code: int
    log: str
    cpu_seconds: float
    stop_seconds: float | None

    @property
    def failure(self) -> str:
        """The text of the failure file."""
        return self.opt_ml.failure.read_text(encoding="utf-8")

    @property
    def messages(self) -> list[str]:
        """The lines of the log without their prefix."""
        return [re.sub(r"^\[[^]]*\] ", "", line) for line in self.log.splitlines()]

    def found(self, pattern: str) -> list[Any]:
        """What a regular expression finds in the log."""
        return re.findall(pattern, self.log)


class Job:
    """A running ``train``."""

    def __init__(self, opt_ml: OptMl, log: Path, pid: int) -> None:
        self.opt_ml = opt_ml
        self.pid = pid
        self._log = log
        self._signalled: float | None = None

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def wait_for(self, pattern: str) -> None:
        """Returns when the log matches a regular expression."""
        self.wait_until(lambda: re.search(pattern, self.log) is not None, f"{pattern!r} in the log")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Returns when a condition holds."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if self._has_ended() or time.monotonic() > deadline:
                assert condition(), f"no {what}:\n{self.log}"
                return
            time.sleep(_POLL)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._signalled = self._signalled or time.monotonic()
        os.kill(self.pid, signal.SIGTERM)

    def worker(self, rank: int) -> int:
        """The id of one of its training processes."""
        (children,) = Path("/proc").glob(f"{self.pid}/task/{self.pid}/children")
        for child in children.read_text().split():
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            if f"RANK={rank}".encode() in environment:
                return int(child)
        raise AssertionError(f"no training process {rank}:\n{self.log}")

    def limit_file_size(self, limit: int) -> None:
        """Lets it write no file of more bytes, as if the disk were full."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (limit, limit))

    def wait(self) -> Finished:
        """Returns when it has ended."""
        exit_code, cpu_seconds = self._end()
        stop_seconds = time.monotonic() - self._signalled if self._signalled else None
        return Finished(self.opt_ml, exit_code, self.log, cpu_seconds, stop_seconds)

    def kill(self) -> None:
        """Ends it if it still runs."""
        if not self._has_ended():
            os.kill(self.pid, signal.SIGKILL)
            self._end()

    def _has_ended(self) -> bool:
        raise NotImplementedError

    def _end(self) -> tuple[int, float]:
        raise NotImplementedError


class ColdJob(Job):
    """Started as Docker starts it: ``python -m container.entrypoint COMMAND``."""

    def __init__(
        self,
        opt_ml: OptMl,
        log: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
        place: Sequence[str] = (),
    ) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*place, sys.executable, "-m", "container.entrypoint", *command],
                env=dict(environment),
                cwd=opt_ml.base,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._ended: tuple[int, float] | None = None
        super().__init__(opt_ml, log, self._process.pid)

    def _has_ended(self) -> bool:
        return self._reap(os.WNOHANG)

    def _end(self) -> tuple[int, float]:
        self._reap(0)
        assert self._ended
        return self._ended

    def _reap(self, option: int) -> bool:
        if self._ended is None:
            pid, status, usage = os.wait4(self.pid, option)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._ended = self._process.returncode, usage.ru_utime + usage.ru_stime
        return self._ended is not None


class WarmJob(Job):
    """A fork of a process that has imported torch already."""

    def __init__(self, opt_ml: OptMl, log: Path, server: subprocess.Popen[str]) -> None:
        self._server = server
        self._ended: tuple[int, float] | None = None
        super().__init__(opt_ml, log, int(self._next_line()))

    def _has_ended(self) -> bool:
        return self._ended is not None or not Path(f"/proc/{self.pid}").exists()

    def _end(self) -> tuple[int, float]:
        if self._ended is None:
            exit_code, cpu_seconds = json.loads(self._next_line())
            self._ended = exit_code, cpu_seconds
        return self._ended

    def _next_line(self) -> str:
        assert self._server.stdout
        return self._server.stdout.readline()


class Runner:
    """Starts jobs, warm ones one after the other."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server
        self._jobs: list[Job] = []

    def start(self, opt_ml: OptMl, environment: Mapping[str, str] = {}) -> Job:
        """Starts ``train`` in a process that need not import torch any more."""
        log = _new_log(opt_ml)
        request = {"environment": opt_ml.environment(environment), "log": str(log)}
        assert self._server.stdin
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._remember(WarmJob(opt_ml, log, self._server))

    def run(self, opt_ml: OptMl, environment: Mapping[str, str] = {}) -> Finished:
        """Runs ``train`` in a process that need not import torch any more."""
        return self.start(opt_ml, environment).wait()

    def start_cold(
        self,
        opt_ml: OptMl,
        environment: Mapping[str, str] = {},
        command: Sequence[str] = ("train",),
        place: Sequence[str] = (),
    ) -> Job:
        """Starts a process as Docker does; ``place`` is a command before it that says where."""
        return self._remember(ColdJob(opt_ml, _new_log(opt_ml), command, opt_ml.environment(environment), place))

    def run_cold(
        self, opt_ml: OptMl, environment: Mapping[str, str] = {}, command: Sequence[str] = ("train",)
    ) -> Finished:
        """Runs a process as Docker does."""
        return self.start_cold(opt_ml, environment, command).wait()

    def kill_all(self) -> None:
        """Ends what still runs."""
        for job in self._jobs:
            job.kill()

    def _remember(self, job: Job) -> Job:
        self._jobs.append(job)
        return job


@contextmanager
def runner() -> Iterator[Runner]:
    """A runner; at the end nothing that it started runs any more."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.train.warm_start"],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        made = Runner(server)
        try:
            yield made
        finally:
            made.kill_all()  # then the end of its input ends the server


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _new_log(opt_ml: OptMl) -> Path:
    number = 1
    while (log := opt_ml.base.with_name(f"{opt_ml.base.name}-{number}.log")).exists():
        number += 1
    return log
