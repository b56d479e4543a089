"""One training process of several: ``python -m container.worker``, started by the launcher."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from container.configuration import read_configuration
from container.failure import report
from container.launcher import SCRATCH_VARIABLE, failure_file, stop_file, training_file
from container.logging import configure_logging
from container.paths import Paths
from container.signals import STOPPED_EARLY, StopFile
from container.work import work
from s2s_algo.errors import LostWorkerError, PlatformError
from s2s_algo.training.stopping import StopRequested

logger = logging.getLogger(__name__)

# Kept free from the start: what a process has to tell may be that the disk is full.
_ROOM_FOR_WORDS = b" " * 4096

# How often a process looks whether the launcher is still there.
_LOOK_SECONDS = 0.5


def main() -> int:
    """Trains; returns the exit code."""
    # Ctrl-C at a terminal reaches every process; the launcher alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    paths, scratch = Paths.from_environment(), Path(os.environ[SCRATCH_VARIABLE])
    local_rank, rank = int(os.environ["LOCAL_RANK"]), int(os.environ["RANK"])
    stop = StopFile(stop_file(scratch), training_file(scratch))
    failure = failure_file(scratch, local_rank)
    with contextlib.suppress(OSError):
        failure.write_bytes(_ROOM_FOR_WORDS)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    configure_logging()
    if rank:
        logging.getLogger().setLevel(logging.WARNING)
    try:
        from s2s_algo.training.workers import joined

        with joined(rank, int(os.environ["WORLD_SIZE"]), local_rank, int(os.environ["LOCAL_WORLD_SIZE"])) as workers:
            work(read_configuration(paths, announce=False), paths, stop, scratch, workers)
    except BaseException as error:
        return _code(error, failure)
    return 0


def _end_with_parent(launcher: int) -> None:
    """Ends this process soon after the launcher is gone: nobody else would, and the next start needs the folder."""
    while os.getppid() == launcher:
        time.sleep(_LOOK_SECONDS)
    logger.error("the launcher is gone; this training process ends")
    os._exit(PlatformError.exit_code)


def _code(error: BaseException, failure: Path) -> int:
    """Tells of an error, unless another process has the reason for it; returns the exit code."""
    if isinstance(error, StopRequested):
        logger.info(STOPPED_EARLY)
        return 0
    if isinstance(error, LostWorkerError):
        logger.error("%s", error)
        return error.exit_code
    # The launcher ends the processes that are left when the first has ended, and this one has something to say.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return report(error, failure)


if __name__ == "__main__":
    if code := main():
        # At once: NCCL would wait for the others, who may be waiting for this process.
        logging.shutdown()
        os._exit(code)
    sys.exit()
