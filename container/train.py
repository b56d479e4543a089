"""The command ``train``: configuration → checks → training → artifact."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path

from container.configuration import read_configuration
from container.failure import report
from container.logging import configure_logging
from container.paths import Paths
from container.signals import StopSignal
from container.threads import WAIT_AWAKE_BRIEFLY, thread_settings
from s2s_algo.errors import PlatformError
from s2s_algo.training.stopping import StopRequested

logger = logging.getLogger(__name__)


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
    configuration = read_configuration(paths)
    checkpoints = configuration.checkpoints
    _ensure_writable(paths.model)
    if checkpoints is not None:
        _ensure_writable(checkpoints)
    begun = checkpoints is not None and any(checkpoints.iterdir())
    if not begun and any(paths.model.iterdir()):
        logger.warning("%s is not empty: what is there may belong to another job until this one is done", paths.model)
    for name, value in thread_settings(WAIT_AWAKE_BRIEFLY).items():
        os.environ.setdefault(name, value)
    # Only now, since importing torch takes seconds and a wrong job shall fail at once.
    from s2s_algo.checkpoints.artifact import save_artifact
    from s2s_algo.training.assembly import assemble
    from s2s_algo.training.trainer import train

    # Not before: libraries swallow exceptions while they are imported. And not at all if there may be a model already,
    # which has to be loaded before it can be exported.
    if not begun:
        stop.interrupt()
    with tempfile.TemporaryDirectory(prefix="s2s-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        assembled = assemble(
            configuration.hyperparameters,
            configuration.channels,
            (configuration.source_vocabulary, configuration.target_vocabulary),
            scratch=scratch / "corpus",
            checkpoints=checkpoints or scratch / "checkpoints",
            host=configuration.resources.current_host,
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
