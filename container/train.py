"""The command ``train``: configuration → checks → training → artifact."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path

from container.configuration import Configuration, read_configuration
from container.failure import report
from container.launcher import launch, local_gpus
from container.logging import configure_logging
from container.paths import Paths
from container.signals import STOPPED_EARLY, StopSignal
from container.threads import WAIT_AWAKE_BRIEFLY, thread_settings
from container.work import export_stored, work
from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.machine import available_cores
from s2s_algo.training.stopping import StopRequested

logger = logging.getLogger(__name__)

# On a machine without GPUs; many more would only take its memory.
_MOST_PROCESSES_PER_CORE = 4


def run(stop: StopSignal) -> int:
    """Runs the job that the platform's files describe; returns the exit code.

    Args:
        stop: Listens already.
    """
    paths = Paths.from_environment()
    try:
        configure_logging()
        logger.info("Docker entrypoint called with argument(s): train")
        with contextlib.suppress(OSError):  # a job can do without a place for its reports
            paths.failure.unlink(missing_ok=True)
        return _train(paths, stop)
    except StopRequested:
        logger.info(STOPPED_EARLY)
    except BaseException as error:  # whatever it is, the platform must learn of it
        stop.defer()
        return report(error, paths.failure)
    return 0


def _train(paths: Paths, stop: StopSignal) -> int:
    configuration = read_configuration(paths)
    checkpoints = configuration.checkpoints
    _ensure_writable(paths.model)
    if checkpoints is not None:
        _ensure_writable(checkpoints)
    if checkpoints is None or not any(checkpoints.glob("checkpoint-*")):
        if any(paths.model.iterdir()):
            logger.warning(
                "%s is not empty: what is there may belong to another job until this one is done", paths.model
            )
        stop.check()  # to import torch takes seconds, and nothing can interrupt it
    try:
        return _work(configuration, paths, stop)
    except StopRequested:
        if not export_stored(configuration, paths):
            raise
    return 0


def _work(configuration: Configuration, paths: Paths, stop: StopSignal) -> int:
    """Trains in this process or in several; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="s2s-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        gpus = local_gpus()
        processes = configuration.hyperparameters.processes or gpus or 1
        if 0 < gpus < processes:
            raise ClientError(
                f"processes: {processes} is more than the {gpus} GPUs of this machine, and each process needs one; "
                "lower it or leave it out"
            )
        most = _MOST_PROCESSES_PER_CORE * available_cores()
        if not gpus and processes > most:
            raise ClientError(
                f"processes: {processes} is more than {most}, {_MOST_PROCESSES_PER_CORE} for each of the "
                f"{available_cores()} cores that this machine has for it; lower it"
            )
        if processes * len(configuration.resources.hosts) > 1:
            return launch(
                paths, configuration.resources, processes, scratch, stop, lambda: export_stored(configuration, paths)
            )
        for name, value in thread_settings(WAIT_AWAKE_BRIEFLY).items():
            os.environ.setdefault(name, value)
        work(configuration, paths, stop, scratch, workers=None)
    return 0


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
