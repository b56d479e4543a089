"""The file in which a job's hyperparameters arrive."""

from __future__ import annotations

from pathlib import Path

from s2s_algo.json_file import read_json_object


def read_hyperparameters_file(path: Path) -> dict[str, object]:
    """Reads the values of a job by name, unchecked.

    An absent file gives an empty dictionary, because every hyperparameter is optional.

    Raises:
        ClientError: If the file is not one JSON object in UTF-8 with each name once.
        PlatformError: If the file is there, but cannot be read.
    """
    return read_json_object(path, 'write one object of texts, such as {"batch_size": "64"}') or {}
