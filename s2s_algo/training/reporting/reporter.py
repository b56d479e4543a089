"""Tells people how a training job goes. Whatever goes wrong here, the training goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from s2s_algo.training.loss import Totals
from s2s_algo.training.reporting.events import EventFiles
from s2s_algo.training.reporting.examples import Examples, Shown
from s2s_algo.training.reporting.files import replace_file
from s2s_algo.training.reporting.metrics_file import MetricsFile
from s2s_algo.training.reporting.page import JobFacts, Standing, render
from s2s_algo.training.reporting.points import CheckpointPoint, Course, TrainingPoint
from s2s_algo.training.state import TrainState

logger = logging.getLogger(__name__)

# A point between checkpoints comes after so many seconds of training, or after this share of the whole training so
# far: curves are dense at every scale of time, and a job of a week has some 4000 points.
_SHORTEST, _SHARE = 1.0, 0.002


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a job's reports go.

    Attributes:
        data: Folder of ``report.html`` and ``metrics.jsonl``.
        tensorboard: Folder of the event files.
        artifact: Where the model will be; only named.
    """

    data: Path
    tensorboard: Path
    artifact: Path


class Reporter(Protocol):
    """What the training loop tells. Nothing of it raises an error or changes the training."""

    def started(self, state: TrainState) -> None:
        """Hears where the job begins, or goes on."""
        ...

    def updated(self, state: TrainState, totals: Totals) -> None:
        """Hears of an update and of its batch."""
        ...

    def evaluated(self, state: TrainState) -> None:
        """Hears of a checkpoint, the last one of the history, which is saved."""
        ...

    def finished(self, state: TrainState, reason: str) -> None:
        """Hears that the job has ended, and why."""
        ...


class Silent:
    """Reports nothing."""

    def started(self, state: TrainState) -> None:
        """Does nothing."""

    def updated(self, state: TrainState, totals: Totals) -> None:
        """Does nothing."""

    def evaluated(self, state: TrainState) -> None:
        """Does nothing."""

    def finished(self, state: TrainState, reason: str) -> None:
        """Does nothing."""


class JobReporter:
    """Writes ``report.html``, ``metrics.jsonl`` and event files.

    Nothing is written before there is something to tell. After the first failure a warning is logged; later ones pass
    in silence, and what can still be written is.
    """

    def __init__(
        self,
        outputs: Outputs,
        facts: Callable[[], JobFacts],
        examples: Callable[[], Examples],
        rate: Callable[[int], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Reads and writes nothing yet.

        Args:
            outputs: Where to write.
            facts: Collects what does not change; called once.
            examples: Chooses what is translated; called once.
            rate: Learning rate of an update.
            clock: Seconds since 1970.
        """
        self._page_file = outputs.data / "report.html"
        self._metrics = MetricsFile(outputs.data / "metrics.jsonl")
        self._events = EventFiles(outputs.tensorboard)
        self._make_facts = facts
        self._facts: JobFacts | None = None
        self._make_examples = examples
        self._examples: Examples | None = None
        self._rate = rate
        self._clock = clock
        self._course = Course()
        self._latest: Sequence[Shown] = ()
        self._totals, self._since = Totals(), 0.0
        self._has_begun = False
        self._has_warned = False

    def started(self, state: TrainState) -> None:
        """Takes over what an earlier run of the same job wrote."""
        self._course = Course([], [CheckpointPoint(entry) for entry in state.history])
        self._totals, self._since = Totals(), state.seconds
        with self._harmless("read"):
            self._course = self._metrics.read().continued(state.history, state.updates)

    def updated(self, state: TrainState, totals: Totals) -> None:
        """Counts the batch in; now and then makes a point of all since the last one."""
        self._totals.add(totals)
        passed = state.seconds - self._since
        if passed < max(_SHORTEST, _SHARE * state.seconds):
            return
        told, self._totals, self._since = self._totals, Totals(), state.seconds
        if not told.tokens:
            return  # all of these updates were skipped
        point = TrainingPoint(
            updates=state.updates,
            epoch=state.epoch,
            seconds=round(state.seconds, 3),
            learning_rate=self._rate(state.updates),
            train_perplexity=told.perplexity,
            train_accuracy=told.accuracy,
            target_tokens_per_second=round(told.tokens / passed, 1),
            time=round(self._clock(), 3),
        )
        self._begin()
        self._course.training.append(point)
        with self._harmless("write"):
            self._metrics.append(self._course, point)
        with self._harmless("write"):
            self._events.training(point)

    def evaluated(self, state: TrainState) -> None:
        """Adds the checkpoint, translates the examples, and draws the page anew."""
        self._translate()
        # (1) The numbers.
        texts = tuple(one.texts for one in self._latest)
        point = CheckpointPoint(dict(state.history[-1]), texts, round(self._clock(), 3))
        self._begin()
        self._course.checkpoints.append(point)
        with self._harmless("write"):
            self._metrics.append(self._course, point)
        # (2) The curves.
        with self._harmless("write"):
            self._events.checkpoint(point)
        # (3) The page.
        self._draw(state, None)

    def finished(self, state: TrainState, reason: str) -> None:
        """Draws the page for the last time."""
        if self._course.training or self._course.checkpoints:
            self._begin()
            if not self._latest and state.evaluated_updates == state.updates:
                self._translate()  # the last checkpoint was made by an earlier run
            self._draw(state, reason)
        with self._harmless("write"):
            self._events.close()

    def _translate(self) -> None:
        self._latest = ()
        with self._harmless("translate examples for"):
            self._examples = self._examples or self._make_examples()
            self._latest = self._examples.translate()

    def _begin(self) -> None:
        """Starts what begins with the past of the job, when there is something to add to it."""
        if not self._has_begun:
            self._has_begun = True
            with self._harmless("write"):
                self._events.begin(self._course)

    def _draw(self, state: TrainState, end: str | None) -> None:
        with self._harmless("write"):
            self._facts = self._facts or self._make_facts()
            standing = Standing(
                updates=state.updates,
                epoch=state.epoch,
                samples=state.samples,
                seconds=state.seconds,
                best_updates=state.best_updates,
                best_score=state.best_score,
                end=end,
            )
            replace_file(self._page_file, render(self._facts, standing, self._course, self._latest))

    @contextmanager
    def _harmless(self, what: str) -> Iterator[None]:
        """Lets the training go on whatever happens inside; says so once."""
        try:
            yield
        except Exception as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("Cannot %s the reports of the training, which goes on: %s", what, error)
