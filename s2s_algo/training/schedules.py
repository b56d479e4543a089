"""Learning rates. Updates count from 1; the rate of an update depends on its own number."""

from __future__ import annotations

import logging
import math
from typing import Protocol

logger = logging.getLogger(__name__)


class Schedule(Protocol):
    """Gives the learning rate of each update."""

    def rate(self, update: int) -> float:
        """The rate of an update, counted from 1."""
        ...

    def after_checkpoint(self, improved: bool) -> None:
        """Hears whether a checkpoint was better than all before it."""
        ...

    def state(self) -> dict[str, float]:
        """What a checkpoint must remember."""
        ...

    def load_state(self, state: dict[str, float]) -> None:
        """Takes over what ``state`` gave."""
        ...


class InverseTime:
    """lr / (1 + t / half_life): half the initial rate after ``half_life`` updates."""

    def __init__(self, initial: float, half_life: int) -> None:
        self.initial = initial
        self.half_life = half_life

    def rate(self, update: int) -> float:  # noqa: D102
        return self.initial / (1 + update / self.half_life)

    def after_checkpoint(self, improved: bool) -> None:  # noqa: D102
        pass

    def state(self) -> dict[str, float]:  # noqa: D102
        return {}

    def load_state(self, state: dict[str, float]) -> None:  # noqa: D102
        pass


class InverseSquareRoot(InverseTime):
    """lr / √(1 + 3t / half_life): half the initial rate after ``half_life`` updates, slower afterwards."""

    def rate(self, update: int) -> float:  # noqa: D102
        return self.initial / math.sqrt(1 + 3 * update / self.half_life)


class PlateauReduce:
    """Multiplies the rate by ``factor`` after every ``threshold`` checkpoints in a row without improvement."""

    def __init__(self, initial: float, factor: float, threshold: int) -> None:
        self.current = initial
        self.factor = factor
        self.threshold = threshold
        self.not_improved = 0

    def rate(self, update: int) -> float:  # noqa: D102
        return self.current

    def after_checkpoint(self, improved: bool) -> None:  # noqa: D102
        self.not_improved = 0 if improved else self.not_improved + 1
        if self.not_improved >= self.threshold and self.factor < 1:
            before, self.current = self.current, self.current * self.factor
            logger.info(
                "%d checkpoints since improvement or rate scaling, lowering learning rate: %1.2e -> %1.2e",
                self.not_improved,
                before,
                self.current,
            )
            self.not_improved = 0

    def state(self) -> dict[str, float]:  # noqa: D102
        return {"rate": self.current, "not_improved": self.not_improved}

    def load_state(self, state: dict[str, float]) -> None:  # noqa: D102
        self.current = state["rate"]
        self.not_improved = int(state["not_improved"])
