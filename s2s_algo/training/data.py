"""The pairs of a job as batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s2s_algo.data.batches import Batch, collate
from s2s_algo.data.corpus import Corpus
from s2s_algo.data.plans import BatchPlan, PlannedBatch
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.training.workers import Workers


@dataclass(frozen=True, slots=True)
class BatchSource:
    """A corpus, cut into batches of which each worker gets its share.

    Attributes:
        corpus: The pairs as trained.
        vocabulary: Of the target.
        batches: How the corpus is cut.
        workers: Who trains together.
        is_shard: Whether every machine has a corpus of its own rather than all the same. Each then cuts its own, and
            the batches of all machines with the same number make one.
    """

    corpus: Corpus
    vocabulary: Vocabulary
    batches: BatchPlan
    workers: Workers
    is_shard: bool = False

    def plan(self, epoch: int) -> list[PlannedBatch]:
        """The batches of a training epoch, counted from 0: a pure function of seed, epoch and lengths."""
        return self._as_many_everywhere(self.batches.epoch(epoch))

    def plan_in_order(self) -> list[PlannedBatch]:
        """Every pair once, for validation."""
        return self._as_many_everywhere(self.batches.in_order())

    def largest(self) -> list[PlannedBatch]:
        """The batches that can need most memory."""
        return self.batches.largest()

    def collate(self, planned: PlannedBatch) -> Batch:
        """The tensors of this worker's share of a batch, which may be of no pairs."""
        divide = self.workers.share_of_host if self.is_shard else self.workers.share
        share = np.array(divide(range(len(planned.pairs))), np.int64)
        planned = PlannedBatch(planned.bucket, planned.pairs[share])
        return collate(self.corpus, planned, self.vocabulary.bos_id, self.vocabulary.eos_id).to(self.workers.device)

    def _as_many_everywhere(self, plan: list[PlannedBatch]) -> list[PlannedBatch]:
        """Adds batches of no pairs where other machines have more batches, for all make the same updates."""
        if not self.is_shard:
            return plan
        none = PlannedBatch(plan[-1].bucket, np.zeros(0, np.int64))
        return plan + [none] * (self.workers.largest(len(plan)) - len(plan))
