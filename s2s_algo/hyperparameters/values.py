"""Values that are made of several parts, as a job uses them; ``compound`` reads them.

Each knows the plain form in which it is logged, stored and read back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

OrderingMode = Literal["default", "reverse", "random", "sorted", "sorted_reverse", "laplace"]


class CompoundValue(ABC):
    """A value of several parts."""

    __slots__ = ()

    @abstractmethod
    def plain(self) -> object:
        """The value as a user would pass it: a text or a JSON object."""


def plain(value: object) -> object:
    """The plain form of any value of the table."""
    return value.plain() if isinstance(value, CompoundValue) else value


@dataclass(frozen=True, slots=True)
class SeqOrdering(CompoundValue):
    """The order of the training sequences before batching.

    Attributes:
        mode: The word before the colon.
        seed: Of ``random``: the seed of every epoch; ``None`` where each epoch has its own.
        parts: Of ``laplace``: into how many parts the permuted pairs are cut.
        part_size: Of ``laplace``, in place of ``parts``: how many pairs a part has.
    """

    mode: OrderingMode
    seed: int | None = None
    parts: int | None = None
    part_size: int | None = None

    def plain(self) -> str:
        """Such as ``laplace:.1000``."""
        if self.part_size is not None:
            return f"{self.mode}:.{self.part_size}"
        number = self.seed if self.mode == "random" else self.parts
        return self.mode if number is None else f"{self.mode}:{number}"


@dataclass(frozen=True, slots=True)
class Chunking(CompoundValue):
    """Sequences are cut into chunks of ``size`` tokens, which begin every ``step`` tokens."""

    size: int
    step: int

    def plain(self) -> str:
        """Such as ``100:75``."""
        return f"{self.size}:{self.step}"


@dataclass(frozen=True, slots=True)
class MaxSeqLength(CompoundValue):
    """Most tokens of a training pair; ``None``: any number."""

    source: int | None = None
    target: int | None = None

    def plain(self) -> dict[str, object]:
        """The bounds that there are."""
        bounds = {"source": self.source, "target": self.target}
        return {side: bound for side, bound in bounds.items() if bound is not None}


@dataclass(frozen=True, slots=True)
class CleanupOldModels(CompoundValue):
    """Which checkpoints are kept.

    Attributes:
        keep_last_n: So many of the newest.
        keep_best_n: So many of the best on the validation score.
        keep: Numbers of epochs, ascending.
    """

    keep_last_n: int = 2
    keep_best_n: int = 4
    keep: tuple[int, ...] = (20, 40, 80, 160, 240)

    def plain(self) -> dict[str, object]:
        """All three."""
        return {"keep_last_n": self.keep_last_n, "keep_best_n": self.keep_best_n, "keep": list(self.keep)}
