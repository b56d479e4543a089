"""How many threads compute, and how they wait for each other; torch reads this when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from s2s_algo.machine import available_cores

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
