"""JSON from strangers: every text either parses in bounded memory or raises a ClientError."""

from __future__ import annotations

import itertools
import json
import re
import reprlib
from collections import Counter
from typing import Any, NoReturn

from s2s_algo.errors import ClientError
from serve.problems import TooLargeError

_NAMES_OF_TYPES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def decode_utf8(data: bytes) -> str:
    """Returns the text of UTF-8 bytes without a byte order mark.

    Raises:
        ClientError: The bytes are not UTF-8; names the first wrong one.
    """
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ClientError(
            f"the text is not UTF-8: byte {error.start + 1} is {data[error.start]:#04x}; send it encoded as UTF-8"
        ) from None


def parse(text: str, max_parts: int) -> object:
    """Parses a JSON text.

    Python's parser accepts more than JSON and lets the last of several equal keys win; this one refuses both.

    Args:
        text: One JSON value.
        max_parts: Most strings, commas, colons and opening brackets the text may have.

    Raises:
        ClientError: The text is not JSON; says why and where.
        TooLargeError: There are more parts.
    """
    _check_parts(text, max_parts)
    try:
        return json.loads(text, object_pairs_hook=_object_from, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ClientError(
            f"not valid JSON: {error.msg} (line {error.lineno}, column {error.colno} of the text)"
        ) from None
    except RecursionError:
        raise ClientError("the JSON is nested too deeply; a request needs four levels at most") from None
    except ValueError:  # Python refuses to read integers of thousands of digits: that takes quadratic time
        raise ClientError("the JSON holds an integer with too many digits; a request needs no integers") from None


def name_of_type(value: object) -> str:
    """Returns what JSON calls the type of a value, with an article."""
    return _NAMES_OF_TYPES[type(value)]


def quote(text: str | bytes) -> str:
    """Returns a text from a request as it can stand in a message: short, on one line, in valid Unicode."""
    return _shorten.repr(text)


_shorten = reprlib.Repr()
_shorten.maxstring = 60

# A string, or what is left of one that does not end; or a character that comes with another value.
_PART = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{,:]', re.DOTALL)


def _check_parts(text: str, max_parts: int) -> None:
    """Counts parts before parsing.

    Python's parser lets no other thread run until it is done, and small values take many times more memory than text.
    """
    if next(itertools.islice(_PART.finditer(text), max_parts, None), None) is not None:
        raise TooLargeError(
            f"the JSON has more than {max_parts} parts (strings, commas, colons, opening brackets); send fewer "
            "instances per request"
        )


def _object_from(members: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(members)
    if len(result) < len(members):
        twice = next(key for key, count in Counter(key for key, _ in members).items() if count > 1)
        raise ClientError(f"the key {quote(twice)} occurs more than once in one object; every key must have one value")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ClientError(f"not valid JSON: {name} is no JSON value")
