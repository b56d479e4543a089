"""Trains by the product's own loop, which makes a checkpoint whenever so much processor time is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from s2s_algo.training.assembly import Assembled
from s2s_algo.training.loss import Totals
from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import CheckpointRule, StoppingRule
from s2s_algo.training.trainer import train


@dataclass(frozen=True, slots=True)
class Point:
    """Where the training stood at a checkpoint.

    Attributes:
        minutes: Of the processor.
        updates: Made so far.
        tokens: Target tokens, ``</s>`` included, of these updates.
        history: The checkpoint's own entry.
    """

    minutes: float
    updates: int
    tokens: int
    history: dict[str, float | int | bool]


@dataclass(slots=True)
class Watch:
    """Counts this process' processor time, all its threads together; a reporter of the training loop.

    Counted is everything since the process began, start-up and the reading of records included, but for what is made
    before the training and for checkpoints: their evaluation on the validation pairs, and writing them down.

    Attributes:
        minutes: When checkpoints are due, ascending.
        updates: When they are due besides.
        tell: Hears of each checkpoint.
        not_counted: Seconds of the processor.
        tokens: Target tokens so far.
        points: The checkpoints so far.
    """

    minutes: Sequence[float]
    updates: Sequence[int]
    tell: Callable[[Point], None]
    not_counted: float = 0.0
    tokens: int = 0
    points: list[Point] = field(default_factory=list)
    _reached: float = 0.0

    @property
    def spent(self) -> float:
        """Minutes."""
        return (time.process_time() - self.not_counted) / 60

    def is_due(self, state: TrainState) -> bool:
        """Whether a checkpoint is, now that an update is done."""
        before, self._reached = self._reached, self.spent
        return state.updates in self.updates or any(before < minutes <= self._reached for minutes in self.minutes)

    @property
    def is_over(self) -> bool:
        """Whether all that was asked for is made."""
        return self._reached >= max(self.minutes, default=0) and (
            not self.updates or (bool(self.points) and self.points[-1].updates >= max(self.updates))
        )

    def started(self, state: TrainState) -> None:
        """Does nothing."""

    def updated(self, state: TrainState, totals: Totals) -> None:
        """Counts the tokens of an update."""
        self.tokens += totals.tokens

    def evaluated(self, state: TrainState) -> None:
        """Stops counting what the checkpoint has cost."""
        self.points.append(Point(self._reached, state.updates, self.tokens, dict(state.history[-1])))
        self.tell(self.points[-1])
        self.not_counted += 60 * (self.spent - self._reached)

    def finished(self, state: TrainState, reason: str) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _AtPoints(CheckpointRule):
    watch: Watch

    def is_due(self, state: TrainState) -> bool:
        return self.watch.is_due(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AfterPoints(StoppingRule):
    watch: Watch

    def reason(self, state: TrainState) -> str | None:
        return "That was the last point." if self.watch.is_over else None


def train_to(assembled: Assembled, watch: Watch) -> None:
    """Trains until the last point of the watch, whatever limits the hyperparameters set."""
    job = replace(
        assembled.job,
        checkpoints=_AtPoints(every_updates=1, watch=watch),
        stopping=_AfterPoints(max_updates=None, max_epochs=None, min_epochs=0, patience=1, watch=watch),
        reporter=watch,
    )
    train(job, assembled.state)
