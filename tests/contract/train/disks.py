"""Disks of a training job that are full, small or read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk_of_its_own(folder: Path, options: str) -> Iterator[Path]:
    """Puts a disk in the memory into the place of a folder; skips the test if this user may not.

    Args:
        folder: Is made if need be.
        options: Of the mount, such as ``size=100k``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user may not mount: {done.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Makes a folder read-only, even for root."""
    if os.geteuid() == 0:
        with disk_of_its_own(folder, "size=100k,ro"):
            yield folder
    else:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def fill(disk: Path) -> Path:
    """Takes all the room that is left; returns the file that does so."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast
