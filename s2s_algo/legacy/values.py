"""Typed reading of a configuration that a stranger wrote: every value is checked, all problems are told at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from s2s_algo.errors import ClientError
from s2s_algo.wording import shown

_T = TypeVar("_T")

_MOST_TOLD = 8


class Problems:
    """What is wrong, collected while reading goes on with values that stand in for the wrong ones."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, problem: str) -> None:
        """Remembers a problem; the same one is told once."""
        if problem not in self._found:
            self._found.append(problem)

    def check(self, mend: str, where: str) -> None:
        """Raises if there is a problem.

        Args:
            mend: What to do about all of them.
            where: The place, such as ``file config``.

        Raises:
            ClientError: Names them.
        """
        if self._found:
            left = len(self._found) - _MOST_TOLD
            told = "; ".join(self._found[:_MOST_TOLD]) + (f"; and {left} more" if left > 0 else "")
            raise ClientError(f"{told}. {mend}", where=where)


class Values:
    """One section of a configuration.

    Args:
        values: Its values; a missing section has none.
        path: Where it lies, such as ``config_encoder.rnn_config``; "" at the top.
        problems: Where to put what is wrong.
    """

    def __init__(self, values: Any, path: str, problems: Problems) -> None:
        self.problems = problems
        self._path = path
        self._values: dict[str, Any] = {}
        if isinstance(values, dict):
            self._values = values
        elif values is not None:
            problems.add(f"{path} is {shown(values)}; it must be a section")

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def name(self, key: str) -> str:
        """The full name of a key."""
        return f"{self._path}.{key}" if self._path else key

    def section(self, key: str) -> Values:
        """A section inside this one; it may be missing."""
        return Values(self._values.get(key), self.name(key), self.problems)

    def class_name(self, key: str) -> str:
        """The class that the tag of a section names, "" without a tag."""
        return str(getattr(self._values.get(key), "class_name", ""))

    def raw(self, key: str) -> Any:
        """A value as it stands, ``None`` if there is none."""
        return self._values.get(key)

    def flag(self, key: str) -> bool:
        """Whether something is switched on; everything in the original that switches is off unless it is given."""
        return self._checked(key, False, isinstance(self.raw(key), bool), "true or false")

    def integer(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """An integer, needed if there is no default."""
        value = self.raw(key)
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        stand_in = least if default is None else default
        return self._checked(key, stand_in, fits, f"an integer from {least} to {most}", default is None)

    def optional_integer(self, key: str, least: int, most: int) -> int | None:
        """An integer or nothing."""
        return self.integer(key, least, most) if key in self else None

    def optional_number(self, key: str, most: float) -> float | None:
        """A number from 0 to ``most``, or nothing."""
        return self.number(key, most) if key in self else None

    def number(self, key: str, most: float) -> float:
        """A number from 0 to ``most``, 0 unless it is given."""
        value = self.raw(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number and math.isfinite(value) and 0 <= value <= most
        return float(self._checked(key, 0.0, fits, f"a number from 0 to {most:g}"))

    def choice(self, key: str, choices: Sequence[_T], default: _T | None = None) -> _T:
        """One of several names, needed if there is no default."""
        value = self.raw(key)
        fits = any(value == choice and type(value) is type(choice) for choice in choices)
        stand_in = choices[0] if default is None else default
        return self._checked(key, stand_in, fits, " or ".join(map(str, choices)), default is None)

    def _checked(self, key: str, stand_in: _T, fits: bool, allowed: str, is_needed: bool = False) -> _T:
        value = self.raw(key)
        if value is None and not is_needed:
            return stand_in
        if not fits:
            given = f"is {shown(value)}" if value is not None else "is missing"
            self.problems.add(f"{self.name(key)} {given}; it must be {allowed}")
            return stand_in
        return value
