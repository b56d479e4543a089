"""Texts of a sentence per line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from s2s_algo.errors import ClientError


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a text (.gz too) as UTF-8, with U+FFFD in place of what is not UTF-8.

    Raises:
        ClientError: The file cannot be read.
    """
    try:
        # utf-8-sig: a byte order mark would become a part of the first word.
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", errors="replace") as stream:
                yield from stream
        else:
            with path.open(encoding="utf-8-sig", errors="replace") as stream:
                yield from stream
    except (OSError, EOFError, zlib.error) as error:  # the last two: damaged gzip data
        raise ClientError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
