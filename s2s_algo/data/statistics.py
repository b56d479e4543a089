"""Length statistics of the training pairs, which shape the buckets and limit the length of translations.

Source: original numerics 2.5; decision 15.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2s_algo.data.corpus import Corpus

_CHUNK = 1 << 20  # pairs whose ratios are in memory at once


@dataclass(frozen=True, slots=True)
class LengthStatistics:
    """Lengths of the pairs as trained.

    Attributes:
        ratio_mean: Mean of (target tokens + 1) / source tokens; the 1 is ``</s>``.
        ratio_std: Population standard deviation of the same.
        max_source_length: Most source tokens of a pair.
        max_target_length: Most target tokens of a pair, ``</s>`` not counted.
    """

    ratio_mean: float
    ratio_std: float
    max_source_length: int
    max_target_length: int


def length_statistics(corpus: Corpus) -> LengthStatistics:
    """Computes the statistics of a corpus that is already truncated and has at least one pair."""
    source, target = corpus.source.lengths, corpus.target.lengths
    mean = sum(float(ratios.sum()) for ratios in _ratios(source, target)) / len(corpus)
    variance = sum(float(np.square(ratios - mean).sum()) for ratios in _ratios(source, target)) / len(corpus)
    return LengthStatistics(mean, variance**0.5, int(source.max()), int(target.max()))


def pooled(parts: Sequence[LengthStatistics], pairs: Sequence[float]) -> LengthStatistics:
    """The statistics of corpora together.

    Args:
        parts: Of each.
        pairs: How many pairs each has, or numbers in the same proportion.
    """
    total = sum(pairs)
    mean = sum(part.ratio_mean * weight for part, weight in zip(parts, pairs, strict=True)) / total
    square = sum(
        (part.ratio_std**2 + (part.ratio_mean - mean) ** 2) * weight for part, weight in zip(parts, pairs, strict=True)
    )
    return LengthStatistics(
        mean,
        (square / total) ** 0.5,
        max(part.max_source_length for part in parts),
        max(part.max_target_length for part in parts),
    )


def _ratios(source: NDArray[np.int64], target: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """Yields float64 [at most _CHUNK] from source and target lengths, int64 [pairs] each."""
    for start in range(0, len(source), _CHUNK):
        yield (target[start : start + _CHUNK] + 1) / source[start : start + _CHUNK]
