"""Reads the YAML that Sockeye 1 wrote, where a tag names the class of each mapping, without making any object of it.

A mapping becomes a ``Section``, whatever class its tag names; a sequence a list; a scalar text, a number, a truth value
or ``None``. Python calls, names and modules are refused. Work and memory are bounded by the limits below: aliases
stand for the same object rather than for a copy, and merge keys, which would copy, are text as any other key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from s2s_algo.errors import ClientError
from s2s_algo.wording import shown

# The largest configurations, with statistics of a thousand buckets, stay below a quarter of these.
LARGEST_TEXT = 512 * 1024
_MOST_NODES = 50_000
_DEEPEST = 20
_MOST_ALIASES = 100

_COPY_AGAIN = "copy the file again from where the model was trained"

# A class of Sockeye, registered with YAML or (in 1.4) left to Python's own serialisation, whose state is a mapping.
_CLASS = re.compile(r"!(\w+)|tag:yaml\.org,2002:python/object:sockeye\.(?:\w+\.)*(\w+)")
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}"
    for name in ("bool", "float", "int", "map", "null", "python/tuple", "python/unicode", "seq", "str")
} | {None, "!"}

_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?\d{1,4})?", re.ASCII)
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}


class Section(dict[str, Any]):
    """A mapping.

    Attributes:
        class_name: The class that its tag names, "" if there is none.
    """

    class_name: str = ""


def parse(text: str) -> Any:
    """Parses one document.

    Raises:
        ClientError: It is no YAML, asks for Python objects, or goes beyond a limit.
    """
    if len(text) > LARGEST_TEXT:
        raise ClientError(f"{len(text)} characters are too many, at most {LARGEST_TEXT} are read; {_COPY_AGAIN}")
    try:
        return _Builder(yaml.parse(text, Loader=yaml.SafeLoader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ClientError(f"not YAML{place} ({shown(error.problem)}); {_COPY_AGAIN}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as an escape beyond Unicode
        raise ClientError(f"not YAML; {_COPY_AGAIN}") from error


class _Builder:
    """Takes the events of a parser, which has no recursion of its own, and builds plain values."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._nodes = self._aliases = 0
        self._anchored: dict[str, Any] = {}

    def document(self) -> Any:
        """The one document."""
        self._expect(yaml.StreamStartEvent)
        self._expect(yaml.DocumentStartEvent)
        value = self._value(next(self._events), depth=0)
        self._expect(yaml.DocumentEndEvent)
        self._expect(yaml.StreamEndEvent)
        return value

    def _expect(self, kind: type[yaml.Event]) -> None:
        if not isinstance(next(self._events), kind):
            raise ClientError(f"exactly one YAML document is allowed; {_COPY_AGAIN}")

    def _value(self, event: yaml.Event, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise ClientError(f"more than {_MOST_NODES} values; {_COPY_AGAIN}")
        if depth > _DEEPEST:
            raise ClientError(f"nested more than {_DEEPEST} levels deep; {_COPY_AGAIN}")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor)
        value = self._tagged(event, depth)
        if event.anchor is not None:
            self._anchored[event.anchor] = value
        return value

    def _alias(self, anchor: str) -> Any:
        self._aliases += 1
        if self._aliases > _MOST_ALIASES:
            raise ClientError(f"more than {_MOST_ALIASES} aliases; {_COPY_AGAIN}")
        if anchor not in self._anchored:
            raise ClientError(f"alias {shown(anchor)} stands for nothing before it; {_COPY_AGAIN}")
        return self._anchored[anchor]

    def _tagged(self, event: yaml.Event, depth: int) -> Any:
        named = _CLASS.fullmatch(event.tag or "")
        if not named and event.tag not in _PLAIN_TAGS:
            raise ClientError(
                f"tag {shown(event.tag)} asks for a Python object; only classes of Sockeye's configuration may be "
                "named, and none is ever made. Take the file that Sockeye wrote"
            )
        if isinstance(event, yaml.MappingStartEvent):
            section = self._section(depth)
            section.class_name = (named[1] or named[2]) if named else ""
            return section
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(depth)
        is_text = event.style is not None or event.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:python/unicode")
        return event.value if is_text else _scalar(event.value)

    def _section(self, depth: int) -> Section:
        section = Section()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, depth + 1)
            if not isinstance(key, str):
                raise ClientError(f"key {shown(key)} is not a name; {_COPY_AGAIN}")
            if key in section:
                raise ClientError(f"key {shown(key)} is given twice in one section; {_COPY_AGAIN}")
            section[key] = self._value(next(self._events), depth + 1)
        return section

    def _list(self, depth: int) -> list[Any]:
        values = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, depth + 1))
        return values


def _scalar(text: str) -> Any:
    """The value of a scalar without quotes; what looks like nothing else, dates for example, is text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text
