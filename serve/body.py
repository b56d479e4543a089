"""Reading the body of a request within bounds of size."""

from __future__ import annotations

from typing import BinaryIO

from s2s_algo.errors import ClientError
from serve.problems import TooLargeError
from serve.settings import MEBIBYTE

_BLOCK = MEBIBYTE

# A client that is still sending does not see an answer: it sees its connection break. So what is too much is read and
# thrown away, up to a bound.
_MOST_DISCARDED = 256 * MEBIBYTE


def read_body(stream: BinaryIO, declared: int | None, limit: int) -> bytes:
    """Reads a body.

    Args:
        stream: The body, with or without a declared length.
        declared: The Content-Length; ``None`` for a chunked body, whose end the stream knows.
        limit: Most bytes the body may have.

    Raises:
        TooLargeError: There are more bytes.
        ClientError: There are fewer bytes than declared, or the stream breaks.
    """
    try:
        if declared is not None and declared > limit:
            _discard(stream, declared)
            raise _too_large(declared, limit)
        body = _read(stream, limit + 1 if declared is None else declared)
        if len(body) > limit:
            _discard(stream, _MOST_DISCARDED)
            raise _too_large(None, limit)
    except ClientError:
        raise
    except Exception as error:  # the HTTP server has errors of its own for broken chunks and lost connections
        raise ClientError(f"the body could not be read: {type(error).__name__}: {error}") from error
    if declared is not None and len(body) < declared:
        raise ClientError(f"the body ended after {len(body)} of the {declared} bytes that Content-Length declares")
    return body


def _read(stream: BinaryIO, size: int) -> bytes:
    blocks = []
    while size and (block := stream.read(min(size, _BLOCK))):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


def _discard(stream: BinaryIO, size: int) -> None:
    size = min(size, _MOST_DISCARDED)
    while size > 0 and (block := stream.read(min(size, _BLOCK))):
        size -= len(block)


def _too_large(size: int | None, limit: int) -> TooLargeError:
    found = "the body" if size is None else f"the body of {size} bytes"
    return TooLargeError(
        f"{found} is over the limit of {limit} bytes ({limit / MEBIBYTE:g} MB); send fewer instances per request, or "
        "raise SAGEMAKER_MAX_PAYLOAD_IN_MB"
    )
