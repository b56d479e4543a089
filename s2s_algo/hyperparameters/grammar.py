"""How hyperparameter values are written: every value of a job arrives as text, sometimes as a JSON value.

The parsers raise ``ValueError`` for whatever is not written as their type asks; which values a parameter allows is said
in ``domains``.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings

from s2s_algo.hyperparameters.values import CompoundValue

# Python's int() and float() take more than a person would expect: underscores, digits of other scripts, nan, infinity.
_INTEGER = re.compile(r"([+-]?)([0-9]+)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LONGEST_OBJECT = 2500  # characters; the platform itself passes no longer value


def plain(value: object) -> object:
    """Strips a text and removes one pair of JSON quotes around it; anything but a text is returned as it is."""
    if not isinstance(value, str):
        return value
    stripped = value.strip()
    if not stripped.startswith('"'):
        return stripped
    try:
        unquoted: str = json.loads(stripped)
    except ValueError:  # a quotation mark, but no JSON text: left for the error message to show
        return stripped
    return unquoted


def text(value: object) -> str:
    """Reads a text."""
    value = plain(value)
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def integer(value: object) -> int:
    """Reads an integer: an optional sign and ASCII digits, or a JSON integer."""
    value = plain(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _INTEGER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not an integer")
    sign, digits = match.groups()
    return int(sign + (digits.lstrip("0") or "0"))  # refuses thousands of digits with a ValueError too


def number(value: object) -> float:
    """Reads a finite number: a decimal with an optional exponent, or a JSON number."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not a number")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("not a number")
    try:
        parsed = float(value)
    except OverflowError as error:
        raise ValueError("not a finite number") from error
    if not math.isfinite(parsed):
        raise ValueError("not a finite number")
    return parsed


def boolean(value: object) -> bool:
    """Reads ``true`` or ``false`` in any case, or a JSON boolean."""
    value = plain(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("not a boolean")


def json_object(value: object) -> dict[str, object]:
    """Reads a JSON object: as such, as its text, or as the text that Python writes for a dictionary, as in the SDK."""
    value = plain(value)
    if isinstance(value, str):
        value = _object_in(value)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError("not an object")
    return value


def _object_in(text: str) -> object:
    if len(text) > _LONGEST_OBJECT:
        raise ValueError("too long")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings(action="ignore"):  # of the parser, about odd literals
            return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("neither JSON nor a Python dictionary") from error


def means_not_passed(value: object) -> bool:
    """Tells whether a value is one that stands for "not passed": ``None``, ``null`` or nothing at all."""
    value = plain(value)
    return value is None or (isinstance(value, str) and (value in ("", "null") or value.lower() == "none"))


def written(value: object) -> str:
    """Writes a parsed value the way a user would pass it: ``true``, ``64``, ``0.5``, ``lstm``, ``100:75``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, CompoundValue):
        value = value.plain()
    return json.dumps(value) if isinstance(value, dict) else str(value)
