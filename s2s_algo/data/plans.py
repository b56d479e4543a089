"""Which pairs form which batch.

A plan is a pure function of the corpus' lengths, the seed and the epoch, so a resumed job needs no more than an epoch
and a position in it. Source: original numerics 2.2 and 2.6; decisions 19 and 20; the second page's ``batch_size``,
``max_seqs`` and ``seq_ordering``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s2s_algo.data.buckets import Bucket, assign_buckets
from s2s_algo.data.ordering import Ordering, stable_argsort
from s2s_algo.data.token_batches import capacities, ends_of_batches

_SHORTEST_FIRST = Ordering("sorted")


@dataclass(frozen=True, slots=True, eq=False)
class PlannedBatch:
    """A batch before its tokens are looked up.

    Attributes:
        bucket: The shape of the batch.
        pairs: int64 [B], indices into the corpus.
    """

    bucket: Bucket
    pairs: NDArray[np.int64]


class BatchPlan(Protocol):
    """How the pairs of a corpus are cut into batches."""

    def epoch(self, number: int) -> list[PlannedBatch]:
        """The batches of a training epoch, 0 or more, in order: every pair exactly once."""
        ...

    def in_order(self) -> list[PlannedBatch]:
        """The batches of validation: every pair exactly once, always in the same order."""
        ...

    def largest(self) -> list[PlannedBatch]:
        """The batches that can need most memory: most tokens, and most pairs of a source and a target position.

        Which of the two counts depends on the kind of attention.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class BucketPlan:
    """Batches of a fixed number of pairs, padded to the shape of a bucket that all their pairs are in.

    Attributes:
        source_lengths: int64 [pairs], tokens.
        target_lengths: int64 [pairs], tokens and ``</s>``.
        buckets: The shapes, in ascending order on both sides.
        batch_size: Pairs in a batch; the last one of each bucket may be smaller.
        seed: Seed of the job, 0 or more.
        ordering: Order of the pairs of an epoch; ``None``: each bucket is permuted, then all batches are.
        bucket_of_pair: int32 [pairs], indices into `buckets`.
    """

    source_lengths: NDArray[np.int64]
    target_lengths: NDArray[np.int64]
    buckets: Sequence[Bucket]
    batch_size: int
    seed: int
    ordering: Ordering | None = None
    bucket_of_pair: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        bucket_of_pair = assign_buckets(self.source_lengths, self.target_lengths, self.buckets)
        object.__setattr__(self, "bucket_of_pair", bucket_of_pair)

    def epoch(self, number: int) -> list[PlannedBatch]:
        """The batches of a training epoch; see ``plan_epoch`` and, with an ordering, ``plan_ordered``."""
        if self.ordering is None:
            return plan_epoch(self.bucket_of_pair, self.buckets, self.batch_size, self.seed, number)
        order = self.ordering.of_epoch(self.source_lengths, self.seed, number)
        return plan_ordered(order, self.bucket_of_pair, self.buckets, self.batch_size)

    def in_order(self) -> list[PlannedBatch]:
        """The batches of validation, bucket by bucket."""
        return plan_in_order(self.bucket_of_pair, self.buckets, self.batch_size)

    def largest(self) -> list[PlannedBatch]:
        """The largest batches; which pairs are in them does not matter."""
        plan = self.in_order()
        most_tokens = max(plan, key=lambda batch: len(batch.pairs) * sum(batch.bucket))
        most_cells = max(plan, key=lambda batch: len(batch.pairs) * batch.bucket.source * batch.bucket.target)
        return [most_tokens] if most_tokens is most_cells else [most_tokens, most_cells]


