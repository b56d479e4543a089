"""Folders that appear whole or not at all."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s2s_algo.errors import ClientError, PlatformError

logger = logging.getLogger(__name__)

# The platform uploads checkpoint folders while a job runs and leaves alone what ends so.
TEMPORARY_SUFFIX = ".sagemaker-ignore"


class FolderInUseError(ClientError):
    """Another process has claimed a folder."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keeps other processes from claiming a folder at the same time; a process that ends, however, lets it go.

    Raises:
        FolderInUseError: Another process has it.
    """
    lock = os.open(folder / f"lock{TEMPORARY_SUFFIX}", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(
                "another training job is using this folder. Wait until it has ended, or give this job a folder of its "
                "own.",
                where=str(folder),
            ) from None
        except OSError:
            logger.warning("%s cannot be locked: no other job must use it while this one runs", folder)
        yield
    finally:
        os.close(lock)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a failure of the disk into an error that names the place."""
    try:
        yield
    except OSError as error:
        raise PlatformError(
            f"cannot write ({error.strerror or error}). Free space on the disk or mend its permissions.",
            where=str(path),
        ) from error


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder to fill; on leaving it is flushed to disk and renamed once, on an error it is removed.

    Files may be written under their names with ``TEMPORARY_SUFFIX``, so that nobody uploads them half written; they
    lose it just before the folder is renamed.

    Args:
        final: Where it will be; what lies there already is replaced.

    Raises:
        PlatformError: The disk refuses.
    """
    temporary = final.with_name(final.name + TEMPORARY_SUFFIX)
    with writing(final):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    try:
        with writing(final):
            yield temporary
            for file in temporary.iterdir():
                _flush(file)
            for file in list(temporary.iterdir()):
                file.rename(file.with_name(file.name.removesuffix(TEMPORARY_SUFFIX)))
            _flush(temporary)
            if final.exists():
                # Set aside rather than removed, so that there is hardly a moment without either of the two.
                replaced = final.with_name(f"{final.name}.replaced{TEMPORARY_SUFFIX}")
                shutil.rmtree(replaced, ignore_errors=True)
                final.rename(replaced)
                temporary.rename(final)
                shutil.rmtree(replaced, ignore_errors=True)
            else:
                temporary.rename(final)
            _flush(final.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
