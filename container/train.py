"""The command ``train``: configuration → checks → training → artifact."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from container.failure import report
from container.logging import configure_logging
from container.paths import Paths
from container.resources import Resources, read_resources
from container.signals import StopSignal
from container.threads import thread_settings
from s2s_algo.data.channels import Channels, read_channels
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.hyperparameters import Hyperparameters, read_hyperparameters_file, validate
from s2s_algo.json_file import read_json_object
from s2s_algo.training.preconditions import check_beam, refuse_what_is_not_built
from s2s_algo.training.stopping import StopRequested

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


def run(stop: StopSignal) -> int:
    """Runs the job that the platform's files describe; returns the exit code.

    Args:
        stop: Listens already.
    """
    paths = Paths.from_environment()
    try:
        configure_logging()
        logger.info("Docker entrypoint called with argument(s): train")
        paths.failure.unlink(missing_ok=True)
        _train(paths, stop)
    except StopRequested:
        logger.info("Stopped by a signal before the first update: there is no model to save.")
    except BaseException as error:  # whatever it is, the platform must learn of it
        stop.defer()
        return report(error, paths.failure)
    return 0


def _train(paths: Paths, stop: StopSignal) -> None:
    hyperparameters, resources, channels, vocabularies = _check(paths)
    _ensure_writable(paths.model)
    checkpoints = _checkpoint_folder(paths)
    begun = checkpoints is not None and any(checkpoints.iterdir())
    if not begun:  # otherwise there may be a model already, which has to be loaded before it can be exported
        stop.interrupt()
    for name, value in thread_settings().items():
        os.environ.setdefault(name, value)
    # Only now, since importing torch takes seconds and a wrong job shall fail at once.
    from s2s_algo.checkpoints.artifact import save_artifact
    from s2s_algo.training.assembly import assemble
    from s2s_algo.training.trainer import train

    if not begun:
        stop.interrupt()  # once more: libraries swallow exceptions while they are imported
    with tempfile.TemporaryDirectory(prefix="s2s-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        assembled = assemble(
            hyperparameters,
            channels,
            vocabularies,
            scratch=scratch / "corpus",
            checkpoints=checkpoints or scratch / "checkpoints",
            host=resources.current_host,
            check_stop=stop.check,
        )
        stop.defer()
        try:
            train(assembled.job, assembled.state)
        except StopRequested:
            if not assembled.state.updates:
                raise
            logger.info("Stopped by a signal after %d updates.", assembled.state.updates)
        except Exception:
            # Whatever went wrong, what was learnt before is still good.
            if assembled.state.best_updates:
                with contextlib.suppress(Exception):  # the first error is the one to report
                    save_artifact(assembled.artifact(), paths.model)
                    logger.info("The best model so far is in %s", paths.model)
            raise
        save_artifact(assembled.artifact(), paths.model)
    logger.info("The model is in %s", paths.model)


def _check(paths: Paths) -> tuple[Hyperparameters, Resources, Channels, tuple[Vocabulary, Vocabulary]]:
    """Everything that can be wrong with the job's configuration, at once."""
    problems: list[str] = []

    def attempt(read: Callable[[], _Result]) -> _Result | None:
        try:
            return read()
        except ClientError as error:
            problems.append(str(error))
            return None

    validated = attempt(lambda: validate(read_hyperparameters_file(paths.hyperparameters)))
    resources = attempt(lambda: read_resources(paths.resource_config))
    channels = attempt(lambda: read_channels(paths.input_data_config, paths.data))
    source = attempt(lambda: Vocabulary.load(channels.vocab.source)) if channels else None
    target = attempt(lambda: Vocabulary.load(channels.vocab.target)) if channels else None
    if validated:
        attempt(lambda: refuse_what_is_not_built(validated.hyperparameters))
    if validated and target:
        attempt(lambda: check_beam(validated.hyperparameters, len(target)))
    if validated is None or resources is None or channels is None or source is None or target is None or problems:
        raise ClientError("\n".join(problems))
    for notice in validated.notices:
        logger.log(logging.getLevelNamesMapping()[notice.level], "%s", notice.text)
    values = validated.hyperparameters.model_dump(mode="json")
    logger.info("Final configuration: %s", json.dumps(values, ensure_ascii=False))
    return validated.hyperparameters, resources, channels, (source, target)


def _checkpoint_folder(paths: Paths) -> Path | None:
    """Where checkpoints outlive the container: only if a folder was mounted or named for them."""
    form = 'it must be an object such as {"LocalPath": "/opt/ml/checkpoints"}'
    values = read_json_object(paths.checkpoint_config, form)
    if values is None and not paths.checkpoints.is_dir():
        return None
    local_path = (values or {}).get("LocalPath") or str(paths.checkpoints)
    if not isinstance(local_path, str):
        raise ClientError(f"LocalPath is not a text; {form}", where=str(paths.checkpoint_config))
    folder = Path(local_path)
    _ensure_writable(folder)
    return folder


def _ensure_writable(folder: Path) -> None:
    """Raises a PlatformError now rather than after hours of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PlatformError(
            f"the folder is not writable ({error.strerror}). Mount it writable for the container's user.",
            where=str(folder),
        ) from error
