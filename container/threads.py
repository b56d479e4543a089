"""How many threads compute, and how they wait for each other; torch reads this when it is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# How the threads of a parallel loop wait for each other. Whenever another process or thread takes a core away for a
# moment, spinning for the thread that has lost it takes ten to a hundred times as long as the loop itself.
# Beside threads that answer requests, they wait asleep.
WAIT_ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}
# With the cores mostly to themselves, spinning for some microseconds first is half as fast again as sleeping.
WAIT_AWAKE_BRIEFLY = {"GOMP_SPINCOUNT": "10000"}


def thread_settings(waiting: Mapping[str, str], processes: int = 1) -> dict[str, str]:
    """Environment variables for processes that share this container's cores.

    Args:
        waiting: ``WAIT_ASLEEP`` or ``WAIT_AWAKE_BRIEFLY``.
        processes: How many compute at the same time.
    """
    return {"OMP_NUM_THREADS": str(max(1, available_cores() // processes)), **waiting}


def available_cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Returns how many cores this container may use, which can be fewer than the machine has.

    Args:
        groups: Where the kernel shows the control group of this container.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        allowed, period = _quota(groups)
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
    return max(1, min(cores, allowed // period)) if allowed > 0 else cores


def _quota(groups: Path) -> tuple[int, int]:
    """Microseconds of computing that are allowed in each period, and its length; negative: any number.

    The file of the second version of control groups holds both, such as ``200000 100000`` for two cores.
    """
    second, first = groups / "cpu.max", groups / "cpu"
    files = [second] if second.exists() else [first / "cpu.cfs_quota_us", first / "cpu.cfs_period_us"]
    allowed, period = " ".join(file.read_text() for file in files).split()
    return int(allowed), int(period)
