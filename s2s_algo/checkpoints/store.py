"""The checkpoints of a job: written whole or not at all, verified before they are read, removed when unneeded.

A checkpoint is the folder ``checkpoint-NNNNNNNNN``, named by its updates, with the weights, the rest of the tensors,
JSON values, and a manifest of SHA-256 sums that is written last. Where the platform mirrors the folder, everything
under a temporary name is left alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from s2s_algo.checkpoints.atomic import TEMPORARY_SUFFIX, new_folder, writing
from s2s_algo.checkpoints.tensors import load_tensors, save_tensors
from s2s_algo.errors import ClientError, PlatformError

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "model.safetensors"
_TRAINING_FILE = "training.safetensors"
_VALUES_FILE = "state.json"
_FILES = (WEIGHTS_FILE, _TRAINING_FILE, _VALUES_FILE)
_MANIFEST_FILE = "manifest.json"

# The platform puts it beside a file while it uploads that.
_UPLOADING = ".sagemaker-uploading"
_NAME = re.compile(r"checkpoint-(\d{9,})")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        weights: Of the model.
        training: Other tensors.
        values: JSON values.
    """

    weights: Mapping[str, Tensor]
    training: Mapping[str, Tensor]
    values: Mapping[str, Any]


class CheckpointStore:
    """The checkpoints in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, updates: int) -> Path:
        """Where the checkpoint after so many updates is."""
        return self.root / f"checkpoint-{updates:09d}"

    def save(self, updates: int, snapshot: Snapshot) -> None:
        """Writes a checkpoint.

        Raises:
            PlatformError: The disk refuses; the checkpoints before are untouched.
        """
        with new_folder(self.folder(updates)) as folder:
            files = {name: folder / (name + TEMPORARY_SUFFIX) for name in _FILES}
            save_tensors(snapshot.weights, files[WEIGHTS_FILE])
            save_tensors(snapshot.training, files[_TRAINING_FILE])
            files[_VALUES_FILE].write_text(json.dumps(snapshot.values, indent=1), encoding="utf-8")
            sums = {name: _sum(file) for name, file in files.items()}
            manifest = folder / (_MANIFEST_FILE + TEMPORARY_SUFFIX)
            manifest.write_text(json.dumps(sums, indent=1), encoding="utf-8")

    def require_space(self, size: int, least: int, most: int) -> None:
        """Finds out before hours of work whether the disk has room for the checkpoints of a job.

        What killed runs left half done makes room.

        Args:
            size: Bytes of one.
            least: How many there will be at the same time in any case, those that are there already included.
            most: How many there may be; if there is no room for them, the log says so.

        Raises:
            PlatformError: There is no room for the least number.
        """
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            free = shutil.disk_usage(self.root).free
        for copies in (least, most):
            missing = max(0, copies - len(self.stored())) * size
            if free < missing:
                problem = (
                    f"{copies} checkpoints of {size / 2**20:.0f} MiB need {math.ceil(missing / 2**20)} MiB more, but "
                    f"only {free // 2**20} MiB are free. Free space, or keep fewer with cleanup_old_models."
                )
                if copies == least:
                    raise PlatformError(problem, where=str(self.root))
                logger.warning("%s: %s", self.root, problem)

    def stored(self) -> list[int]:
        """The updates of all checkpoints, ascending, whole or not."""
        if not self.root.is_dir():
            return []
        names = (_NAME.fullmatch(entry.name) for entry in self.root.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def newest(self) -> int | None:
        """The updates of the newest checkpoint whose sums agree; a damaged one is passed over with a log line."""
        for updates in reversed(self.stored()):
            problem = _problem(self.folder(updates))
            if problem is None:
                return updates
            logger.warning("%s is passed over: %s", self.folder(updates), problem)
        return None

    def load(self, updates: int) -> Snapshot:
        """Reads a checkpoint.

        Raises:
            ClientError: It is missing or damaged.
        """
        folder = self.folder(updates)
        if problem := _problem(folder):
            raise ClientError(
                f"not a whole checkpoint: {problem}. Remove it; a job then goes on from another one.", str(folder)
            )
        values = json.loads((folder / _VALUES_FILE).read_text(encoding="utf-8"))
        return Snapshot(load_tensors(folder / WEIGHTS_FILE), load_tensors(folder / _TRAINING_FILE), values)

    def values(self, updates: int) -> Mapping[str, Any]:
        """Reads the JSON values of a checkpoint alone.

        Raises:
            ClientError: It is damaged.
        """
        path = self.folder(updates) / _VALUES_FILE
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ClientError(f"cannot be read ({error}). Remove the checkpoint.", where=str(path)) from error
        return values

    def retain(self, keep: Collection[int]) -> None:
        """Removes all checkpoints but some, given by their updates, and what killed runs left half done.

        What is being uploaded stays until the next time.

        Raises:
            PlatformError: The disk refuses.
        """
        for updates in sorted(set(self.stored()) - set(keep)):
            doomed = self.folder(updates)
            if any(doomed.glob(f"*{_UPLOADING}")):
                continue
            # Renamed first: a half-removed folder must not look like a checkpoint.
            grave = doomed.with_name(f"{doomed.name}.removed{TEMPORARY_SUFFIX}")
            with writing(doomed):
                shutil.rmtree(grave, ignore_errors=True)
                doomed.rename(grave)
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for leftover in self.root.glob(f"checkpoint-*{TEMPORARY_SUFFIX}"):
            shutil.rmtree(leftover, ignore_errors=True)


def _sum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _problem(folder: Path) -> str | None:
    """Why a folder is not a whole checkpoint."""
    try:
        sums = json.loads((folder / _MANIFEST_FILE).read_text(encoding="utf-8"))
        for name in _FILES:
            if sums[name] != _sum(folder / name):
                return f"{name} differs from its sum in {_MANIFEST_FILE}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{_MANIFEST_FILE} or a file that it lists cannot be read ({error})"
    return None
