"""What the decoding thread does: sentences of all requests, in turn, through one stream of translations.

Between any two steps of the search new requests enter, and those that nobody waits for any more leave.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translation import Translation
from s2s_algo.errors import ClientError
from s2s_algo.memory import is_out_of_memory
from serve.problems import MemoryExhaustedError, NotReadyError

# Hypotheses that may wait in the stream: enough to fill a batch, and few enough that a request of one sentence does not
# wait behind one of thousands, or of wide beams. Requests take turns of so many hypotheses, one sentence at least.
_AHEAD = 640
_TURN = 80

_WARM_UP = "warm up"

# The source ids of a sentence, and how it is searched.
Request = tuple[Sequence[int], SearchOptions]
Outcome = list[Translation] | Exception


class Stream(Protocol):
    """The part of `s2s_algo.decoding.stream.TranslationStream` that serving needs."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""

    @property
    def waiting_rows(self) -> int:
        """Hypotheses of the sentences, or pieces of them, whose search has not begun."""

    @property
    def running(self) -> int:
        """Sentences that are being searched."""

    def submit(self, source: Sequence[int], options: SearchOptions) -> Hashable:
        """Takes a source; returns a ticket for it."""

    def withdraw(self, tickets: Collection[Any]) -> None:
        """Drops sources."""

    def step(self) -> Sequence[tuple[Hashable, Outcome]]:
        """Goes on a little; returns what is ready."""


class Model(Protocol):
    """What serving tells people about a `s2s_algo.model.seq2seq.Seq2Seq`."""

    @property
    def config(self) -> Any:
        """Its shape, a `s2s_algo.model.config.ModelConfig`."""

    @property
    def device(self) -> Any:
        """Where it computes."""


class Translator(Protocol):
    """The part of `s2s_algo.decoding.translator.Translator` that serving needs."""

    @property
    def model(self) -> Model:
        """What translates."""

    @property
    def source_vocabulary(self) -> Vocabulary:
        """The vocabulary of the sources."""

    @property
    def target_vocabulary(self) -> Vocabulary:
        """The vocabulary of the translations."""

    @property
    def num_parameters(self) -> int:
        """Of the model."""

    @property
    def options(self) -> SearchOptions:
        """How the model is searched if nobody says otherwise."""

    def stream(self) -> Stream:
        """Begins a stream."""


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way through the decoder.

    Attributes:
        requests: Its sentences.
        in_order: Whether they are wanted one after the other, rather than all in the end.
        left: Positions of those that were not handed to the stream yet, the next one last.
        missing: How many are not translated yet.
        translations: By position, best first; the waiting thread may take some out.
        error: Why no more will come.
        awaited: Position that the waiting thread waits for; ``None``: for all.
        news: Set by the decoding thread when what is awaited is there, or an error.
        is_dropped: Set by the waiting thread when it waits no longer.
    """

    requests: Sequence[Request]
    in_order: bool = False
    left: list[int] = field(init=False)
    missing: int = field(init=False)
    translations: dict[int, list[Translation]] = field(default_factory=dict)
    error: Exception | None = None
    awaited: int | None = None
    news: threading.Event = field(default_factory=threading.Event)
    is_dropped: bool = False

    def __post_init__(self) -> None:
        self.left = list(reversed(range(len(self.requests))))
        if not self.in_order:  # what takes longest does not begin last
            self.left.sort(key=lambda position: len(self.requests[position][0]))
        self.missing = len(self.requests)

    @property
    def has_awaited(self) -> bool:
        """Whether what is awaited is there."""
        return not self.missing or self.awaited in self.translations

    def deliver(self, position: int, translations: list[Translation]) -> None:
        """Adds the translations of a sentence."""
        self.translations[position] = translations
        self.missing -= 1
        if self.has_awaited:
            self.news.set()

    def fail(self, error: Exception) -> None:
        """Ends the job without those that are missing."""
        self.error = error
        self.news.set()


class Decoder:
    """Drives the stream of one translator; for the decoding thread.

    Args:
        translator: The loaded model.
        take: Returns the jobs that have come, after waiting for one if it is told so; ``None`` ends the work.
        watch: Told before each step, and when it is done.
        count: Told after each step how many sentences were searched together.
    """

    def __init__(
        self,
        translator: Translator,
        take: Callable[[bool], Sequence[Job] | None],
        watch: Callable[[bool], None],
        count: Callable[[int], None],
    ) -> None:
        self._translator = translator
        self._take = take
        self._watch = watch
        self._count = count
        self._stream = translator.stream()
        self._jobs: set[Job] = set()  # those under way
        self._turns: deque[Job] = deque()  # those of them that have sentences left
        self._tickets: dict[Hashable, tuple[Job, int]] = {}

    def try_out(self) -> None:
        """Translates a sentence, which proves that the model works and takes the cost of a first time.

        Raises:
            ClientError: The model's own search options are none that it can have.
        """
        self._translator.options.check(len(self._translator.target_vocabulary))
        stream = self._translator.stream()
        stream.submit(self._translator.source_vocabulary.encode(_WARM_UP), self._translator.options)
        while not stream.is_idle:
            for _, outcome in self._step(stream):
                if isinstance(outcome, Exception):
                    raise outcome

    def run(self) -> None:
        """Works until told to end.

        Raises:
            Exception: The model cannot translate any more.
        """
        try:
            while (new := self._take(not self._jobs)) is not None:
                self._jobs.update(new)
                self._turns.extend(new)
                self._end([job for job in self._jobs if job.is_dropped])
                self._feed()
                outcomes = self._step(self._stream)
                if searched := self._stream.running + len(outcomes):  # those that go on and those that are done
                    self._count(searched)
                for ticket, outcome in outcomes:
                    self._deliver(ticket, outcome)
        finally:
            for job in self._jobs:
                job.fail(NotReadyError("the server is shutting down; send the request again"))

    def _feed(self) -> None:
        while self._turns and self._stream.waiting_rows < _AHEAD:
            job = self._turns.popleft()
            end = self._stream.waiting_rows + _TURN
            while job.left and self._stream.waiting_rows < end:
                position = job.left.pop()
                self._tickets[self._stream.submit(*job.requests[position])] = (job, position)
            if job.left:
                self._turns.append(job)

    def _step(self, stream: Stream) -> Sequence[tuple[Hashable, Outcome]]:
        self._watch(True)
        try:
            return stream.step()
        finally:
            self._watch(False)

    def _deliver(self, ticket: Hashable, outcome: Outcome) -> None:
        if ticket not in self._tickets:  # of a job that another sentence has just failed
            return
        job, position = self._tickets.pop(ticket)
        if not isinstance(outcome, Exception):
            job.deliver(position, outcome)
            if not job.missing:
                self._jobs.discard(job)
            return
        self._end([job])
        if is_out_of_memory(outcome):
            job.fail(
                MemoryExhaustedError(
                    f"a sentence of {len(job.requests[position][0])} source tokens needs more memory than there is; "
                    "split it, or use an instance type with more memory"
                )
            )
            return
        job.fail(outcome)
        if not isinstance(outcome, ClientError):
            # Some errors of a device stay until the process ends. If this is one, trying out ends this thread.
            self.try_out()

    def _end(self, jobs: Collection[Job]) -> None:
        """Forgets jobs."""
        if jobs:
            self._jobs.difference_update(jobs)
            self._turns = deque(job for job in self._turns if job not in jobs)
            tickets = [ticket for ticket, (job, _) in self._tickets.items() if job in jobs]
            for ticket in tickets:
                del self._tickets[ticket]
            self._stream.withdraw(tickets)
