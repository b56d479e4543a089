"""JSON files from outside: one object, each name once, nothing that JSON does not know."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.wording import shown

_LONGEST_INTEGER = 100  # characters; far beyond every limit of ours, far below where Python's int() refuses


def read_json_object(path: Path, form: str) -> dict[str, Any] | None:
    """Reads a file that holds one JSON object.

    Integers of absurd length are kept as text, for whoever checks the values to refuse.

    Args:
        path: The file, in UTF-8; a byte order mark is tolerated.
        form: What the file must hold and how to mend it, for messages.

    Returns:
        The object, or ``None`` if there is no such file.

    Raises:
        ClientError: The file holds something else.
        PlatformError: The file is there but cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PlatformError(f"cannot be read ({error.strerror})", where=str(path)) from error
    try:
        return _parse(content, form)
    except ClientError as error:
        raise error.at(str(path)) from error.__cause__


def _parse(content: bytes, form: str) -> dict[str, Any]:
    try:
        value = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
            parse_int=_integer_or_text,
        )
    except UnicodeDecodeError as error:
        raise ClientError(f"byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ClientError(f"not JSON at {place} ({error.msg}); {form}") from error
    except RecursionError as error:
        raise ClientError(f"nested too deeply; {form}") from error
    if not isinstance(value, dict):
        raise ClientError(f"{shown(value)} is not a JSON object; {form}")
    return value


def _object_without_duplicates(members: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(members)
    if len(result) < len(members):
        twice = [name for name, count in Counter(name for name, _ in members).items() if count > 1]
        names = ", ".join(shown(name) for name in twice[:5])
        raise ClientError(f"{names} given more than once; pass each name once")
    return result


def _refuse_constant(constant: str) -> NoReturn:
    raise ClientError(f"{constant} is not a JSON number; pass a finite one")


def _integer_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits
