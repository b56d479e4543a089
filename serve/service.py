"""What waits for the one decoding thread of a model, and for how long.

HTTP threads parse, call `TranslationService.translate` and wait. The decoding thread owns the model: it loads it and
runs the decoder.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from s2s_algo.decoding.translation import Translation
from serve.admission import Admission
from serve.decoder import Decoder, Job, Request, Translator
from serve.metrics import Metrics
from serve.problems import ClientGoneError, DeadlineExceededError, NotReadyError

logger = logging.getLogger(__name__)

# How often a waiting thread looks whether its client is still there.
_POLL_SECONDS = 0.25

_NOT_READY = "the model is not ready; wait until GET /ping answers 200, and send the request again"


def _never() -> bool:
    return False


class TranslationService:
    """Translates for many threads with one model.

    Args:
        load: Loads the model; called once, in the decoding thread.
        admission: Decides whether a request may wait.
        metrics: Told what is searched.
        clock: Seconds that never jump.
    """

    def __init__(
        self,
        load: Callable[[], Translator],
        admission: Admission,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._admission = admission
        self._metrics = metrics
        self._clock = clock
        self._changed = threading.Condition()  # guards the three fields below
        self._translator: Translator | None = None  # set once it has proved to work, unset when it ceases to
        self._queue: deque[Job] = deque()
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
    def translator(self) -> Translator:
        """The loaded model, whose streams belong to the decoding thread.

        Raises:
            NotReadyError: There is no model (yet).
        """
        translator = self._translator
        if translator is None:
            raise NotReadyError(_NOT_READY)
        return translator

    def translate(
        self,
        requests: Sequence[Request],
        deadline: float = math.inf,
        is_abandoned: Callable[[], bool] = _never,
    ) -> list[list[Translation]]:
        """Queues sentences and waits for their translations, which come in the same order, per sentence the best first.

        Args:
            requests: Sentences of ids and with options that are allowed.
            deadline: Time of the clock at which waiting ends.
            is_abandoned: Tells whether the client has gone; called every now and then.

        Raises:
            NotReadyError: There is no model (yet).
            OverloadedError: Too much is waiting already.
            DeadlineExceededError: The translations were not ready in time.
            ClientGoneError: The client has gone.
            MemoryExhaustedError: One sentence alone needs more memory than there is.
        """
        with self._submitted(Job(requests)) as job:
            self._wait(job, deadline, is_abandoned)
            return [job.translations[position] for position in range(len(requests))]

    def translate_each(
        self,
        requests: Sequence[Request],
        deadline: float = math.inf,
        is_abandoned: Callable[[], bool] = _never,
    ) -> Iterator[list[Translation]]:
        """Like `translate`, but gives the translations of each sentence as soon as they and those before are there.

        What it raises, it may raise after some of them.
        """
        with self._submitted(Job(requests, in_order=True)) as job:
            for position in range(len(requests)):
                job.awaited = position
                self._wait(job, deadline, is_abandoned)
                # Whoever takes them slowly does not keep their place for ever.
                if min(deadline, self._drain_deadline) <= self._clock():
                    raise DeadlineExceededError(self._deadline_message(deadline))
                yield job.translations.pop(position)

    def busy_seconds(self) -> float:
        """Returns how long the decoder has been at its current step; 0 while it is idle."""
        return max(0.0, self._clock() - self._busy_since)

    def has_failed(self) -> bool:
        """Tells whether the decoder has ended and only a new process can help."""
        return self._thread is not None and not self._thread.is_alive() and not self._is_stopping

    def drain(self, seconds: float) -> None:
        """Lowers the deadline of everything that waits or will wait; safe to call from a signal handler."""
        self._drain_deadline = self._clock() + seconds

    def stop(self, timeout: float) -> bool:
        """Stops the decoding thread after its current step; returns whether it ended within `timeout` seconds."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- in the threads that wait ----------------------------------------------------------------------------------

    @contextmanager
    def _submitted(self, job: Job) -> Iterator[Job]:
        """Puts a job into the queue if it may wait, and drops it in the end."""
        # An empty sentence is no work but takes a place.
        tokens = sum(max(1, len(source)) for source, _ in job.requests)
        with self._changed:
            if self._translator is None:
                raise NotReadyError(_NOT_READY)
            cost = self._admission.enter(tokens)
            if job.requests:
                self._queue.append(job)
                self._changed.notify()
        try:
            yield job
        finally:
            job.is_dropped = True
            self._admission.leave(cost)

    def _wait(self, job: Job, deadline: float, is_abandoned: Callable[[], bool]) -> None:
        """Returns when what the job awaits is there."""
        while True:
            job.news.clear()  # before looking, so that nothing is missed
            if job.error is not None:
                raise job.error
            if job.has_awaited:
                return
            remaining = min(deadline, self._drain_deadline) - self._clock()
            if job.news.wait(min(max(remaining, 0.0), _POLL_SECONDS)):
                continue
            if remaining <= 0:
                raise DeadlineExceededError(self._deadline_message(deadline))
            if is_abandoned():
                raise ClientGoneError("the client closed the connection before its translations were ready")

    def _deadline_message(self, deadline: float) -> str:
        if self._drain_deadline < deadline:
            return "the server is shutting down and cannot finish this request in time; send it again"
        return (
            "the translations were not ready in time; send fewer or shorter instances per request, add instances to "
            "the endpoint, or allow more time with S2S_DEADLINE_SECONDS"
        )

    # -- in the decoding thread ------------------------------------------------------------------------------------

    def _run(self, on_ready: Callable[[], None], on_load_failure: Callable[[Exception], None]) -> None:
        logger.info("loading the model")
        started = self._clock()
        try:
            translator = self._load()
            decoder = Decoder(translator, self._take, self._watch, self._metrics.step)
            decoder.try_out()
        except Exception as error:
            on_load_failure(error)
            return
        with self._changed:
            self._translator = translator
        self._metrics.ready(str(translator.model.device))
        logger.info("the model was loaded and tried out in %.1f seconds", self._clock() - started)
        on_ready()
        try:
            decoder.run()
        except Exception:
            logger.critical(
                "the decoder cannot translate any more; this server process must be replaced", exc_info=True
            )
        finally:
            self._end()

    def _take(self, is_idle: bool) -> list[Job] | None:
        with self._changed:
            while is_idle and not self._queue and not self._is_stopping:
                self._changed.wait()
            if self._is_stopping:
                return None
            taken = list(self._queue)
            self._queue.clear()
            return taken

    def _watch(self, is_busy: bool) -> None:
        self._busy_since = self._clock() if is_busy else math.inf

    def _end(self) -> None:
        with self._changed:
            self._translator = None
            self._metrics.not_ready()
            while self._queue:
                self._queue.popleft().fail(NotReadyError("the server is shutting down; send the request again"))
