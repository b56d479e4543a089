"""The one decoding thread, and what may wait for it and for how long.

HTTP threads parse, call `TranslationService.translate` and wait. The decoding thread owns the model: it loads it, takes
the waiting requests in the order of their arrival and decodes each in chunks, between which it looks whether anybody
still wants the result.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.decoding.translation import Translation
from s2s_algo.errors import ClientError
from s2s_algo.memory import free_device_memory, is_out_of_memory
from serve.problems import (
    RETRY_AFTER_SECONDS,
    ClientGoneError,
    DeadlineExceededError,
    MemoryExhaustedError,
    NotReadyError,
    OverloadedError,
)

logger = logging.getLogger(__name__)

# A chunk is large enough to fill a device and small enough to take a few seconds on a CPU.
_CHUNK_SENTENCES = 64
_CHUNK_TOKENS = 2048

# How often a waiting thread looks whether its client is still there.
_POLL_SECONDS = 0.25

_WARM_UP = "warm up"


class Translator(Protocol):
    """The part of `s2s_algo.decoding.translator.Translator` that serving needs."""

    @property
    def source_vocabulary(self) -> Vocabulary:
        """The vocabulary of the sources."""

    def translate(self, sources: Sequence[Sequence[int]]) -> list[Translation]:
        """Translates sentences of source ids."""


def _never() -> bool:
    return False


@dataclass(slots=True, eq=False)
class _Job:
    """A request on its way through the queue.

    Attributes:
        sources: Source ids of its sentences.
        is_abandoned: Tells whether the client has gone.
        finished: Set by the decoding thread when `translations` or `error` is complete.
        is_dropped: Set by the waiting thread when it waits no longer.
    """

    sources: Sequence[Sequence[int]]
    is_abandoned: Callable[[], bool]
    finished: threading.Event = field(default_factory=threading.Event)
    translations: dict[int, Translation] = field(default_factory=dict)
    error: Exception | None = None
    is_dropped: bool = False

    def is_wanted(self) -> bool:
        """Tells whether anybody still waits for the result."""
        return not self.is_dropped and not self.is_abandoned()

    def fail(self, error: Exception) -> None:
        """Ends the job without a result."""
        self.error = error
        self.finished.set()


class TranslationService:
    """Translates for many threads with one model.

    Args:
        load: Loads the model; called once, in the decoding thread.
        max_waiting_tokens: Source tokens of all unanswered requests beyond which new ones are refused.
        max_waiting_requests: Unanswered requests beyond which new ones are refused.
        clock: Seconds that never jump.
    """

    def __init__(
        self,
        load: Callable[[], Translator],
        max_waiting_tokens: int,
        max_waiting_requests: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._max_waiting_tokens = max_waiting_tokens
        self._max_waiting_requests = max_waiting_requests
        self._clock = clock
        self._changed = threading.Condition()  # guards the five fields below
        self._translator: Translator | None = None  # set once it has proved to work, unset when it ceases to
        self._queue: deque[_Job] = deque()
        self._waiting_tokens = 0
        self._waiting_requests = 0
        self._is_stopping = False
        self._drain_deadline = math.inf
        self._busy_since = math.inf
        self._thread: threading.Thread | None = None

    def start(self, on_ready: Callable[[], None], on_load_failure: Callable[[Exception], None]) -> None:
        """Starts the decoding thread, which first loads the model and decodes one sentence with it.

        Args:
            on_ready: Called in the decoding thread when translations can begin.
            on_load_failure: Called in the decoding thread if they never can.
        """
        self._thread = threading.Thread(target=self._run, args=(on_ready, on_load_failure), name="decoder", daemon=True)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded and has decoded a sentence."""
        return self._translator is not None

    @property
    def source_vocabulary(self) -> Vocabulary:
        """The vocabulary of the sources.

        Raises:
            NotReadyError: There is no model (yet).
        """
        return self._ready_translator().source_vocabulary

    def translate(
        self,
        sources: Sequence[Sequence[int]],
        deadline: float = math.inf,
        is_abandoned: Callable[[], bool] = _never,
    ) -> list[Translation]:
        """Queues sentences and waits for their translations, which come in the same order.

        Args:
            sources: Source ids of the sentences.
            deadline: Time of the clock at which waiting ends.
            is_abandoned: Tells whether the client has gone; called every now and then, from two threads.

        Raises:
            NotReadyError: There is no model (yet).
            OverloadedError: Too much is waiting already.
            DeadlineExceededError: The translations were not ready in time.
            ClientGoneError: The client has gone.
            MemoryExhaustedError: One sentence alone needs more memory than there is.
        """
        if not sources:
            return []
        job = _Job(sources, is_abandoned)
        cost = sum(max(1, len(source)) for source in sources)  # an empty sentence is no work but takes a place
        self._admit(job, cost)
        try:
            self._wait(job, deadline)
        finally:
            self._dismiss(job, cost)
        if job.error is not None:
            raise job.error
        return [job.translations[position] for position in range(len(sources))]

    def busy_seconds(self) -> float:
        """Returns how long the decoder has been at its current chunk; 0 while it is idle."""
        return max(0.0, self._clock() - self._busy_since)

    def has_failed(self) -> bool:
        """Tells whether the decoder has ended and only a new process can help."""
        return self._thread is not None and not self._thread.is_alive() and not self._is_stopping

    def drain(self, seconds: float) -> None:
        """Lowers the deadline of everything that waits or will wait; safe to call from a signal handler."""
        self._drain_deadline = self._clock() + seconds

    def stop(self, timeout: float) -> bool:
        """Stops the decoding thread after its current chunk; returns whether it ended within `timeout` seconds."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- in the threads that wait ----------------------------------------------------------------------------------

    def _ready_translator(self) -> Translator:
        translator = self._translator
        if translator is None:
            raise NotReadyError("the model is not ready; wait until GET /ping answers 200, and send the request again")
        return translator

    def _admit(self, job: _Job, cost: int) -> None:
        """Puts a job into the queue; a request on its own is never too much, for it could never be admitted later."""
        with self._changed:
            self._ready_translator()
            tokens, requests = self._waiting_tokens, self._waiting_requests
            if requests and (tokens + cost > self._max_waiting_tokens or requests + 1 > self._max_waiting_requests):
                raise OverloadedError(
                    f"{requests} requests with {tokens} source tokens are waiting and this one has {cost}; the limits "
                    f"are {self._max_waiting_requests} and {self._max_waiting_tokens}; send it again in "
                    f"{RETRY_AFTER_SECONDS} seconds, or add instances to the endpoint"
                )
            self._waiting_tokens += cost
            self._waiting_requests += 1
            self._queue.append(job)
            self._changed.notify()

    def _wait(self, job: _Job, deadline: float) -> None:
        while True:
            remaining = min(deadline, self._drain_deadline) - self._clock()
            if job.finished.wait(min(max(remaining, 0.0), _POLL_SECONDS)):
                return
            if remaining <= 0:
                raise DeadlineExceededError(self._deadline_message(deadline))
            if job.is_abandoned():
                raise ClientGoneError("the client closed the connection before its translations were ready")

    def _deadline_message(self, deadline: float) -> str:
        if self._drain_deadline < deadline:
            return "the server is shutting down and cannot finish this request in time; send it again"
        return (
            "the translations were not ready in time; send fewer or shorter instances per request, add instances to "
            "the endpoint, or allow more time with S2S_DEADLINE_SECONDS"
        )

    def _dismiss(self, job: _Job, cost: int) -> None:
        job.is_dropped = True
        with self._changed:
            self._waiting_tokens -= cost
            self._waiting_requests -= 1

    # -- in the decoding thread ------------------------------------------------------------------------------------

    def _run(self, on_ready: Callable[[], None], on_load_failure: Callable[[Exception], None]) -> None:
        logger.info("loading the model")
        started = self._clock()
        try:
            translator = self._load()
            self._try_out(translator)
        except Exception as error:
            on_load_failure(error)
            return
        with self._changed:
            self._translator = translator
        logger.info("the model was loaded and tried out in %.1f seconds", self._clock() - started)
        on_ready()
        try:
            while (job := self._next_job()) is not None:
                self._decode(job, translator)
        except Exception:
            logger.critical(
                "the decoder cannot translate any more; this server process must be replaced", exc_info=True
            )
        finally:
            self._end()

    def _next_job(self) -> _Job | None:
        with self._changed:
            while not self._queue and not self._is_stopping:
                self._changed.wait()
            return None if self._is_stopping else self._queue.popleft()

    def _end(self) -> None:
        with self._changed:
            self._translator = None
            while self._queue:
                self._queue.popleft().fail(NotReadyError("the server is shutting down; send the request again"))

    def _try_out(self, translator: Translator) -> None:
        """Decodes one sentence, which proves that the model works and takes the cost of a first time."""
        self._translate([translator.source_vocabulary.encode(_WARM_UP)], translator)

    def _decode(self, job: _Job, translator: Translator) -> None:
        try:
            for chunk in _chunks(job.sources):
                if not job.is_wanted():
                    job.fail(ClientGoneError("nobody waits for these translations any more"))
                    return
                found = self._translate([job.sources[position] for position in chunk], translator)
                job.translations.update(zip(chunk, found, strict=True))
            job.finished.set()
        except (ClientError, MemoryExhaustedError) as error:
            job.fail(error)
        except Exception as error:
            job.fail(error)
            # Some errors of a device stay until the process ends. If this is one, trying out ends this thread.
            self._try_out(translator)

    def _translate(self, sources: list[Sequence[int]], translator: Translator) -> list[Translation]:
        """Translates one chunk; if memory runs out, the sentences are tried again in halves down to one by one."""
        self._busy_since = self._clock()
        try:
            return translator.translate(sources)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("out of memory with %d sentences in a chunk: %s", len(sources), error)
        finally:
            self._busy_since = math.inf
        # Only now is the error, whose traceback holds the tensors of the failed attempt, gone.
        free_device_memory()
        if len(sources) == 1:
            raise MemoryExhaustedError(
                f"a sentence of {len(sources[0])} source tokens needs more memory than there is; split it, or use an "
                "instance type with more memory"
            )
        half = len(sources) // 2
        return self._translate(sources[:half], translator) + self._translate(sources[half:], translator)


def _chunks(sources: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yields positions of sentences of similar length, the longest first, in groups that are decoded together."""
    chunk: list[int] = []
    tokens = 0
    for position in sorted(range(len(sources)), key=lambda position: -len(sources[position])):
        length = max(1, len(sources[position]))
        if chunk and (len(chunk) == _CHUNK_SENTENCES or tokens + length > _CHUNK_TOKENS):
            yield chunk
            chunk, tokens = [], 0
        chunk.append(position)
        tokens += length
    yield chunk
