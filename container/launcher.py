"""Several training processes on this machine, and on others, by torch's elastic launcher.

Each process runs ``container.worker``. A lost one ends the job; the next start goes on from the last checkpoint.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from container.failure import report
from container.paths import Paths
from container.resources import Resources
from container.signals import StopSignal
from container.threads import WAIT_AWAKE_BRIEFLY, thread_settings
from s2s_algo.errors import AlgorithmError, ClientError, PlatformError, S2SError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import ProcessFailure

logger = logging.getLogger(__name__)

# Where the hosts of a job find each other; the platform opens all ports between them.
_PORT = 7777
# The platform allows 120 s between SIGTERM and SIGKILL: enough for an update, a checkpoint and the artifact.
_SHUTDOWN_SECONDS = 110
# Hosts of a job do not start at the same moment.
_JOIN_SECONDS = 1800

_CODES = (ClientError.exit_code, AlgorithmError.exit_code, PlatformError.exit_code)

# What the processes find in their environment: the folder that they share, and whether to stop at once.
SCRATCH_VARIABLE = "S2S_WORKER_SCRATCH"
STOP_VARIABLE = "S2S_WORKER_STOP"


def launch(paths: Paths, resources: Resources, processes: int, scratch: Path, stop: StopSignal, begun: bool) -> int:
    """Trains with several processes; returns the exit code.

    Args:
        paths: Of the job.
        resources: The hosts, this one among them.
        processes: On each host.
        scratch: A folder that the processes of this host share.
        stop: Listens already.
        begun: Whether there may be a model already, which the processes have to export even if they shall stop at once.

    Raises:
        StopRequested: Before the processes began.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    hosts = len(resources.hosts)
    environment = thread_settings(WAIT_AWAKE_BRIEFLY, processes) | {SCRATCH_VARIABLE: str(scratch)}
    if hosts > 1 and resources.network_interface:
        environment |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), resources.network_interface)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    config = LaunchConfig(
        min_nodes=hosts,
        max_nodes=hosts,
        nproc_per_node=processes,
        run_id="s2s",
        # A single host finds a free port by itself.
        rdzv_backend="static" if hosts > 1 else "c10d",
        rdzv_endpoint=f"{resources.hosts[0]}:{_PORT}" if hosts > 1 else "localhost:0",
        rdzv_configs={"rank": resources.rank, "timeout": _JOIN_SECONDS} if hosts > 1 else {},
        local_addr=resources.current_host if hosts > 1 else "localhost",
        max_restarts=0,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        signals_to_handle="SIGTERM,SIGINT",
        logs_specs=DefaultLogsSpecs(str(scratch / "logs")),  # a folder that stays empty
    )
    logger.info("Training with %d processes on each of %d hosts", processes, hosts)
    # From when the processes are started on, torch listens to signals and passes them on.
    if begun:
        _remember_for_processes(stop)
    else:
        stop.interrupt()
    try:
        elastic_launch(config, sys.executable)("-m", "container.worker")
    except SignalException:
        return _outcome(paths, scratch)
    except ChildFailedError as error:
        return _report_failures(paths, resources, error.failures, scratch)
    except Exception as error:
        return report(_unreachable(error, resources) if hosts > 1 else error, paths.failure)
    finally:
        stop.defer()
        stop.install()
    return 0


def local_gpus() -> int:
    """How many GPUs this machine has that can be used."""
    import torch

    return torch.cuda.device_count()


def outcome_file(scratch: Path, local_rank: int) -> Path:
    """Where a process leaves its exit code; it is empty until then, and there as soon as the process hears signals."""
    return scratch / f"exit-code-{local_rank}"


def failure_file(scratch: Path, local_rank: int) -> Path:
    """Where a process says why it failed, unless it only lost another one."""
    return scratch / f"failure-{local_rank}"


def _remember_for_processes(stop: StopSignal) -> None:
    def remember(*_: object) -> None:
        os.environ[STOP_VARIABLE] = "1"

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, remember)
    if stop.requested:
        remember()


def _outcome(paths: Paths, scratch: Path) -> int:
    """How the processes ended after a signal, of which they were told as well."""
    file = outcome_file(scratch, 0)
    if not file.exists():
        logger.info("Stopped by a signal before the first update: there is no model to save.")
        return 0
    # They have ended by now, unless a second signal came and nobody waited for them.
    deadline = time.monotonic() + _SHUTDOWN_SECONDS
    while not (code := file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    if not code:
        return report(PlatformError("a training process did not end in time after the signal to stop"), paths.failure)
    if (said := failure_file(scratch, 0)).exists():
        _repeat(said, paths)
    return int(code)


def _report_failures(paths: Paths, resources: Resources, failures: Mapping[int, ProcessFailure], scratch: Path) -> int:
    """Tells of the process that failed first: by its own words, or if it has left none, that it is gone.

    Args:
        paths: Of the job.
        resources: The hosts.
        failures: By rank, of the processes of this host.
        scratch: Where they have left their words.
    """
    for rank in sorted(failures, key=lambda rank: (failures[rank].timestamp, rank)):
        failure = failures[rank]
        code, said = failure.exitcode, failure_file(scratch, failure.local_rank)
        if said.exists():
            _repeat(said, paths)
            return code if code in _CODES else PlatformError.exit_code
        if code == PlatformError.exit_code:
            continue  # it lost another one
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = " The machine may have run out of memory: lower batch_size or use a larger one." if code == -9 else ""
        error: S2SError = PlatformError(
            f"training process {rank} on host {resources.current_host} {how}.{hint} Start the job again: it goes on "
            "from its last checkpoint."
        )
        return report(error, paths.failure)
    return report(
        PlatformError(
            "training processes on another host are gone; its log says why. Start the job again: it goes on from its "
            "last checkpoint."
        ),
        paths.failure,
    )


def _repeat(said: Path, paths: Paths) -> None:
    paths.failure.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(said, paths.failure)


def _unreachable(error: Exception, resources: Resources) -> S2SError:
    return PlatformError(
        f"the hosts {', '.join(resources.hosts)} did not come together within {_JOIN_SECONDS} s "
        f"({type(error).__name__}: {error}). Check that they can reach {resources.hosts[0]} at port {_PORT}."
    )
