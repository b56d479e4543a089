"""How many threads compute, and how they wait for each other; torch reads this when it is loaded."""

from __future__ import annotations

import os
from pathlib import Path


def thread_settings(processes: int = 1) -> dict[str, str]:
    """Environment variables for processes that share this container's cores.

    The threads of a parallel loop wait asleep for each other: whenever another process takes a core away for a moment,
    spinning for the thread that has lost it takes ten to a hundred times as long.

    Args:
        processes: How many compute at the same time.
    """
    return {"OMP_NUM_THREADS": str(max(1, available_cores() // processes)), "OMP_WAIT_POLICY": "PASSIVE"}


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Returns how many cores this container may use, which can be fewer than the machine has.

    Args:
        quota: The file with the CPU quota of the control group, such as ``200000 100000`` for two cores.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(cores, int(allowed) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
