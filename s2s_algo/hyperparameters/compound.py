"""Domains of values that are made of several parts: orders, chunks and JSON objects, and of a word beside numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, cast, get_args

from s2s_algo.hyperparameters import grammar
from s2s_algo.hyperparameters.domains import Integers
from s2s_algo.hyperparameters.values import Chunking, CleanupOldModels, MaxSeqLength, OrderingMode, SeqOrdering
from s2s_algo.hyperparameters.wording import nearest
from s2s_algo.wording import shown

_LARGEST = 2**31 - 1
_COUNTS = Integers(1, _LARGEST)
SEEDS = Integers(0, 2**32 - 1)
_CHUNKS = re.compile(r"([0-9]+):([0-9]+)")
_WORD_AND_NUMBER = re.compile(r"(random|laplace)\W*?(\.?[0-9]+)")
_TWO_NUMBERS = re.compile(r"([0-9]+)\s*[,;:/ ]\s*([0-9]+)")


@dataclass(frozen=True, slots=True)
class IntegersOr:
    """One word, or an integer."""

    type_name: ClassVar[str] = "string or integer"
    word: str
    integers: Integers

    @property
    def allowed(self) -> str:
        """Such as "auto or an integer from 1 to 9"."""
        return f"{self.word} or {self.integers.allowed}"

    def parse(self, value: object) -> int | str:
        """Reads the word or an integer."""
        return self.word if grammar.plain(value) == self.word else self.integers.parse(value)

    def hint(self, value: object) -> str:
        """Suggests the word, or what its integers suggest."""
        word = grammar.plain(value)
        guess = nearest(word, [self.word]) if isinstance(word, str) else None
        return f"did you mean '{guess}'?" if guess else self.integers.hint(value)


@dataclass(frozen=True, slots=True)
class Orderings:
    """Orders of sequences: a word, with ``random`` and ``laplace`` also a number."""

    type_name: ClassVar[str] = "string"
    modes: ClassVar[tuple[str, ...]] = get_args(OrderingMode)

    @property
    def allowed(self) -> str:
        """All forms; N stands for a number."""
        return "default, reverse, random, random:N, sorted, sorted_reverse, laplace, laplace:N or laplace:.N"

    def parse(self, value: object) -> SeqOrdering:
        """Reads an order."""
        if isinstance(value, SeqOrdering):
            return value
        word, colon, number = grammar.text(value).partition(":")
        if word not in self.modes:
            raise ValueError("not a known order")
        mode = cast(OrderingMode, word)
        if not colon:
            return SeqOrdering(mode)
        if mode == "random":
            return SeqOrdering(mode, seed=_digits(number, SEEDS))
        if mode != "laplace":
            raise ValueError("no number belongs to this order")
        if number.startswith("."):
            return SeqOrdering(mode, part_size=_digits(number[1:], _COUNTS))
        return SeqOrdering(mode, parts=_digits(number, _COUNTS))

    def hint(self, value: object) -> str:
        """Suggests the nearest word, or how the number is written."""
        text = grammar.plain(value)
        if not isinstance(text, str):
            return ""
        word, _, number = text.partition(":")
        if word not in self.modes:
            match = _WORD_AND_NUMBER.fullmatch(text)
            guess = f"{match[1]}:{match[2]}"[:40] if match else nearest(word, self.modes)
            return f"did you mean '{guess}'?" if guess else ""
        if word == "random":
            return f"N is a seed, {SEEDS.allowed}"
        if word != "laplace":
            return f"write {word} alone"
        if ":" in number:
            return "one number at most belongs to laplace"
        return "N is a number of parts, .N of pairs in a part, 1 or more"


@dataclass(frozen=True, slots=True)
class Chunkings:
    """``size:step``, or 0 for none."""

    type_name: ClassVar[str] = "string"

    @property
    def allowed(self) -> str:
        """Both forms."""
        return "0 or SIZE:STEP, two numbers of 1 or more such as 100:75"

    def parse(self, value: object) -> Chunking | int:
        """Reads the two numbers, or 0."""
        if isinstance(value, Chunking):
            return value
        value = grammar.plain(value)
        if value == "0" or (type(value) is int and value == 0):
            return 0
        match = _CHUNKS.fullmatch(grammar.text(value))
        if match is None:
            raise ValueError("not two numbers with a colon between them")
        return Chunking(*(_COUNTS.parse(number) for number in match.groups()))

    def hint(self, value: object) -> str:
        """Suggests the colon, or a step where there is none."""
        text = grammar.plain(value)
        match = _TWO_NUMBERS.fullmatch(text) if isinstance(text, str) else None
        try:
            if match is None:
                size = _COUNTS.parse(value)
                return f"write {size}:{size}, for chunks without overlap"
            proposal = Chunking(*(_COUNTS.parse(number) for number in match.groups()))
        except ValueError:
            return ""
        return f"write {proposal.plain()}, with a colon"


@dataclass(frozen=True, slots=True)
class LengthBounds:
    """A JSON object with a bound for ``source``, for ``target`` or for both; null is no bound."""

    type_name: ClassVar[str] = "JSON object"

    @property
    def allowed(self) -> str:
        """An example."""
        return 'an object such as {"source": 75, "target": 75}'

    def parse(self, value: object) -> MaxSeqLength:
        """Reads the bounds."""
        if isinstance(value, MaxSeqLength):
            return value
        members = _members(value, _names_of(MaxSeqLength))
        return MaxSeqLength(**{name: _member(name, bound, _COUNTS) for name, bound in members.items()})

    def hint(self, value: object) -> str:
        """Says what is wrong inside an object; suggests an object for a mere number."""
        try:
            bound = _COUNTS.parse(value)
        except ValueError:
            return _problem_inside(self, value)
        return f'write {{"source": {bound}, "target": {bound}}}'


@dataclass(frozen=True, slots=True)
class Cleanups:
    """True, false, or a JSON object that says which checkpoints are kept."""

    type_name: ClassVar[str] = "boolean or JSON object"

    @property
    def allowed(self) -> str:
        """All forms, with the object's keys."""
        return "true, false or an object with keep_last_n, keep_best_n and keep"

    def parse(self, value: object) -> CleanupOldModels | bool:
        """Reads what is kept; false is false, true are the defaults."""
        if isinstance(value, CleanupOldModels):
            return value
        try:
            return CleanupOldModels() if grammar.boolean(value) else False
        except ValueError:
            members = _members(value, _names_of(CleanupOldModels))
        defaults = CleanupOldModels()
        return CleanupOldModels(
            keep_last_n=_member("keep_last_n", members.get("keep_last_n", defaults.keep_last_n), _COUNTS),
            keep_best_n=_member("keep_best_n", members.get("keep_best_n", defaults.keep_best_n), Integers(0, _LARGEST)),
            keep=_numbers("keep", members.get("keep", defaults.keep)),
        )

    def hint(self, value: object) -> str:
        """Says what is wrong inside an object."""
        return _problem_inside(self, value)


class _InsideError(ValueError):
    """Something inside an object is wrong; the message says what."""


def _digits(text: str, domain: Integers) -> int:
    """Reads an integer that is part of a text: digits alone."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not digits")
    return domain.parse(text)


def _names_of(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _members(value: object, known: Sequence[str]) -> Mapping[str, object]:
    """The members of an object that are not null."""
    members = grammar.json_object(value)
    for name in members:
        if name not in known:
            guess = nearest(name, known)
            advice = f"did you mean '{guess}'?" if guess else f"allowed are {', '.join(known)}"
            raise _InsideError(f"{shown(name)} is not one of its keys, {advice}")
    return {name: member for name, member in members.items() if member is not None}


def _member(name: str, value: object, domain: Integers) -> int:
    try:
        return domain.parse(value)
    except ValueError as error:
        raise _InsideError(f"{name} {shown(value)} is not {domain.allowed}") from error


def _numbers(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise _InsideError(f"{name} {shown(value)} is not a list of epochs")
    return tuple(sorted({_member(name, number, _COUNTS) for number in value}))


def _problem_inside(domain: LengthBounds | Cleanups, value: object) -> str:
    try:
        domain.parse(value)
    except _InsideError as error:
        return str(error)
    except ValueError:
        pass
    return ""
