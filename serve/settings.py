"""Everything the server takes from its environment, read once into one frozen object.

Source: container contract 4.1, 4.3, 4.6 and 4.7; decisions 38 and 39.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast, get_args

from s2s_algo.decoding.options import PrecisionName
from s2s_algo.errors import ClientError
from serve.media_types import Format
from serve.playground import is_on as has_playground

MEBIBYTE = 1 << 20

# How many processes serve; the command ``serve`` sets it if nobody has.
WORKERS = "SAGEMAKER_MODEL_SERVER_WORKERS"

# Where prometheus_client finds, when it is imported, the folder in which several processes share their numbers: each
# writes its own into files, and whichever is asked adds all up.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

# A batch transform sends large parts of a file at once and waits for them for up to an hour; the platform bounds how
# many it sends. Refusing such a part for its size or because others wait would only fail the job.
_BATCH_BODY_MB = 100
_BATCH_INSTANCES = 1_000_000
_BATCH_WAITING_TOKENS = 50_000_000
_BATCH_HANG_TIMEOUT = 3600.0

_BODY_MB = 25
_MOST = 2**31 - 1

# What the platform sends per request if nobody says otherwise.
_DEFAULT_TRANSFORM_MB = 6

# Left of the platform's time for the way back.
_ANSWER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server listens and what it accepts.

    Attributes:
        address: Address the socket is bound to.
        port: Port of the socket.
        workers: Server processes, each with its own copy of the model.
        threads: HTTP threads per process. Half of them may wait for translations; the others read requests from slow
            clients and answer ``/ping``.
        server_timeout: Seconds after which a server process that shows no sign of life is replaced.
        read_timeout: Seconds a client may take to send one request, and again to take its answer.
        graceful_timeout: Seconds that requests under way are given after SIGTERM.
        hang_timeout: Seconds without progress in the decoder after which the server process is replaced.
        batch: The server runs for a batch transform job.
        default_accept: Format of the answer if the request leaves it open; ``None`` means the request's own.
        max_body_bytes: Longest body.
        max_instances: Most instances of a request.
        max_instance_tokens: Most source tokens of an instance.
        max_waiting_tokens: Most source tokens of all unanswered requests together.
        max_batch_rows: Most hypotheses that are searched at the same time; one sentence always is.
        deadline: Seconds a request may take, ``None`` for no limit.
        transform_concurrency: ``MaxConcurrentTransforms`` that is suggested to a batch transform.
        transform_payload_mb: ``MaxPayloadInMB`` that is suggested to a batch transform.
        metrics_folder: Where several server processes share their numbers; ``None`` if there is only one.
        playground: Whether ``GET /`` answers with a page to try the model out.
        multi_model: The server runs for a multi-model endpoint.
        model_memory: Most bytes of all models of such an endpoint; ``None`` for a share of what there is.
        precision: Of products with the weights.
    """

    address: str = "0.0.0.0"  # noqa: S104  a container's port is published by whoever runs it
    port: int = 8080
    workers: int = 1
    threads: int = 128
    server_timeout: int = 60
    read_timeout: float = 30.0
    graceful_timeout: int = 25
    hang_timeout: float = 600.0
    batch: bool = False
    default_accept: Format | None = None
    max_body_bytes: int = _BODY_MB * MEBIBYTE
    max_instances: int = 10_000
    max_instance_tokens: int = 10_000
    max_waiting_tokens: int = 100_000
    max_batch_rows: int = 320
    deadline: float | None = 55.0
    transform_concurrency: int = 1
    transform_payload_mb: int = _DEFAULT_TRANSFORM_MB
    metrics_folder: Path | None = None
    playground: bool = True
    multi_model: bool = False
    model_memory: int | None = None
    precision: PrecisionName = "float32"

    @property
    def socket_address(self) -> str:
        """Address and port, as gunicorn and people write them."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def max_waiting_requests(self) -> int:
        """Most requests that may wait for translations at the same time."""
        return max(1, self.threads // 2)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Reads the variables that `docs/serving.md` lists; an empty variable counts as not set.

        There is one more, which the command ``serve`` sets for several processes: the folder of their metrics.

        Raises:
            ClientError: Values outside what is allowed; names all of them.
        """
        read = _Reader(environment)
        default = cls()
        batch = read.flag("SAGEMAKER_BATCH")
        multi_model = read.flag("SAGEMAKER_MULTI_MODEL")
        body_mb = read.integer("SAGEMAKER_MAX_PAYLOAD_IN_MB", 0, 0, 1000)  # 0, as a job may say, is the default
        workers = read.integer(WORKERS, default.workers, 1, 256)
        server_timeout = read.integer("SAGEMAKER_MODEL_SERVER_TIMEOUT", default.server_timeout, 1, 86_400)
        folder = read.text(METRICS_FOLDER, "")
        deadline = 0.0 if batch else max(1.0, server_timeout - _ANSWER_SECONDS)
        settings = cls(
            address=read.text("S2S_BIND_ADDRESS", default.address),
            port=read.integer("SAGEMAKER_BIND_TO_PORT", default.port, 1, 65_535),
            workers=workers,
            threads=read.integer("S2S_SERVER_THREADS", default.threads, 2, 1024),
            server_timeout=server_timeout,
            read_timeout=read.seconds("S2S_READ_TIMEOUT_SECONDS", default.read_timeout, minimum=0.1),
            graceful_timeout=read.integer("S2S_GRACEFUL_TIMEOUT_SECONDS", default.graceful_timeout, 1, 3600),
            hang_timeout=read.seconds(
                "S2S_HANG_TIMEOUT_SECONDS", _BATCH_HANG_TIMEOUT if batch else default.hang_timeout, minimum=0.1
            ),
            batch=batch,
            default_accept=read.media_type("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"),
            max_body_bytes=(body_mb or (_BATCH_BODY_MB if batch else _BODY_MB)) * MEBIBYTE,
            max_instances=read.integer(
                "S2S_MAX_INSTANCES", _BATCH_INSTANCES if batch else default.max_instances, 1, _MOST
            ),
            max_instance_tokens=read.integer("S2S_MAX_INSTANCE_TOKENS", default.max_instance_tokens, 1, _MOST),
            max_waiting_tokens=read.integer(
                "S2S_MAX_WAITING_TOKENS", _BATCH_WAITING_TOKENS if batch else default.max_waiting_tokens, 1, _MOST
            ),
            max_batch_rows=read.integer("S2S_MAX_BATCH_ROWS", default.max_batch_rows, 1, _MOST),
            deadline=read.seconds("S2S_DEADLINE_SECONDS", deadline) or None,
            transform_concurrency=read.integer("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", 0, 0, 1000) or workers,
            transform_payload_mb=body_mb or default.transform_payload_mb,
            metrics_folder=Path(folder) if folder else None,
            playground=read.decision(has_playground) and not multi_model,  # there is no one model to try
            multi_model=multi_model,
            model_memory=read.integer("S2S_MODEL_MEMORY_MB", 0, 0, _MOST) * MEBIBYTE or None,
            precision=read.precision("S2S_PRECISION", default.precision),
        )
        if multi_model and workers > 1:
            read.problems.append(
                f"{WORKERS} is {workers}; with SAGEMAKER_MULTI_MODEL=true it must be 1, or be "
                "left out: every process would need every model"
            )
        if read.problems:
            raise ClientError("; ".join(read.problems), where="environment")
        return settings


