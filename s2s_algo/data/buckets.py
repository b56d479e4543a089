"""Buckets: the shapes to which batches are padded, so that pairs of similar lengths share one.

Source: original numerics 2.3, the rule of Sockeye 1.10; decision 18.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2s_algo.errors import AlgorithmError

_SMALLEST = 2  # columns of a bucket, on either side


class Bucket(NamedTuple):
    """The shape of a batch: columns of the source, and columns of the target with ``</s>``."""

    source: int
    target: int


def define_buckets(max_length: int, step: int) -> list[int]:
    """Returns the multiples of `step` up to the first that reaches `max_length`, which takes that one's place."""
    return [*range(step, max_length, step), max_length]


def define_parallel_buckets(max_source: int, max_target: int, width: int, ratio: float) -> list[Bucket]:
    """Returns buckets in ascending order on both sides; the last one is the largest.

    The longer side grows by `width` from bucket to bucket, the other by as much less as it is shorter on average.

    Args:
        max_source: Most source tokens of a pair.
        max_target: Most target tokens of a pair, ``</s>`` counted.
        width: Step of the longer side.
        ratio: Mean of target tokens (``</s>`` counted) by source tokens; above 0.
    """
    if ratio >= 1:
        source_step, target_step = max(1, int(width / ratio)), width
    else:
        source_step, target_step = width, max(1, int(width * ratio))
    sources = define_buckets(max_source, source_step)
    targets = define_buckets(max_target, target_step)
    count = max(len(sources), len(targets))
    sources += sources[-1:] * (count - len(sources))
    targets += targets[-1:] * (count - len(targets))
    pairs = zip(sources, targets, strict=True)
    return sorted({Bucket(max(_SMALLEST, source), max(_SMALLEST, target)) for source, target in pairs})


def assign_buckets(
    source_lengths: NDArray[np.int64], target_lengths_with_eos: NDArray[np.int64], buckets: Sequence[Bucket]
) -> NDArray[np.int32]:
    """Returns int32 [pairs]: the index of the first bucket that holds both sides of each pair.

    Args:
        source_lengths: int64 [pairs], tokens.
        target_lengths_with_eos: int64 [pairs], tokens and ``</s>``.
        buckets: In ascending order on both sides, as `define_parallel_buckets` returns them.

    Raises:
        AlgorithmError: A pair fits no bucket, so it was not truncated before.
    """
    # Both sides ascend, so the first bucket that holds a pair is the later one of the two that hold one side each.
    first = np.searchsorted([bucket.source for bucket in buckets], source_lengths)
    np.maximum(first, np.searchsorted([bucket.target for bucket in buckets], target_lengths_with_eos), out=first)
    unfit = first == len(buckets)
    if unfit.any():
        pair = int(unfit.argmax())
        raise AlgorithmError(
            f"pair {pair} with {source_lengths[pair]} source tokens and {target_lengths_with_eos[pair]} target tokens "
            f"fits no bucket; the largest is {tuple(buckets[-1])}"
        )
    return first.astype(np.int32)
