"""Loads whatever model a folder holds: one of ours, or one of the original, which is imported in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from s2s_algo.checkpoints.artifact import CONFIG_FILE, FILES, OPTIONAL_FILES, Artifact, load_artifact
from s2s_algo.errors import ClientError
from s2s_algo.legacy.archive import open_archive
from s2s_algo.legacy.importer import import_model, is_sockeye_folder

_ARCHIVE = "model.tar.gz"


def load_model(folder: Path) -> Artifact:
    """Loads a model.

    Args:
        folder: What a training job left in ``/opt/ml/model`` or what Sockeye 1 wrote, there or in a folder there; or
            ``model.tar.gz`` with either, as the platform delivers a model to a training job.

    Raises:
        ClientError: The folder holds no model, a damaged one, or one of Sockeye that cannot be imported.
        PlatformError: The disk fails.
    """
    if (folder / CONFIG_FILE).exists():
        return load_artifact(folder)
    children = [child for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []
    if any(is_sockeye_folder(place) for place in (folder, *children)):
        return import_model(folder)
    ours = [child for child in children if (child / CONFIG_FILE).exists()]
    if len(ours) == 1:
        return load_artifact(ours[0])
    if (folder / _ARCHIVE).is_file():
        return _load_archive(folder / _ARCHIVE)
    return load_artifact(folder)  # it says what is missing


def _load_archive(path: Path) -> Artifact:
    with tempfile.TemporaryDirectory(prefix="s2s-model-") as temporary:
        folder = Path(temporary)
        try:
            with open_archive(path) as archive:
                # At the top, or in the only folder there that holds one.
                places = {entry.parent for entry in archive.entries if entry.name == CONFIG_FILE}
                ours = sorted(place for place in places if len(place.parts) <= 1)
                is_one = len(ours) == 1 or (ours and not ours[0].parts)
                files = archive.files(ours[0]) if is_one else {}
                wanted = files.keys() & {*FILES, *OPTIONAL_FILES}
                for name in sorted(wanted, key=lambda name: archive.position(files[name])):
                    archive.write(files[name], folder / name)
        except ClientError as error:
            raise error.at(str(path)) from error.__cause__
        return load_artifact(folder) if files else import_model(path)
