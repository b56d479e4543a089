"""The pairs of a job as batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from s2s_algo.data.batches import Batch, PlannedBatch, collate, plan_epoch, plan_in_order
from s2s_algo.data.buckets import Bucket, assign_buckets
from s2s_algo.data.corpus import Corpus
from s2s_algo.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class BatchSource:
    """A truncated corpus, cut into batches.

    Attributes:
        corpus: The pairs as trained.
        vocabulary: Of the target.
        buckets: The shapes of batches.
        batch_size: Pairs in a full batch.
        seed: Seed of the order.
        device: Where batches go.
    """

    corpus: Corpus
    vocabulary: Vocabulary
    buckets: Sequence[Bucket]
    batch_size: int
    seed: int
    device: torch.device
    bucket_of_pair: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        target_lengths = self.corpus.target.lengths + 1
        bucket_of_pair = assign_buckets(self.corpus.source.lengths, target_lengths, self.buckets)
        object.__setattr__(self, "bucket_of_pair", bucket_of_pair)

    def plan(self, epoch: int) -> list[PlannedBatch]:
        """The batches of a training epoch, counted from 0: a pure function of seed, epoch and lengths."""
        return plan_epoch(self.bucket_of_pair, self.buckets, self.batch_size, self.seed, epoch)

    def plan_in_order(self) -> list[PlannedBatch]:
        """Every pair once, for validation."""
        return plan_in_order(self.bucket_of_pair, self.buckets, self.batch_size)

    def largest(self) -> list[PlannedBatch]:
        """The batches that can need most memory: most tokens, and most pairs of a source and a target position.

        Which of the two counts depends on the kind of attention.
        """
        plan = self.plan_in_order()
        most_tokens = max(plan, key=lambda batch: len(batch.pairs) * sum(batch.bucket))
        most_cells = max(plan, key=lambda batch: len(batch.pairs) * batch.bucket.source * batch.bucket.target)
        return [most_tokens] if most_tokens is most_cells else [most_tokens, most_cells]

    def collate(self, planned: PlannedBatch) -> Batch:
        """The tensors of a batch."""
        return collate(self.corpus, planned, self.vocabulary.bos_id, self.vocabulary.eos_id).to(self.device)
