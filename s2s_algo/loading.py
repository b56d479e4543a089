"""Loads whatever model a folder holds: one of ours, or one of the original, which is imported in memory."""

from __future__ import annotations

from pathlib import Path

from s2s_algo.checkpoints.artifact import CONFIG_FILE, Artifact, load_artifact
from s2s_algo.legacy.importer import import_model, is_sockeye_folder


def load_model(folder: Path) -> Artifact:
    """Loads a model.

    Args:
        folder: What a training job left in ``/opt/ml/model``; or what Sockeye 1 wrote, there or in a folder there.

    Raises:
        ClientError: The folder holds no model, a damaged one, or one of Sockeye that cannot be imported.
        PlatformError: The disk fails.
    """
    if not (folder / CONFIG_FILE).exists() and _holds_sockeye_model(folder):
        return import_model(folder)
    return load_artifact(folder)


def _holds_sockeye_model(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return any(is_sockeye_folder(place) for place in (folder, *folder.iterdir()) if place.is_dir())
