"""Reads the weights of an MXNet model, such as Sockeye's ``params.best``, without MXNet and without trusting the file.

A file is a list of arrays followed by the list of their names, all little endian::

    u64 0x112; u64 0; u64 n; n x array; u64 n; n x (u64 length; UTF-8 name)

An array begins with a u32 mark that tells how its shape is written:

========== ============================== ============================ ===========================================
version    mark                           shape                        a rank that says "no array", nothing follows
========== ============================== ============================ ===========================================
V0         the rank itself                u32 per dimension            0
V1         ``0xF993FAC8``                 i32 rank, i64 per dimension  0
V2         ``0xF993FAC9``, i32 storage    as V1                        0
V3         ``0xF993FACA``, i32 storage    as V1, rank 0 is a scalar    -1
========== ============================== ============================ ===========================================

After the shape come i32 device type, i32 device id (both without meaning here), i32 element type and the elements in
row-major order. One file may mix versions. Nothing in a file can run code, and no size in it is believed before it
has been compared with the bytes that are left: memory stays within the size of the file plus a few megabytes.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s_algo.errors import ClientError, PlatformError, S2SError

_LIST_MARK = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_ELEMENT_TYPES = tuple(np.dtype(code) for code in ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8"))

# Far above every real model; they bound the Python objects that a small hostile file can ask for.
_MOST_ARRAYS = 10_000
_MOST_DIMENSIONS = 32
_LONGEST_NAME = 256

_WEIGHT, _AUXILIARY = "arg:", "aux:"

_GIVE_ANOTHER = "give the params.best of a trained Sockeye 1 model"
_COPY_AGAIN = "the file is damaged or incomplete, copy it again from where the model was trained"


def read_params(path: Path) -> dict[str, NDArray[Any]]:
    """Reads all weights of a parameter file.

    Auxiliary states (``aux:`` entries, such as running means of batch normalisation) are checked but left out: no
    model that can be imported has any.

    Args:
        path: A parameter file, or a link to one.

    Returns:
        Writable arrays by name, without the prefix ``arg:``, in the order of the file. An array that was saved
        without a shape has shape (0,) and float32 elements.

    Raises:
        ClientError: There is no such file, it may not be read, it is damaged, or it holds something else than named
            dense arrays.
        PlatformError: The disk failed while reading.
    """
    with _place(f"file {path.name}"):
        try:
            return _read_file(path)
        except PermissionError as error:
            raise ClientError("may not be read; grant this process the permission to read it") from error
        except OSError as error:
            raise PlatformError(f"cannot be read: {error.strerror}") from error


@contextmanager
def _place(where: str) -> Iterator[None]:
    """Adds a place to the errors raised inside."""
    try:
        yield
    except S2SError as error:
        error.at(where)
        raise


def _damaged(problem: str) -> ClientError:
    return ClientError(f"{problem}; {_COPY_AGAIN}")


class _Source:
    """The unread rest of a file; takes no more from it than is there."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.remaining = os.fstat(file.fileno()).st_size

    def integers(self, layout: str, what: str) -> tuple[int, ...]:
        """Takes the integers of a ``struct`` layout."""
        return struct.unpack(layout, self.content(struct.calcsize(layout), what))

    def integer(self, layout: str, what: str) -> int:
        """Takes one integer."""
        return self.integers(layout, what)[0]

    def content(self, size: int, what: str) -> bytes:
        """Takes bytes."""
        self._reserve(size, what)
        content = self._file.read(size)
        self._check_read(len(content), size)
        return content

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Takes the elements of an array, whose number may exceed every machine integer."""
        size = math.prod(shape) * dtype.itemsize
        self._reserve(size, f"an array of shape {list(shape)} and type {dtype.name}")
        array = np.empty(shape, dtype)
        self._check_read(self._file.readinto(array.reshape(-1).view(np.uint8).data), size)
        return array

    def _reserve(self, size: int, what: str) -> None:
        if size > self.remaining:
            raise _damaged(f"{what} needs {size} bytes, but only {self.remaining} are left")
        self.remaining -= size

    def _check_read(self, read: int, size: int) -> None:
        if read < size:
            raise _damaged("the file became shorter while it was read")


def _read_file(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise ClientError("is missing or is no regular file; if it is a link, copy the file that it points to as well")
    with path.open("rb") as file:
        source = _Source(file)
        arrays = _read_arrays(source)
        names = _read_names(source, len(arrays))
    if source.remaining:
        raise _damaged(f"bytes left over after the last name: {source.remaining}")
    named = zip(names, arrays, strict=True)
    return {name.removeprefix(_WEIGHT): array for name, array in named if name.startswith(_WEIGHT)}


def _read_arrays(source: _Source) -> list[NDArray[Any]]:
    mark, reserved, count = source.integers("<3Q", "the head of the file")
    if mark != _LIST_MARK:
        raise ClientError(f"begins with {mark:#x}, MXNet parameters begin with {_LIST_MARK:#x}; {_GIVE_ANOTHER}")
    if reserved != 0:
        raise _damaged(f"the reserved field is {reserved:#x} instead of 0")
    if count > _MOST_ARRAYS:
        raise _damaged(f"announces {count} arrays, at most {_MOST_ARRAYS} are allowed")
    arrays = []
    for number in range(1, count + 1):
        with _place(f"array {number}"):
            arrays.append(_read_array(source))
    return arrays


def _read_array(source: _Source) -> NDArray[Any]:
    shape = _read_shape(source)
    if shape is None:
        return np.empty(0, np.float32)
    _device_type, _device_id, element_type = source.integers("<3i", "device and element type")
    if not 0 <= element_type < len(_ELEMENT_TYPES):
        known = ", ".join(f"{number} {dtype.name}" for number, dtype in enumerate(_ELEMENT_TYPES))
        raise ClientError(f"element type {element_type} is unknown; save the model with one of: {known}")
    return source.array(shape, _ELEMENT_TYPES[element_type])


def _read_shape(source: _Source) -> tuple[int, ...] | None:
    """Takes everything up to the shape; None says that there is no array."""
    mark = source.integer("<I", "the mark")
    if mark in (_V2, _V3):
        _check_storage(source.integer("<i", "the storage type"))
    is_marked = mark in (_V1, _V2, _V3)
    rank = source.integer("<i", "the rank") if is_marked else mark
    if rank == (-1 if mark == _V3 else 0):
        return None
    if not 0 <= rank <= _MOST_DIMENSIONS:
        raise _damaged(f"{rank} is neither a rank from 0 to {_MOST_DIMENSIONS} nor the mark of a known version")
    shape = source.integers(f"<{rank}{'q' if is_marked else 'I'}", "the shape")
    if any(size < 1 for size in shape):
        raise _damaged(f"shape {list(shape)} has a dimension below 1")
    return shape


def _check_storage(storage: int) -> None:
    if storage != _DENSE:
        raise ClientError(f"storage type {storage} is sparse or unknown; save the model with dense arrays (type 0)")


def _read_names(source: _Source, expected: int) -> list[str]:
    count = source.integer("<Q", "the number of names")
    if count != expected:
        raise ClientError(f"holds {expected} arrays but {count} names, every array needs one; {_GIVE_ANOTHER}")
    names: dict[str, None] = {}
    for number in range(1, count + 1):
        with _place(f"name {number}"):
            name = _read_name(source)
            if name in names:
                raise _damaged(f"{name!r} occurs a second time")
            names[name] = None
    return list(names)


def _read_name(source: _Source) -> str:
    size = source.integer("<Q", "the length")
    if size > _LONGEST_NAME:
        raise _damaged(f"{size} bytes are announced, at most {_LONGEST_NAME} are allowed")
    content = source.content(size, "the text")
    try:
        name = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(f"{content!r} is not UTF-8") from error
    if not name.startswith((_WEIGHT, _AUXILIARY)) or name in (_WEIGHT, _AUXILIARY):
        raise ClientError(f"{name!r} is neither {_WEIGHT}NAME nor {_AUXILIARY}NAME; {_GIVE_ANOTHER}")
    return name
