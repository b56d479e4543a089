"""Where an ordered list of sequences is cut into batches of a limited number of padded tokens.

Source: the second page's ``batch_size`` and ``max_seqs``; the exact semantics are those of RETURNN (re-implemented from
its description).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16  # sequences whose numbers are Python objects at once


def capacities(lengths: NDArray[np.int64], max_tokens: int, max_sequences: int | None) -> NDArray[np.int64]:
    """Returns int64 [sequences]: most sequences of a batch in which each is the longest, at least 1.

    Args:
        lengths: int64 [sequences], 1 or more; where several sides share the limit, of the longest of them.
        max_tokens: Most sequences times the longest of them.
        max_sequences: Most sequences; ``None``: any number.
    """
    room = max_tokens // lengths
    if max_sequences is not None:
        room = np.minimum(room, max_sequences)
    return np.maximum(room, 1)


def ends_of_batches(capacity: NDArray[np.int64]) -> list[int]:
    """Returns the position after the last sequence of each batch, of which every one is as large as it can be.

    One pass: a sequence goes into the running batch if it, and every one that is there, has room for so many; else it
    begins the next one.

    Args:
        capacity: int64 [sequences], as `capacities` returns them, in the order of batching.
    """
    ends: list[int] = []
    start, limit = 0, len(capacity)  # the batch's first sequence, and the first position at which it would be too large
    for block in range(0, len(capacity), _BLOCK):
        for position, room in enumerate(capacity[block : block + _BLOCK].tolist(), block):
            if position >= limit or position >= start + room:
                ends.append(position)
                start, limit = position, position + room
            elif start + room < limit:
                limit = start + room
    if len(capacity):
        ends.append(len(capacity))
    return ends
