"""Files of text, packed or not."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s2s_algo.errors import ClientError

_BLOCK = 1 << 16  # bytes
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a text (.gz too) as UTF-8, with U+FFFD in place of what is not UTF-8.

    Line feeds alone end lines: a carriage return within a line of one text would shift it against its translation.

    Raises:
        ClientError: The file cannot be read, or is UTF-16.
    """
    opener = gzip.open if _is_packed(path) else open
    with _naming(path), opener(path, "rb") as stream:
        if stream.peek(2)[:2] in _UTF_16:
            raise ClientError(f"{path} is UTF-16; save it as UTF-8")
        # utf-8-sig: a byte order mark would become a part of the first word.
        yield from io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="\n")


def read_blocks(path: Path) -> Iterator[bytes]:
    """Yields the bytes of a file (.gz too), unpacked, some at a time.

    Raises:
        ClientError: The file cannot be read.
    """
    opener = gzip.open if _is_packed(path) else open
    with _naming(path), opener(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Tells the user which file cannot be read."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:  # the last two: damaged gzip data
        raise ClientError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
