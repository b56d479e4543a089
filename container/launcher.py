"""Several training processes on this machine, and on others, by torch's elastic launcher.

Each process runs ``container.worker``. A lost one ends the job; the next start goes on from the last checkpoint.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

from container.failure import report
from container.paths import Paths
from container.resources import Resources
from container.threads import WAIT_AWAKE_BRIEFLY, thread_settings
from s2s_algo.errors import AlgorithmError, ClientError, PlatformError, S2SError

logger = logging.getLogger(__name__)

# Where the hosts of a job find each other; the platform opens all ports between them.
_PORT = 7777
# The platform allows 120 s between SIGTERM and SIGKILL: enough for an update, a checkpoint and the artifact.
_SHUTDOWN_SECONDS = 110
# Hosts of a job do not start at the same moment.
_JOIN_SECONDS = 1800

SCRATCH_VARIABLE = "S2S_WORKER_SCRATCH"


def launch(paths: Paths, resources: Resources, processes: int, scratch: Path) -> int:
    """Trains with several processes; returns the exit code.

    Args:
        paths: Of the job.
        resources: The hosts, this one among them.
        processes: On each host.
        scratch: A folder that the processes of this host share.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
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
    )
    logger.info("Training with %d processes on each of %d hosts", processes, hosts)
    try:
        elastic_launch(config, sys.executable)("-m", "container.worker")
    except SignalException:
        # The processes were told as well, and had the time to save what they learnt.
        return _outcome(scratch)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        return _report_lost(paths, resources, rank, failure.exitcode, scratch)
    except Exception as error:
        return report(_unreachable(error, resources) if hosts > 1 else error, paths.failure)
    return 0


def local_gpus() -> int:
    """How many GPUs this machine has that can be used."""
    import torch

    return torch.cuda.device_count()


def outcome_file(scratch: Path, local_rank: int) -> Path:
    """Where a process leaves its exit code."""
    return scratch / f"exit-code-{local_rank}"


def failure_file(scratch: Path, local_rank: int) -> Path:
    """Where a process says why it failed, for the launcher to choose the one that failed first."""
    return scratch / f"failure-{local_rank}"


def _outcome(scratch: Path) -> int:
    try:
        return int(outcome_file(scratch, 0).read_text())
    except (OSError, ValueError):
        logger.error("A training process did not end in time after the signal.")
        return PlatformError.exit_code


def _report_lost(paths: Paths, resources: Resources, rank: int, code: int, scratch: Path) -> int:
    """Tells of the process that failed first: by its own words, or if it has left none, that it is gone."""
    said = failure_file(scratch, rank % max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    if code in (ClientError.exit_code, AlgorithmError.exit_code, PlatformError.exit_code) and said.exists():
        paths.failure.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(said, paths.failure)
        return code
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    hint = " The machine may have run out of memory: lower batch_size or use a larger one." if code == -9 else ""
    error: S2SError = PlatformError(
        f"training process {rank} on host {resources.current_host} {how}.{hint} Start the job again: it goes on from "
        "its last checkpoint."
    )
    return report(error, paths.failure)


def _unreachable(error: Exception, resources: Resources) -> S2SError:
    return PlatformError(
        f"the hosts {', '.join(resources.hosts)} did not come together within {_JOIN_SECONDS} s "
        f"({type(error).__name__}: {error}). Check that they can reach {resources.hosts[0]} at port {_PORT}."
    )
