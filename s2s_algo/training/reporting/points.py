"""What is kept of a job's course: points between checkpoints, and the checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# An entry of ``TrainState.history``.
Entry = Mapping[str, float | int | bool]


@dataclass(frozen=True, slots=True)
class TrainingPoint:
    """The training since the point before.

    Attributes:
        updates: Updates made.
        epoch: Whole epochs behind us.
        seconds: Time spent in updates, over all runs of the job.
        learning_rate: Of the last update.
        train_perplexity, train_accuracy: Over the batches since the point before.
        target_tokens_per_second: Real ones, ``</s>`` included.
        time: When, in seconds since 1970.
    """

    updates: int
    epoch: int
    seconds: float
    learning_rate: float
    train_perplexity: float
    train_accuracy: float
    target_tokens_per_second: float
    time: float


@dataclass(frozen=True, slots=True)
class Example:
    """What the model makes of a validation sentence; tokens joined by blanks."""

    source: str
    reference: str
    translation: str


@dataclass(frozen=True, slots=True)
class CheckpointPoint:
    """A checkpoint.

    Attributes:
        entry: Its scores.
        examples: Translations by the model as it was then; none if they were not kept.
        time: When, in seconds since 1970; ``None`` if that was not kept.
    """

    entry: Entry
    examples: tuple[Example, ...] = ()
    time: float | None = None

    @property
    def updates(self) -> int:
        """Updates made."""
        return int(self.entry["updates"])


@dataclass(slots=True)
class Course:
    """All that is kept, in the order in which it came."""

    training: list[TrainingPoint] = field(default_factory=list)
    checkpoints: list[CheckpointPoint] = field(default_factory=list)

    def continued(self, history: Sequence[Entry], updates: int) -> Course:
        """The part of this course, read from a file, that is the past of a job.

        Args:
            history: The checkpoints of the job, which alone are sure to be its own.
            updates: Where the job stands; what came later has never been.

        Returns:
            A point for each checkpoint of the job, and the others if this is the same job's course.
        """
        entries = {int(entry["updates"]): entry for entry in history}
        past = [point for point in self.checkpoints if point.updates <= updates]
        if any(entries.get(point.updates) != point.entry for point in past):
            return Course([], [CheckpointPoint(entry) for entry in history])
        kept = {point.updates: point for point in past}
        return Course(
            [point for point in self.training if point.updates <= updates],
            [kept.get(number, CheckpointPoint(entry)) for number, entry in entries.items()],
        )


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without numbers that are not finite, which no reader of JSON or of curves knows."""
    return {
        name: value for name, value in values.items() if not (isinstance(value, float) and not math.isfinite(value))
    }
