"""Connections spread evenly over the server processes.

All processes wait for the same listener, and whichever is awake first would take most of what comes at once: kept
connections stay where they are, so some clients would wait for a busy process while another has nothing to do.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection

# More processes than that take connections as they come.
_MOST_PROCESSES = 128
_ITEM_BYTES = 4


class Place:
    """Where a server process tells the others how many connections it has.

    Made in the master, before the process is forked.

    Args:
        others: The places of the processes that live.
    """

    def __init__(self, others: Collection[Place] = ()) -> None:
        # Zero of a process that takes no connections, else one more than it has.
        self._counts: memoryview[int] = next(
            (other._counts for other in others),
            memoryview(mmap.mmap(-1, _MOST_PROCESSES * _ITEM_BYTES)).cast("I"),
        )
        free = set(range(_MOST_PROCESSES)) - {other._index for other in others}
        self._index: int | None = min(free, default=None)
        self.leave()

    def take(self, connections: int) -> None:
        """The process takes new connections, and has so many."""
        if self._index is not None:
            self._counts[self._index] = connections + 1

    def leave(self) -> None:
        """The process takes no new connections."""
        if self._index is not None:
            self._counts[self._index] = 0

    def has_more_than_another(self) -> bool:
        """Whether another process that takes connections has fewer."""
        if self._index is None:
            return False
        own = self._counts[self._index]
        return any(0 < count < own for count in self._counts)