@dataclass(frozen=True, slots=True, eq=False)
class TokenPlan:
    """Batches of at most so many padded tokens on each side, as long as their longest pair.

    Attributes:
        source_lengths: int64 [pairs], tokens.
        target_lengths: int64 [pairs], tokens and ``</s>``.
        max_tokens: A batch's pairs times its longest source, and times its longest target, are at most this. A pair
            that is longer by itself forms its own batch.
        max_pairs: Most pairs in a batch; ``None``: any number.
        seed: Seed of the job, 0 or more.
        ordering: Order of the pairs of an epoch, before they are cut into batches one after the other.
    """

    source_lengths: NDArray[np.int64]
    target_lengths: NDArray[np.int64]
    max_tokens: int
    max_pairs: int | None
    seed: int
    ordering: Ordering

    def epoch(self, number: int) -> list[PlannedBatch]:
        """The batches of a training epoch, in its order."""
        return self._cut(self.ordering.of_epoch(self.source_lengths, self.seed, number))

    def in_order(self) -> list[PlannedBatch]:
        """The batches of validation, from short sources to long ones."""
        return self._cut(_SHORTEST_FIRST.of(self.source_lengths, 0))

    def largest(self) -> list[PlannedBatch]:
        """The largest batches that any order can give, in which a pair meets as many shorter ones as fit."""
        longest = self._longest()
        order = stable_argsort(longest.max() - longest)
        longest = longest[order]
        pairs = np.minimum(capacities(longest, self.max_tokens, self.max_pairs), len(longest) - np.arange(len(longest)))
        source = np.minimum(longest, self.source_lengths.max())
        target = np.minimum(longest, self.target_lengths.max())
        largest = (int(size.argmax()) for size in (pairs * (source + target), pairs * source * target))
        return [
            PlannedBatch(Bucket(int(source[i]), int(target[i])), order[i : i + pairs[i]])
            for i in dict.fromkeys(largest)
        ]

    def _longest(self) -> NDArray[np.int64]:
        """The longer side of each pair: both sides have the same limit, so nothing else counts."""
        return np.maximum(self.source_lengths, self.target_lengths)

    def _cut(self, order: NDArray[np.int64]) -> list[PlannedBatch]:
        ends = ends_of_batches(capacities(self._longest()[order], self.max_tokens, self.max_pairs))
        starts = [0, *ends[:-1]]
        shapes = (
            np.maximum.reduceat(lengths[order], starts).tolist()
            for lengths in (self.source_lengths, self.target_lengths)
        )
        return [
            PlannedBatch(Bucket(source, target), order[start:end])
            for start, end, source, target in zip(starts, ends, *shapes, strict=True)
        ]


def plan_epoch(
    bucket_of_pair: NDArray[np.int32], buckets: Sequence[Bucket], batch_size: int, seed: int, epoch: int
) -> list[PlannedBatch]:
    """Returns the batches of one training epoch, in order: every pair exactly once.

    The pairs of each bucket are permuted and cut into batches, the last of which may be smaller; then the batches of
    all buckets are shuffled.

    Args:
        bucket_of_pair: int32 [pairs], indices into `buckets`.
        buckets: The shapes.
        batch_size: Pairs in a batch.
        seed: Seed of the job, 0 or more.
        epoch: Number of the epoch, 0 or more; each has its own order.
    """
    # Sorting raw random words gives the same order with any release of numpy: the streams of its bit generators are
    # promised to stay as they are, those of Generator.permutation and Generator.shuffle are not.
    random = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
    keys = random.random_raw(len(bucket_of_pair))
    batches = _cut(np.lexsort((keys, bucket_of_pair)), bucket_of_pair, buckets, batch_size)
    return [batches[i] for i in np.argsort(random.random_raw(len(batches)), kind="stable")]


def plan_ordered(
    order: NDArray[np.int64], bucket_of_pair: NDArray[np.int32], buckets: Sequence[Bucket], batch_size: int
) -> list[PlannedBatch]:
    """Returns batches for pairs in a given order: every pair exactly once.

    The pairs of each bucket, in this order, are cut into batches, the last of which may be smaller; the batches of all
    buckets come in the order of their first pairs.

    Args:
        order: int64 [pairs], each index once.
        bucket_of_pair: int32 [pairs], indices into `buckets`.
        buckets: The shapes.
        batch_size: Pairs in a batch.
    """
    batches = _cut(order[stable_argsort(bucket_of_pair[order])], bucket_of_pair, buckets, batch_size)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    first = rank[np.array([batch.pairs[0] for batch in batches], np.int64)]
    return [batches[i] for i in np.argsort(first)]


def plan_in_order(bucket_of_pair: NDArray[np.int32], buckets: Sequence[Bucket], batch_size: int) -> list[PlannedBatch]:
    """Returns batches for validation: every pair exactly once, bucket by bucket, in the order of the corpus.

    Args:
        bucket_of_pair: int32 [pairs], indices into `buckets`.
        buckets: The shapes.
        batch_size: Pairs in a batch; the last one of each bucket may be smaller.
    """
    return _cut(np.argsort(bucket_of_pair, kind="stable"), bucket_of_pair, buckets, batch_size)


def _cut(
    order: NDArray[np.int64], bucket_of_pair: NDArray[np.int32], buckets: Sequence[Bucket], batch_size: int
) -> list[PlannedBatch]:
    """Cuts pairs that are ordered by bucket into batches of one bucket each."""
    ends = np.cumsum(np.bincount(bucket_of_pair, minlength=len(buckets))).tolist()
    batches = []
    for bucket, begin, end in zip(buckets, [0, *ends[:-1]], ends, strict=True):
        for start in range(begin, end, batch_size):
            batches.append(PlannedBatch(bucket, order[start : min(start + batch_size, end)]))
    return batches
