"""RecordIO: the framing of the ``train`` and ``validation`` channels and of protobuf requests.

A frame is the magic number, a word that holds a 3-bit flag and a 29-bit length, the payload, and zero bytes up to the
next multiple of four. MXNet's writer splits a payload at every aligned occurrence of the magic and drops those four
bytes; the reader puts them back. Source: container contract 1.1.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from s2s_algo.errors import ClientError

_MAGIC = struct.pack("<I", 0xCED7230A)
_HEADER = struct.Struct("<4sI")
_LENGTH_BITS = 29
_MAX_PAYLOAD = (1 << _LENGTH_BITS) - 1
_WHOLE, _FIRST, _MIDDLE, _LAST = 0, 1, 2, 3

# One request to the stream asks for at most this much, because a buffered reader allocates what it is asked for:
# a length that lies costs no more memory than the stream has bytes.
_READ_SIZE = 1 << 20


def read_records(stream: BinaryIO) -> Iterator[bytes]:
    """Yields the payloads of a stream in order.

    The stream is read by length and never searched for the magic, which a payload may well contain. Parts of a split
    record are joined. Missing padding after the very last payload is tolerated: nothing of the record is lost.

    Args:
        stream: Bytes from the beginning of a frame to the end of the last one.

    Raises:
        ClientError: The bytes are not RecordIO; says which record (the first is 1) and at which byte.
    """
    number = 1
    offset = 0
    inside = False  # a split record has begun and not ended
    joined = bytearray()  # its parts so far
    while header := _read(stream, _HEADER.size):
        if len(header) < _HEADER.size:
            raise _error(number, offset, f"{len(header)} bytes are left, but a frame begins with {_HEADER.size}")
        magic, word = _HEADER.unpack(header)
        if magic != _MAGIC:
            raise _error(number, offset, _wrong_magic(magic, number))
        flag, length = word >> _LENGTH_BITS, word & _MAX_PAYLOAD
        _check_flag(flag, inside, number, offset)

        padded = length + (-length % 4)
        data = _read(stream, padded)
        if len(data) < length:
            raise _error(number, offset, f"the header promises {length} bytes, but {len(data)} are left")
        payload = data if padded == length else data[:length]

        if flag == _WHOLE:
            yield payload
            number += 1
        elif flag == _FIRST:
            inside, joined = True, bytearray(payload)
        else:
            joined += _MAGIC + payload
            if len(joined) > _MAX_PAYLOAD:
                raise _error(number, offset, f"the parts together are longer than {_MAX_PAYLOAD} bytes")
            if flag == _LAST:
                yield bytes(joined)
                number += 1
                inside = False
        offset += _HEADER.size + padded
    if inside:
        raise _error(number, offset, "the stream ends before the last part of a split record")


def split_framed(body: bytes) -> list[bytes]:
    """Returns the payloads of a framed body, in order; raises what `read_records` raises."""
    return list(read_records(io.BytesIO(body)))


def write_record(stream: BinaryIO, payload: bytes) -> None:
    """Appends one unsplit frame; readers in Python cannot join split ones.

    Raises:
        ClientError: The payload needs more than 29 bits for its length.
    """
    if len(payload) > _MAX_PAYLOAD:
        raise ClientError(
            f"a record of {len(payload)} bytes is too long for RecordIO, which allows {_MAX_PAYLOAD}; "
            "split the pair into shorter ones"
        )
    stream.write(_HEADER.pack(_MAGIC, len(payload)) + payload + bytes(-len(payload) % 4))


def _read(stream: BinaryIO, size: int) -> bytes:
    """Reads `size` bytes, or fewer at the end of the stream."""
    data = stream.read(min(size, _READ_SIZE))
    if len(data) == size or not data:
        return data
    blocks = [data]
    missing = size - len(data)
    while missing and (block := stream.read(min(missing, _READ_SIZE))):
        blocks.append(block)
        missing -= len(block)
    return b"".join(blocks)


def _check_flag(flag: int, inside: bool, number: int, offset: int) -> None:
    """Checks that a frame may follow the ones before it."""
    if flag > _LAST:
        raise _error(number, offset, f"the continuation flag is {flag}; allowed are 0 to 3")
    if inside and flag in (_WHOLE, _FIRST):
        raise _error(number, offset, "another record begins before the last part of a split record")
    if not inside and flag in (_MIDDLE, _LAST):
        name = "middle" if flag == _MIDDLE else "last"
        raise _error(number, offset, f"the {name} part of a split record has no first part before it")


def _wrong_magic(found: bytes, number: int) -> str:
    text = f"a frame must begin with the bytes {_MAGIC.hex(' ')}, found {found.hex(' ')}"
    if number == 1:
        return f"{text}; the data is not RecordIO, write it with `s2s prepare` or with the SageMaker SDK"
    return f"{text}; the length of the record before it is wrong or the data is damaged"


def _error(number: int, offset: int, text: str) -> ClientError:
    return ClientError(f"{text} (byte {offset})", where=f"record {number}")
