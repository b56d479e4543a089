"""The hyperparameters that a command is given in a file, checked as a job checks them."""

from __future__ import annotations

from pathlib import Path

from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Validated, read_hyperparameters_file, valid_part, validate
from s2s_algo.training.preconditions import check_beam


def read_valid_hyperparameters(file: Path | None, target_vocabulary_size: int) -> Validated:
    """The hyperparameters of a file; all defaults without one.

    Raises:
        ClientError: With all problems.
    """
    raw = read_hyperparameters_file(file) if file else {}
    problems = []
    try:
        check_beam(valid_part(raw), target_vocabulary_size)
    except ClientError as error:
        problems.append(str(error))
    try:
        validated = validate(raw)
    except ClientError as error:
        problems.insert(0, str(error))
    if problems:
        raise ClientError("\n".join(problems))
    return validated
