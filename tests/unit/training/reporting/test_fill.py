"""How full batches are."""

import numpy as np

from s2s_algo.data.buckets import Bucket
from s2s_algo.data.ordering import Ordering
from s2s_algo.data.plans import BucketPlan, PlannedBatch, TokenPlan
from s2s_algo.training.reporting.fill import BucketFill, measure_fill
from tests.tiny_job import corpus_of, draw_pairs

PAIRS = [([4], [4]), ([4, 5], [4]), ([4, 5, 6], [4, 5])]


def test_by_hand():
    small, large = Bucket(2, 3), Bucket(4, 4)
    plan = [PlannedBatch(large, np.array([2])), PlannedBatch(small, np.array([1])), PlannedBatch(small, np.array([0]))]
    rows = measure_fill(corpus_of(PAIRS), plan)
    assert rows == [
        # Source tokens, target tokens and an end for each pair; 5 columns for each of the two.
        BucketFill(small, batches=2, pairs=2, tokens=1 + 1 + 1 + 2 + 1 + 1, cells=10),
        BucketFill(large, batches=1, pairs=1, tokens=3 + 2 + 1, cells=8),
    ]
    assert [row.share for row in rows] == [0.7, 0.75]


def test_every_pair_and_every_token_is_counted_once():
    pairs = draw_pairs(500, seed=3, longest=30)
    corpus = corpus_of(pairs)
    lengths = corpus.source.lengths, corpus.target.lengths + 1
    buckets = [Bucket(size, size + 1) for size in (10, 20, 31)]
    for plan in (BucketPlan(*lengths, buckets, 8, 1), TokenPlan(*lengths, 100, None, 1, Ordering("random"))):
        rows = measure_fill(corpus, plan.epoch(0))
        assert sum(row.pairs for row in rows) == 500
        assert sum(row.batches for row in rows) == len(plan.epoch(0))
        assert sum(row.tokens for row in rows) == sum(len(source) + len(target) + 1 for source, target in pairs)
        assert all(0 < row.share <= 1 for row in rows)


def test_neighbouring_shapes_share_a_row_where_there_are_many():
    corpus = corpus_of([([4] * size, [4] * size) for size in range(1, 41)])
    plan = [PlannedBatch(Bucket(size, size + 1), np.array([size - 1])) for size in range(1, 41)]
    rows = measure_fill(corpus, plan)
    assert len(rows) == 14
    assert rows[0] == BucketFill(Bucket(3, 4), 3, 3, 15, 15)
    assert rows[-1].largest == Bucket(40, 41)
