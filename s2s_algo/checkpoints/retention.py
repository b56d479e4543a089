"""Which checkpoints to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Two, since the newest one may turn out to be damaged.
_NEWEST = 2

# Checkpoints at the same time without ``cleanup_old_models``: the newest, the best and the one being written.
MOST = _NEWEST + 2


def to_keep(stored: Sequence[int], best: int) -> set[int]:
    """The newest ones and the best one.

    Args:
        stored: Updates of all checkpoints, ascending.
        best: Updates of the best one.
    """
    return {*stored[-_NEWEST:], best}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A stored checkpoint that was evaluated; those saved in between, when a job was stopped, are not.

    Attributes:
        updates: Its updates.
        number: Of its epoch or, where checkpoints do not end epochs, of the checkpoint; from 1.
        cost: Its validation score, turned so that lower is better.
    """

    updates: int
    number: int
    cost: float


@dataclass(frozen=True, slots=True)
class Retention:
    """What ``cleanup_old_models`` asks for; the second page's defaults.

    Attributes:
        last: So many of the newest, 1 or more.
        best: So many of the best, 0 or more; of equal ones the earlier.
        numbers: Those of these numbers.
    """

    last: int = 2
    best: int = 4
    numbers: frozenset[int] = frozenset({20, 40, 80, 160, 240})

    @property
    def most(self) -> int:
        """How many checkpoints there are at the same time, the one being written included."""
        return self.last + self.best + len(self.numbers) + 1

    def to_keep(self, evaluated: Sequence[Evaluated], resume: int, best: int) -> set[int]:
        """The updates of the checkpoints to keep.

        Args:
            evaluated: The stored checkpoints that were evaluated, ascending.
            resume: Updates of the checkpoint from which the job would go on.
            best: Updates of the best one.
        """
        by_cost = sorted(evaluated, key=lambda checkpoint: checkpoint.cost)
        kept = [*evaluated[-self.last :], *by_cost[: self.best]]
        kept += [checkpoint for checkpoint in evaluated if checkpoint.number in self.numbers]
        return {resume, best, *(checkpoint.updates for checkpoint in kept)}
