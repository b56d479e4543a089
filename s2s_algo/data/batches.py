"""Which pairs form which batch, and the tensors of a batch.

A plan is a pure function of the corpus' lengths, the seed and the epoch, so a resumed job needs no more than an epoch
and a position in it. Source: original numerics 2.2 and 2.6; decisions 19 and 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s_algo.data.buckets import Bucket
from s2s_algo.data.corpus import Corpus, Sequences
from s2s_algo.data.vocabulary import PAD_ID
from s2s_algo.errors import AlgorithmError


@dataclass(frozen=True, slots=True, eq=False)
class PlannedBatch:
    """A batch before its tokens are looked up.

    Attributes:
        bucket: The shape of the batch.
        pairs: int64 [B], indices into the corpus.
    """

    bucket: Bucket
    pairs: NDArray[np.int64]


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


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The tensors of one batch, all int64, padded with 0 to the shape of its bucket.

    Attributes:
        source: [B, S] token ids.
        source_length: [B] source tokens.
        target_in: [B, T] ``<s>`` and the token ids: the decoder's input.
        target_label: [B, T] the token ids and ``</s>``: what it should predict.
        target_length: [B] target tokens and 1 for ``</s>``.
    """

    source: Tensor
    source_length: Tensor
    target_in: Tensor
    target_label: Tensor
    target_length: Tensor

    def to(self, device: torch.device | str) -> Self:
        """Returns the same batch on another device."""
        return type(self)(
            self.source.to(device),
            self.source_length.to(device),
            self.target_in.to(device),
            self.target_label.to(device),
            self.target_length.to(device),
        )


def collate(corpus: Corpus, planned: PlannedBatch, bos_id: int, eos_id: int) -> Batch:
    """Looks the tokens of a planned batch up.

    Args:
        corpus: Truncated as it was when the plan was made.
        planned: B pairs, and S and T of their bucket; B may be 0.
        bos_id: Id of ``<s>`` in the target vocabulary.
        eos_id: Id of ``</s>`` in the target vocabulary.

    Raises:
        AlgorithmError: A pair does not fit the bucket.
    """
    size = len(planned.pairs)
    source, source_length = _padded(corpus.source, planned.pairs, planned.bucket.source)
    words, word_count = _padded(corpus.target, planned.pairs, planned.bucket.target - 1)
    target_in = np.concatenate([np.full((size, 1), bos_id, np.int64), words], axis=1)
    target_label = np.concatenate([words, np.full((size, 1), PAD_ID, np.int64)], axis=1)
    target_label[np.arange(size), word_count] = eos_id
    arrays = (source, source_length, target_in, target_label, word_count + 1)
    return Batch(*map(torch.from_numpy, arrays))


def _padded(
    sequences: Sequences, indices: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns int64 [B, width] token ids with zeros after each sequence, and int64 [B] lengths."""
    starts, lengths = sequences.spans(indices)
    if lengths.max(initial=0) > width:
        raise AlgorithmError(f"a sequence of {lengths.max()} tokens does not fit the {width} columns of its bucket")
    columns = np.arange(width)
    inside = columns < lengths[:, np.newaxis]
    ids = np.full((len(indices), width), PAD_ID, np.int64)
    ids[inside] = sequences.tokens[(starts[:, np.newaxis] + columns)[inside]]
    return ids, lengths
