"""The file in which a job's hyperparameters arrive."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.hyperparameters.wording import shown

_EXAMPLE = 'write one object of texts, such as {"batch_size": "64"}'
_LONGEST_INTEGER = 100  # characters; far beyond every limit of the table, far below where Python's int() refuses


def read_hyperparameters_file(path: Path) -> dict[str, object]:
    """Reads the values of a job by name, unchecked.

    An absent file gives an empty dictionary, because every hyperparameter is optional.

    Raises:
        ClientError: If the file is not one JSON object in UTF-8 with each name once.
        PlatformError: If the file is there, but cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PlatformError(f"cannot be read ({error.strerror})", where=str(path)) from error
    try:
        return _parse(content)
    except ClientError as error:
        raise error.at(str(path)) from error.__cause__


def _parse(content: bytes) -> dict[str, object]:
    try:
        # The -sig variant also takes the byte order mark that some editors put first.
        values = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
            parse_int=_integer_or_text,
        )
    except UnicodeDecodeError as error:
        raise ClientError(f"byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ClientError(f"not JSON at {place} ({error.msg}); {_EXAMPLE}") from error
    except RecursionError as error:
        raise ClientError(f"nested too deeply; {_EXAMPLE}") from error
    if not isinstance(values, dict):
        raise ClientError(f"{shown(values)} is not a JSON object; {_EXAMPLE}")
    return values


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ClientError(f"{', '.join(shown(name) for name in twice)} given more than once; pass each name once")
    return dict(pairs)


def _refuse_constant(constant: str) -> NoReturn:
    raise ClientError(f"{constant} is not a JSON number; pass a finite one")


def _integer_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits
