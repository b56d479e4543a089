"""Where commands write a model: nothing is overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import click


def require_new_or_empty(output: Path) -> None:
    """Raises a usage error unless a model can be written there."""
    if os.path.lexists(output) and not (output.is_dir() and not any(output.iterdir())):
        raise click.UsageError(f"{output} is there already. Name a folder that is new or empty.")
    if any(parent.exists() and not parent.is_dir() for parent in output.absolute().parents):
        raise click.UsageError(f"{output} would lie in a file. Name a folder that is new or empty.")
