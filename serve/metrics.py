"""What the server counts about itself, in the text format of Prometheus."""

from __future__ import annotations

import contextlib
from importlib import metadata
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds; the last one is where requests in real time end.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_SENTENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Of several processes, what is so at the moment counts of those that live.
_SUM: Literal["livesum"] = "livesum"


class Metrics:
    """The numbers of one server process; safe to change from several threads.

    No label may have a value that a client chooses: each is a time series that is kept for ever.

    Args:
        folder: Where several server processes share their numbers; ``None`` if there is only one.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._own = own = CollectorRegistry()
        self._requests = Counter("s2s_requests", "Requests answered", ("route", "status"), registry=own)
        self._seconds = Histogram(
            "s2s_request_seconds",
            "From the head of a request to its answer, in seconds",
            ("route",),
            buckets=_SECONDS,
            registry=own,
        )
        self._in_flight = Gauge(
            "s2s_requests_in_flight",
            "Requests that are being read, waited for or answered",
            ("route",),
            multiprocess_mode=_SUM,
            registry=own,
        )
        self._rejected = Counter(
            "s2s_rejected_requests", "Requests answered with an error, by its code", ("code",), registry=own
        )
        self._waiting_requests = Gauge(
            "s2s_waiting_requests",
            "Requests admitted and not yet answered, those being searched included",
            multiprocess_mode=_SUM,
            registry=own,
        )
        self._waiting_tokens = Gauge(
            "s2s_waiting_source_tokens", "Source tokens of these requests", multiprocess_mode=_SUM, registry=own
        )
        self._step_sentences = Histogram(
            "s2s_step_sentences",
            "Sentences searched together in a step of the decoder; the count is that of the steps",
            buckets=_SENTENCES,
            registry=own,
        )
        self._source_tokens = Counter("s2s_source_tokens", "Source tokens translated", registry=own)
        self._target_tokens = Counter("s2s_target_tokens", "Target tokens of the best translations", registry=own)
        self._ready = Gauge(
            "s2s_model_ready", "Models that are ready, of all server processes", multiprocess_mode=_SUM, registry=own
        )
        self._model_memory = Gauge(
            "s2s_model_memory_bytes",
            "Memory that the models of a multi-model endpoint are counted with",
            multiprocess_mode=_SUM,
            registry=own,
        )
        self._model_memory_limit = Gauge(
            "s2s_model_memory_limit_bytes",
            "Memory that they may be counted with together",
            multiprocess_mode=_SUM,
            registry=own,
        )
        self._build = Gauge(
            "s2s_build_info",
            "1, with the version of the server and the device of its model",
            ("version", "device"),
            multiprocess_mode="livemax",
            registry=own,
        )

    def begin(self, route: str) -> None:
        """A request has come."""
        self._in_flight.labels(route).inc()

    def end(self, route: str, status: int, seconds: float, code: str | None) -> None:
        """It is answered.

        Args:
            route: The pattern of its path.
            status: Of the answer.
            seconds: That it took.
            code: Of the problem, if there was one.
        """
        self._in_flight.labels(route).dec()
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)
        if code is not None:
            self._rejected.labels(code).inc()

    def wait(self, requests: int, tokens: int) -> None:
        """So many requests with so many source tokens are waiting now."""
        self._waiting_requests.set(requests)
        self._waiting_tokens.set(tokens)

    def step(self, sentences: int) -> None:
        """The decoder has made a step with so many sentences."""
        self._step_sentences.observe(sentences)

    def translated(self, source_tokens: int, target_tokens: int) -> None:
        """A request has its translations."""
        self._source_tokens.inc(source_tokens)
        self._target_tokens.inc(target_tokens)

    def ready(self, device: str) -> None:
        """A model is loaded on a device, and works."""
        self._build.labels(_version(), device).set(1)
        self._ready.inc()

    def not_ready(self) -> None:
        """A model that was ready has ended."""
        self._ready.dec()

    def model_memory(self, size: int, limit: int) -> None:
        """The models are counted with so many bytes, of so many."""
        self._model_memory.set(size)
        self._model_memory_limit.set(limit)

    def text(self) -> bytes:
        """Returns the numbers of all server processes."""
        return generate_latest(self._of_all_processes())

    def models_ready(self) -> int:
        """Returns how many models are ready, of all server processes."""
        return int(self._of_all_processes().get_sample_value("s2s_model_ready") or 0)

    def _of_all_processes(self) -> CollectorRegistry:
        if self._folder is None:
            return self._own
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone, str(self._folder))  # type: ignore[no-untyped-call]
        return everyone


def forget_process(folder: Path, pid: int) -> None:
    """Removes what a process that has ended left of the moment.

    Its counts stay: sums over all processes must never go down.
    """
    with contextlib.suppress(OSError):
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def remove_folder(folder: Path) -> None:
    """Removes what all processes left; foreign files stay, and then the folder."""
    with contextlib.suppress(OSError):
        for file in folder.glob("*.db"):
            file.unlink()
        folder.rmdir()


def _version() -> str:
    try:
        return metadata.version("s2s")
    except metadata.PackageNotFoundError:  # run from its source folder without being installed
        return "unknown"
