"""One training process of several: ``python -m container.worker``, started by the launcher."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from container.configuration import read_configuration
from container.failure import report
from container.launcher import SCRATCH_VARIABLE, STOP_VARIABLE, failure_file, outcome_file
from container.logging import configure_logging
from container.paths import Paths
from container.signals import StopSignal
from container.work import work
from s2s_algo.errors import LostWorkerError
from s2s_algo.training.stopping import StopRequested

logger = logging.getLogger(__name__)


def main() -> int:
    """Trains; returns the exit code, which it also leaves for the launcher."""
    stop = StopSignal(requested=STOP_VARIABLE in os.environ)
    stop.install()
    paths, scratch = Paths.from_environment(), Path(os.environ[SCRATCH_VARIABLE])
    local_rank, rank = int(os.environ["LOCAL_RANK"]), int(os.environ["RANK"])
    outcome_file(scratch, local_rank).touch()
    configure_logging()
    if rank:
        logging.getLogger().setLevel(logging.WARNING)
    try:
        from s2s_algo.training.workers import joined

        with joined(rank, int(os.environ["WORLD_SIZE"]), local_rank, int(os.environ["LOCAL_WORLD_SIZE"])) as workers:
            work(read_configuration(paths, announce=False), paths, stop, scratch, workers)
        code = 0
    except StopRequested:
        code = 0
    except LostWorkerError as error:
        # The other one has the reason, so this one leaves none.
        logger.error("%s", error)
        code = error.exit_code
    except BaseException as error:
        code = report(error, failure_file(scratch, local_rank))
    outcome_file(scratch, local_rank).write_text(str(code))
    return code


if __name__ == "__main__":
    sys.exit(main())
