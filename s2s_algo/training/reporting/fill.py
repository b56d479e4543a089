"""How well the training pairs fill their batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s2s_algo.data.buckets import Bucket
from s2s_algo.data.corpus import Corpus
from s2s_algo.data.plans import PlannedBatch

_BATCHES_AT_ONCE = 4096
_MOST_ROWS = 16


@dataclass(frozen=True, slots=True)
class BucketFill:
    """The batches of a shape, or of neighbouring shapes.

    Attributes:
        largest: The shape, or the largest of each side.
        batches: Of an epoch.
        pairs: In them.
        tokens: Real ones of both sides, ``</s>`` included.
        cells: The same and padding.
    """

    largest: Bucket
    batches: int
    pairs: int
    tokens: int
    cells: int

    @property
    def share(self) -> float:
        """Real tokens by all, 0 to 1."""
        return self.tokens / max(self.cells, 1)

    def __add__(self, other: BucketFill) -> BucketFill:
        """Both together."""
        return BucketFill(
            Bucket(max(self.largest.source, other.largest.source), max(self.largest.target, other.largest.target)),
            self.batches + other.batches,
            self.pairs + other.pairs,
            self.tokens + other.tokens,
            self.cells + other.cells,
        )


def measure_fill(corpus: Corpus, plan: Sequence[PlannedBatch]) -> list[BucketFill]:
    """Measures an epoch; at most a screenful of rows, from small shapes to large ones, of shapes that occur.

    Args:
        corpus: The pairs as trained.
        plan: The batches of an epoch, of at least one pair each.
    """
    found: dict[Bucket, BucketFill] = {}
    for start in range(0, len(plan), _BATCHES_AT_ONCE):
        batches = plan[start : start + _BATCHES_AT_ONCE]
        pairs = np.concatenate([batch.pairs for batch in batches])
        begins = np.cumsum([0, *(len(batch.pairs) for batch in batches[:-1])])
        lengths = corpus.source.spans(pairs)[1] + corpus.target.spans(pairs)[1] + 1
        for batch, tokens in zip(batches, np.add.reduceat(lengths, begins).tolist(), strict=True):
            shape = batch.bucket
            fill = BucketFill(shape, 1, len(batch.pairs), tokens, len(batch.pairs) * sum(shape))
            found[shape] = found[shape] + fill if shape in found else fill
    rows = [found[shape] for shape in sorted(found)]
    size = -(-len(rows) // _MOST_ROWS)
    return [_together(rows[start : start + size]) for start in range(0, len(rows), size or 1)]


def _together(rows: Sequence[BucketFill]) -> BucketFill:
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return total
