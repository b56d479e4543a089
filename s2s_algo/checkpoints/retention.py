"""Which checkpoints to keep."""

from __future__ import annotations

from collections.abc import Sequence

# Two, since the newest one may turn out to be damaged.
_NEWEST = 2


def to_keep(stored: Sequence[int], best: int) -> set[int]:
    """The newest ones and the best one.

    Args:
        stored: Updates of all checkpoints, ascending.
        best: Updates of the best one.
    """
    return {*stored[-_NEWEST:], best}
