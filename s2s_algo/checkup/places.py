"""The folders and the port that the container uses."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from s2s_algo.checkup.finding import GIBIBYTE, MEBIBYTE, Finding, State, in_words

_LITTLE_SPACE, _NO_SPACE = GIBIBYTE, 64 * MEBIBYTE

# Below the base folder, and whether something is written there.
_FOLDERS = {"input/config": False, "input/data": False, "model": True, "output": True, "checkpoints": True}
_IF_MISSING = {
    "input/config": "Nothing, if the defaults of all hyperparameters will do.",
    "input/data": "Before training put the channels there: s2s prepare … --output {folder} --channels",
    "checkpoints": "Nothing, or make it, so that a job that is interrupted goes on from where it was.",
}


def look_at_places(base: Path, must_exist: bool, port: int) -> Iterator[Finding]:
    """The folders, the one for temporary files, and the port.

    Args:
        base: ``/opt/ml`` or what takes its place.
        must_exist: Whether it is a problem if it does not.
        port: Of the server.
    """
    if base.is_dir():
        for name, is_written in _FOLDERS.items():
            yield look_at_folder(base, name, is_written)
    else:
        advice = "Mount the job's folder there, or name another one with SAGEMAKER_BASE_DIR; s2s train needs none."
        yield Finding(str(base), "missing", "problem" if must_exist else "note", advice)
    yield _look_at_space(Path(tempfile.gettempdir()), "temporary files")
    yield look_at_port(port)


def look_at_folder(base: Path, name: str, is_written: bool) -> Finding:
    """One folder of the tree; those that are written are made when they are missing, but for ``checkpoints``."""
    folder = base / name
    if folder.is_dir():
        if not is_written:
            readable = os.access(folder, os.R_OK | os.X_OK)
            advice = "" if readable else "Let the container's user read it."
            return Finding(str(folder), "readable" if readable else "not readable", _state(readable), advice)
        return _look_at_space(folder, str(folder))
    if os.path.lexists(folder):
        return Finding(str(folder), "not a folder", "problem", "Move it away; a folder belongs there.")
    if name in _IF_MISSING:
        return Finding(str(folder), "missing", "note", _IF_MISSING[name].format(folder=folder))
    can_be_made = os.access(base, os.W_OK | os.X_OK)
    advice = "" if can_be_made else f"Make it, writable for the container's user, or make {base} writable."
    found = "missing, will be made" if can_be_made else f"missing, and {base} is not writable"
    return Finding(str(folder), found, _state(can_be_made), advice)


def look_at_port(port: int) -> Finding:
    """Whether the server can listen."""
    topic = f"port {port}"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            listening.bind(("", port))
        except OSError as error:
            advice = "End what listens there, or choose another port with SAGEMAKER_BIND_TO_PORT."
            return Finding(topic, f"not free ({error.strerror})", "problem", advice)
    return Finding(topic, "free")


def _look_at_space(folder: Path, topic: str) -> Finding:
    """Whether files can be written, and how much."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        advice = "Let the container's user write there, and free space."
        return Finding(topic, f"not writable ({error.strerror})", "problem", advice)
    found = f"writable, {in_words(free)} free"
    if free < _LITTLE_SPACE:
        advice = "Free space: corpora, checkpoints and models need it; docs/operations.md says how much."
        return Finding(topic, found, "problem" if free < _NO_SPACE else "note", advice)
    return Finding(topic, found)


def _state(is_good: bool) -> State:
    return "ok" if is_good else "problem"
