"""Takes the files of a model out of a ``model.tar.gz`` that a stranger made.

Nothing in an archive is believed: every entry must be a file, a folder or a link that stays inside; how much the whole
may unpack to, how many entries it may have and how much is read at once are bounded before anything is written; and
only the files that the importer asks for are ever written, under their own names, into a folder of the caller's.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.wording import shown

# Weights hardly compress; what unpacks to much more than this is no model.
_SPARE_BYTES = 128 * 1024 * 1024
_MOST_EXPANSION = 20
_MOST_ENTRIES = 10_000
# Headers are read whole and kept; the longest true ones, with long names, take a few thousand bytes.
_LARGEST_READ = 1024 * 1024
_MOST_IN_HEADERS = 32 * 1024 * 1024
_PIECE = 64 * 1024
_MOST_LINKS = 10

_GZIP_MARK = b"\x1f\x8b"

_MEND = "Give the model.tar.gz of a training job, or the folder into which it was unpacked."


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or a link; folders are not kept.

    Attributes:
        info: What the archive says.
        target: Where a link points to, inside the archive; ``None`` for a file.
    """

    info: tarfile.TarInfo
    target: PurePosixPath | None


class Archive:
    """An open archive.

    Attributes:
        entries: All files and links, by their paths.
    """

    def __init__(self, tar: tarfile.TarFile, stream: _Bounded) -> None:
        self._tar = tar
        self.entries: Mapping[PurePosixPath, _Entry] = dict(_entries(tar))
        stream.headers_are_read()

    def files(self, folder: PurePosixPath) -> dict[str, PurePosixPath]:
        """The files that lie in a folder, links resolved: the path of the content by name."""
        names = [path for path in self.entries if path.parent == folder]
        return {path.name: content for path in names if (content := self._resolve(path)) is not None}

    def _resolve(self, path: PurePosixPath) -> PurePosixPath | None:
        for _ in range(_MOST_LINKS):
            entry = self.entries.get(path)
            if entry is None or entry.target is None:
                return None if entry is None else path
            path = entry.target
        return None

    def position(self, path: PurePosixPath) -> int:
        """Where a file's content begins; reading in this order unpacks the archive only once."""
        return self.entries[path].info.offset_data

    def write(self, path: PurePosixPath, destination: Path) -> None:
        """Writes a file of the archive.

        Raises:
            ClientError: The archive is damaged.
            PlatformError: The disk refuses.
        """
        info = self.entries[path].info
        content = cast(IO[bytes], self._tar.extractfile(info))  # None only for what is no file
        left = info.size
        try:
            with destination.open("xb") as file:
                while left and (piece := content.read(min(left, _PIECE))):
                    _write(file, piece)
                    left -= len(piece)
        except FileExistsError:
            raise ClientError(f"{path.name} comes out twice. {_MEND}") from None
        if left:
            raise ClientError(f"ends inside {shown(str(path))}. Copy the archive again.")


def _write(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise PlatformError(f"cannot unpack ({error.strerror}). Free space where temporary files go.") from error


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Opens an archive and lists what it has.

    Raises:
        ClientError: It is no archive, is damaged, or holds what none of a model holds; also while it is being used.
        OSError: The disk fails.
    """
    try:
        with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            yield Archive(tar, stream)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, ValueError) as error:
        raise ClientError(
            f"not a readable tar.gz ({shown(str(error))}); other compressions, such as bz2, are not read. {_MEND}"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[_Bounded]:
    with path.open("rb") as file:
        is_compressed = file.read(2) == _GZIP_MARK
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if is_compressed:
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                yield _Bounded(unpacked, _SPARE_BYTES + _MOST_EXPANSION * size)
        else:
            yield _Bounded(file, size)


class _Bounded(io.BufferedIOBase):
    """An unpacked archive of which nobody gets more than a bound, nor much at once."""

    def __init__(self, file: io.BufferedIOBase, most: int) -> None:
        self._file = file
        self._most = most
        self._left_for_headers: int | None = _MOST_IN_HEADERS

    def headers_are_read(self) -> None:
        """From now on only contents are read."""
        self._left_for_headers = None

    def read(self, size: int | None = -1) -> bytes:
        """Reads so many bytes or, at the end, fewer."""
        size = -1 if size is None else size
        if self._left_for_headers is not None:
            self._left_for_headers -= size
        if not 0 <= size <= _LARGEST_READ or (self._left_for_headers or 0) < 0:
            raise ClientError(f"its headers are too large. {_MEND}")
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a position."""
        if whence == io.SEEK_SET:
            self._check(position)
        return self._file.seek(position, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def _check(self, position: int) -> None:
        # Reading the last block may ask for more than there is.
        if position > self._most + _LARGEST_READ:
            raise ClientError(f"unpacks to more than {self._most} bytes, too much for its size. {_MEND}")


def _entries(tar: tarfile.TarFile) -> Iterator[tuple[PurePosixPath, _Entry]]:
    for number, info in enumerate(tar, start=1):
        if number > _MOST_ENTRIES:
            raise ClientError(f"more than {_MOST_ENTRIES} entries. {_MEND}")
        path = _inside(info.name, info.name)
        if info.isdir():
            continue
        if info.issparse() or not (info.isreg() or info.issym() or info.islnk()):
            raise ClientError(f"entry {shown(info.name)} is neither a file, a folder nor a link. {_MEND}")
        target = None
        if info.issym():
            target = _inside(info.name, info.linkname, path.parent)
        elif info.islnk():
            target = _inside(info.name, info.linkname)
        yield path, _Entry(info, target)


def _inside(name: str, path: str, start: PurePosixPath = PurePosixPath()) -> PurePosixPath:  # noqa: B008
    """A path in the archive, without ``.`` and ``..``; it must stay inside."""
    escapes = path.startswith("/") or "\\" in path or "\0" in path
    parts = list(start.parts)
    for part in PurePosixPath(path).parts:
        if part == ".." and not parts:
            escapes = True
        elif part == "..":
            parts.pop()
        else:
            parts.append(part)
    # Even a name that comes back in is none that a tool writes.
    if escapes or (".." in PurePosixPath(path).parts and path == name):
        raise ClientError(
            f"entry {shown(name)} leads out of the archive. Pack the folder again: tar -czhf model.tar.gz -C FOLDER ."
        )
    return PurePosixPath(*parts)
