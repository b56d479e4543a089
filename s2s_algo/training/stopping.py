"""When training ends: limits, patience, or a signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s2s_algo.training.state import TrainState


class StopRequested(BaseException):
    """Someone wants the job to end now, keeping what was learnt. Not an error, so handlers of errors let it pass."""


def stop_if(requested: bool) -> None:
    """Ends the job if that is wanted."""
    if requested:
        raise StopRequested


@dataclass(frozen=True, slots=True)
class CheckpointRule:
    """When a job is evaluated and saved on its way.

    Attributes:
        every_updates: After every so many updates.
        every_epochs: After every so many epochs instead, unless ``None``.
    """

    every_updates: int
    every_epochs: int | None = None

    def is_due(self, state: TrainState) -> bool:
        """Whether it is time, now that an update is done."""
        if self.every_epochs is None:
            return state.updates % self.every_updates == 0
        return state.position == 0 and state.epoch % self.every_epochs == 0

    def most(self, stopping: StoppingRule, updates_per_epoch: int) -> int | None:
        """How many checkpoints the limits of a job allow; ``None`` without limits."""
        every = self.every_updates if self.every_epochs is None else self.every_epochs * updates_per_epoch
        limits = [stopping.max_updates or math.inf, (stopping.max_epochs or math.inf) * updates_per_epoch]
        return None if min(limits) == math.inf else math.ceil(min(limits) / every)


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """The limits of a job; the first one reached ends it.

    Attributes:
        max_updates: ``None`` for no limit.
        max_epochs: ``None`` for no limit; when given, patience does not end the job.
        min_epochs: Patience does not end the job before so many epochs.
        patience: Checkpoints without improvement.
    """

    max_updates: int | None
    max_epochs: int | None
    min_epochs: int
    patience: int

    def reason(self, state: TrainState) -> str | None:
        """Why the job ends here, or ``None``. Patience is looked at right after a checkpoint only."""
        if self.max_updates is not None and state.updates >= self.max_updates:
            return self._limits
        if self.max_epochs is not None:
            return self._limits if state.epoch >= self.max_epochs else None
        just_evaluated = state.evaluated_updates == state.updates
        if just_evaluated and state.not_improved >= self.patience and state.epoch >= self.min_epochs:
            return f"Maximum number of not improved checkpoints ({self.patience}) reached: {state.not_improved}"
        return None

    @property
    def _limits(self) -> str:
        return f"Maximum # of updates ({self.max_updates}) or epochs ({self.max_epochs}) reached."

    def updates_left(self, state: TrainState, batches: int) -> int | None:
        """How many updates the limits still allow; ``None`` if only patience will end the job.

        Args:
            state: Of the job.
            batches: Batches of an epoch.
        """
        left = []
        if self.max_updates is not None:
            left.append(self.max_updates - state.updates)
        if self.max_epochs is not None:
            left.append((self.max_epochs - state.epoch) * batches - state.position)
        return max(min(left), 0) if left else None
