"""What this container may use of its machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# Where control groups of both versions say how much memory this container may take.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


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


def available_memory(limits: Sequence[Path] = _LIMITS) -> int:
    """Returns how many bytes this container may take, which can be fewer than the machine has.

    Args:
        limits: The files with the limit of the control group, such as ``2147483648`` or ``max``.
    """
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in limits:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue
    return min(sizes)
