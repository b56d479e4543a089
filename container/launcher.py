"""Several training processes on this machine, and on others, by torch's elastic launcher.

Each process runs ``container.worker``. A lost one ends the job; the next start goes on from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from container.failure import report
from container.paths import Paths
from container.resources import Resources
from container.signals import StopSignal
from container.threads import WAIT_AWAKE_BRIEFLY, thread_settings
from s2s_algo.errors import PlatformError, S2SError
from s2s_algo.training.stopping import StopRequested

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import ProcessFailure

logger = logging.getLogger(__name__)

# Where the hosts of a job find each other; the platform opens all ports between them.
_PORT = 7777
# Hosts of a job do not start at the same moment.
_JOIN_SECONDS = 1800
# Processes that have nothing to lose end at once.
_SHUTDOWN_SECONDS = 5

# Where the processes of a host find the folder that they share.
SCRATCH_VARIABLE = "S2S_WORKER_SCRATCH"


def launch(
    paths: Paths,
    resources: Resources,
    processes: int,
    scratch: Path,
    stop: StopSignal,
    export: Callable[[], object],
) -> int:
    """Trains with several processes; returns the exit code.

    Args:
        paths: Of the job.
        resources: The hosts, this one among them.
        processes: On each host.
        scratch: A folder that the processes of this host share.
        stop: Listens already.
        export: Called if this process has to end while it waits for other hosts; leaves the model so far.

    Raises:
        StopRequested: Before there was anything new to keep.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    hosts = len(resources.hosts)
    environment = thread_settings(WAIT_AWAKE_BRIEFLY, processes) | {SCRATCH_VARIABLE: str(scratch)}
    # Parts of torch that nothing here needs make their cache folder as soon as they are imported.
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(scratch / "inductor")
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
        signals_to_handle="SIGQUIT",  # the others are ours
        logs_specs=DefaultLogsSpecs(str(scratch / "logs")),  # a folder that stays empty
    )
    logger.info("Training with %d %s", processes, f"processes on each of {hosts} hosts" if hosts > 1 else "processes")
    try:
        _listen(scratch, stop, export)
        elastic_launch(config, sys.executable)("-m", "container.worker")
    except ChildFailedError as error:
        return _report_failures(paths, resources, error.failures, scratch)
    except Exception as error:
        return report(_unreachable(error, resources) if hosts > 1 else error, paths.failure)
    finally:
        signal.set_wakeup_fd(-1)
        stop.install()
    return 0


def local_gpus() -> int:
    """How many GPUs this machine has that can be used."""
    import torch

    return torch.cuda.device_count()


def stop_file(scratch: Path) -> Path:
    """Is there as soon as the processes shall stop."""
    return scratch / "stop"


def training_file(scratch: Path) -> Path:
    """Is there as soon as the processes have something to lose."""
    return scratch / "training"


def failure_file(scratch: Path, local_rank: int) -> Path:
    """Where a process says why it failed, unless it only lost another one; blank before."""
    return scratch / f"failure-{local_rank}"


def _listen(scratch: Path, stop: StopSignal, export: Callable[[], object]) -> None:
    """From now on a signal ends the processes: by themselves if there is something new to keep, at once otherwise."""

    def handle(*_: object) -> None:
        again = stop_file(scratch).exists()
        stop_file(scratch).touch()
        if not (again or training_file(scratch).exists()):
            raise StopRequested

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    if stop.requested:
        handle()
    told, telling = os.pipe()
    os.set_blocking(telling, False)
    signal.set_wakeup_fd(telling)
    threading.Thread(target=_end_if_deaf, args=(scratch, told, export), daemon=True).start()


def _end_if_deaf(scratch: Path, told: int, export: Callable[[], object]) -> None:
    """Ends this process some time after a signal if it waits for other hosts, where torch lets no handler run."""
    os.read(told, 1)
    time.sleep(_SHUTDOWN_SECONDS)
    if not stop_file(scratch).exists():
        logger.info("Stopped by a signal while waiting for other hosts.")
        with contextlib.suppress(Exception):  # the end must come
            export()
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(0)


def _report_failures(paths: Paths, resources: Resources, failures: Mapping[int, ProcessFailure], scratch: Path) -> int:
    """Tells of the process that failed first: by its own words, or if it has left none, that it is gone.

    Args:
        paths: Of the job.
        resources: The hosts.
        failures: By rank, of the processes of this host.
        scratch: Where they have left their words.
    """
    in_order = sorted(failures, key=lambda rank: (failures[rank].timestamp, rank))
    for rank in in_order:
        if words := _words(failure_file(scratch, failures[rank].local_rank)):
            with contextlib.suppress(OSError):  # the log has them already
                paths.failure.parent.mkdir(parents=True, exist_ok=True)
                paths.failure.write_bytes(words)
            code = failures[rank].exitcode
            return code if code > 0 else PlatformError.exit_code
    # A process that only lost another one has left no words, and those that went on without it were ended by torch.
    causes = [rank for rank in in_order if failures[rank].exitcode not in (PlatformError.exit_code, -signal.SIGTERM)]
    if not causes and len(resources.hosts) > 1:
        what = "training processes on another host are gone; its log says why."
    else:
        rank = (causes or in_order)[0]
        code = failures[rank].exitcode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        what = f"training process {rank} on host {resources.current_host} {how}."
        if code == -signal.SIGKILL:
            what += " The machine may have run out of memory: lower batch_size or use a larger one."
    return report(PlatformError(f"{what} Start the job again: it goes on from its last checkpoint."), paths.failure)


def _words(failure: Path) -> bytes:
    """What a process has said, if it has."""
    return failure.read_bytes().strip() if failure.exists() else b""


def _unreachable(error: Exception, resources: Resources) -> S2SError:
    return PlatformError(
        f"the hosts {', '.join(resources.hosts)} did not come together within {_JOIN_SECONDS} s "
        f"({type(error).__name__}: {error}). If the log of one of them ends with an error of its own, mend that; "
        f"otherwise check that they can reach {resources.hosts[0]} at port {_PORT}."
    )