def memory_disk(folder: str = "/dev/shm") -> str | None:  # noqa: S108
    """Returns a folder whose files never wait for a slow disk, or ``None`` if there is none."""
    return folder if os.access(folder, os.W_OK) else None


class _Reader:
    """Reads typed variables and collects what is wrong with them, so that one start shows all mistakes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        return self._environment.get(name, "").strip() or default

    def flag(self, name: str) -> bool:
        return self.text(name, "").lower() == "true"

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        text = self.text(name, str(default))
        if text.isascii() and text.isdigit() and len(text) <= 10 and minimum <= int(text) <= maximum:
            return int(text)
        self._report(name, text, f"an integer from {minimum} to {maximum}")
        return default

    def seconds(self, name: str, default: float, minimum: float = 0.0) -> float:
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if minimum <= value < math.inf:
            return value
        at_least = f"a number of seconds, at least {minimum:g}"
        self._report(name, text, at_least if minimum else "a number of seconds, 0 for no limit")
        return default

    def media_type(self, name: str) -> Format | None:
        text = self.text(name, "")
        if not text:
            return None
        found = Format.find(text)
        if found is None:
            self._report(name, text, f"one of {Format.names()}")
        return found

    def decision(self, decide: Callable[[Mapping[str, str]], bool]) -> bool:
        try:
            return decide(self._environment)
        except ClientError as error:
            self.problems.append(error.message)
            return False

    def precision(self, name: str, default: PrecisionName) -> PrecisionName:
        text = self.text(name, default)
        for precision in get_args(PrecisionName):
            if text == precision:
                return cast(PrecisionName, precision)
        self._report(name, text, f"one of {', '.join(get_args(PrecisionName))}")
        return default

    def _report(self, name: str, text: str, allowed: str) -> None:
        self.problems.append(f"{name} is {text[:100]!r}; it must be {allowed}, or be left out")
