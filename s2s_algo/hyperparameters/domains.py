"""Sets of allowed values: each parses a value, says in words what it allows and suggests how to mend a wrong value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from s2s_algo.hyperparameters import grammar
from s2s_algo.hyperparameters.grammar import written
from s2s_algo.hyperparameters.wording import nearest


class Domain(Protocol):
    """The values that one hyperparameter may have."""

    @property
    def type_name(self) -> str:
        """The type in one word, for the documentation."""
        ...

    @property
    def allowed(self) -> str:
        """What is allowed; it continues the words "is not"."""
        ...

    def parse(self, value: object) -> object:
        """Reads a value as it was passed; raises ``ValueError`` if it is not allowed."""
        ...

    def hint(self, value: object) -> str:
        """Says how to mend a value that is not allowed, or nothing if that cannot be guessed."""
        ...


@dataclass(frozen=True, slots=True)
class Integers:
    """Integers from ``minimum`` to ``maximum``, all or only the even or odd ones, and those in ``also``."""

    type_name: ClassVar[str] = "integer"
    minimum: int
    maximum: int
    parity: Literal["even", "odd"] | None = None
    also: tuple[int, ...] = ()

    @property
    def allowed(self) -> str:
        """Such as "an even integer from 2 to 65536"."""
        kind = f"{self.parity} integer" if self.parity else "integer"
        return " or ".join([*map(str, self.also), f"an {kind} from {self.minimum} to {self.maximum}"])

    def parse(self, value: object) -> int:
        """Reads an integer of this domain."""
        parsed = grammar.integer(value)
        if parsed not in self:
            raise ValueError(f"not {self.allowed}")
        return parsed

    def hint(self, value: object) -> str:
        """Suggests the plain spelling of what stands for an allowed integer, or the nearest allowed integer."""
        try:
            wanted = grammar.number(value)
        except ValueError:
            return ""
        if not wanted.is_integer():
            return ""
        if int(wanted) in self:  # only its spelling is wrong, as in 64.0 or 1e3
            return f"write {int(wanted)}"
        return f"the nearest allowed is {self._nearest(int(wanted))}"

    def __contains__(self, value: int) -> bool:
        return value in self.also or (self.minimum <= value <= self.maximum and self._has_parity(value))

    def _has_parity(self, value: int) -> bool:
        return self.parity is None or value % 2 == (0 if self.parity == "even" else 1)

    def _nearest(self, value: int) -> int:
        inside = min(max(value, self.minimum), self.maximum)
        if not self._has_parity(inside):
            inside += 1 if inside == self.minimum else -1
        return min((inside, *self.also), key=lambda candidate: abs(candidate - value))


@dataclass(frozen=True, slots=True)
class Numbers:
    """Finite numbers in an interval whose ends belong to it unless they are said to be open."""

    type_name: ClassVar[str] = "float"
    minimum: float = -math.inf
    maximum: float = math.inf
    open_minimum: bool = False
    open_maximum: bool = False
    nonzero: bool = False

    @property
    def allowed(self) -> str:
        """Such as "a number in (0, 100]"."""
        if math.isinf(self.minimum) and math.isinf(self.maximum):
            return "a finite number"
        if math.isinf(self.maximum):
            return f"a finite number of {written(self.minimum)} or more"
        left = "(" if self.open_minimum else "["
        right = ")" if self.open_maximum else "]"
        interval = f"a number in {left}{written(self.minimum)}, {written(self.maximum)}{right}"
        return f"{interval} other than 0" if self.nonzero else interval

    def parse(self, value: object) -> float:
        """Reads a number of this domain."""
        parsed = grammar.number(value)
        if parsed not in self:
            raise ValueError(f"not {self.allowed}")
        return parsed

    def hint(self, value: object) -> str:
        """Suggests the nearest allowed number, if there is a nearest one."""
        try:
            wanted = grammar.number(value)
        except ValueError:
            return ""
        bound = min(max(wanted, self.minimum), self.maximum)
        return f"the nearest allowed is {written(bound)}" if bound in self else ""

    def __contains__(self, value: float) -> bool:
        above = self.minimum < value if self.open_minimum else self.minimum <= value
        below = value < self.maximum if self.open_maximum else value <= self.maximum
        return above and below and not (self.nonzero and value == 0)


@dataclass(frozen=True, slots=True)
class Booleans:
    """True and false."""

    type_name: ClassVar[str] = "boolean"

    @property
    def allowed(self) -> str:
        """The two words."""
        return "true or false"

    def parse(self, value: object) -> bool:
        """Reads a boolean."""
        return grammar.boolean(value)

    def hint(self, value: object) -> str:
        """Suggests the word for what other programs take for a boolean."""
        word = grammar.plain(value)
        word = word.lower() if isinstance(word, str) else word
        if word in ("1", 1, "yes", "on"):
            return "write true"
        return "write false" if word in ("0", 0, "no", "off") else ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A few words."""

    type_name: ClassVar[str] = "string"
    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """Such as "one of lstm, gru"."""
        return f"one of {', '.join(self.words)}" if len(self.words) > 1 else self.words[0]

    def parse(self, value: object) -> str:
        """Reads one of the words."""
        word = grammar.text(value)
        if word not in self.words:
            raise ValueError(f"not {self.allowed}")
        return word

    def hint(self, value: object) -> str:
        """Suggests the word that resembles the value most."""
        word = grammar.plain(value)
        guess = nearest(word, self.words) if isinstance(word, str) else None
        return f"did you mean '{guess}'?" if guess else ""
