"""Everything that a training job is told, read and checked at once. Imports no torch: a wrong job fails in a second."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from container.paths import Paths
from container.resources import Resources, read_resources
from s2s_algo.data.channels import Channels, read_channels
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters, read_hyperparameters_file, valid_part, validate
from s2s_algo.json_file import read_json_object
from s2s_algo.training.preconditions import check_beam
from s2s_algo.wording import shown

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a job is told.

    Attributes:
        checkpoints: Where checkpoints outlive the container; ``None`` if no folder was mounted or named for them.
    """

    hyperparameters: Hyperparameters
    resources: Resources
    channels: Channels
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    checkpoints: Path | None


def read_configuration(paths: Paths, announce: bool = True) -> Configuration:
    """Reads and checks a job's configuration.

    Args:
        paths: Of the job.
        announce: Whether to log what its user should know.

    Raises:
        ClientError: With all problems, one or more lines each.
        PlatformError: A file is there but cannot be read.
    """
    problems: list[str] = []

    def attempt(read: Callable[[], _Result]) -> _Result | None:
        try:
            return read()
        except ClientError as error:
            problems.append(str(error))
            return None

    raw = attempt(lambda: read_hyperparameters_file(paths.hyperparameters))
    validated = None if raw is None else attempt(lambda: validate(raw))
    resources = attempt(lambda: read_resources(paths.resource_config))
    channels = attempt(lambda: read_channels(paths.input_data_config, paths.data))
    checkpoints = attempt(lambda: _checkpoint_folder(paths))
    source = attempt(channels.vocab.load_source) if channels else None
    target = attempt(channels.vocab.load_target) if channels else None
    if raw is not None and target is not None:
        values, size = valid_part(raw), len(target)
        attempt(lambda: check_beam(values, size))
    if problems or not (validated and resources and channels and source and target):
        raise ClientError("\n".join(problems))
    if announce:
        for notice in validated.notices:
            logger.log(logging.getLevelNamesMapping()[notice.level], "%s", notice.text)
        final = validated.hyperparameters.model_dump(mode="json")
        logger.info("Final configuration: %s", json.dumps(final, ensure_ascii=False))
    return Configuration(validated.hyperparameters, resources, channels, source, target, checkpoints)


def _checkpoint_folder(paths: Paths) -> Path | None:
    form = 'it must be an object such as {"LocalPath": "/opt/ml/checkpoints"}'
    values = read_json_object(paths.checkpoint_config, form)
    if values is None and not paths.checkpoints.is_dir():
        return None
    local_path = (values or {}).get("LocalPath")
    if local_path is None:
        local_path = str(paths.checkpoints)
    if not isinstance(local_path, str) or not _is_path(local_path):
        raise ClientError(f"LocalPath {shown(local_path)} is not a path; {form}", where=str(paths.checkpoint_config))
    return Path(local_path)


def _is_path(text: str) -> bool:
    """Whether the file system could have a file of this name."""
    try:
        return bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
