"""Files that are replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from s2s_algo.checkpoints.atomic import TEMPORARY_SUFFIX


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that a reader never sees half of it.

    Raises:
        OSError: The disk refuses; what was there before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
