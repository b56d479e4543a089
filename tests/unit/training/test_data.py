"""The pairs of a job as batches."""

import numpy as np
import torch

from s2s_algo.data.buckets import Bucket
from s2s_algo.data.plans import BucketPlan, PlannedBatch
from s2s_algo.training.data import BatchSource
from s2s_algo.training.workers import Workers
from tests.tiny_job import TARGET_VOCABULARY, corpus_of, draw_pairs

BUCKETS = [Bucket(3, 4), Bucket(6, 7), Bucket(9, 10)]
SHORT, MIDDLE, LONG = ([5] * 3, [5] * 3), ([5] * 6, [5] * 5), ([5] * 2, [5] * 9)


def source_of(pairs, batch_size=4, seed=13, rank=0, size=1):
    corpus = corpus_of(pairs)
    plan = BucketPlan(corpus.source.lengths, corpus.target.lengths + 1, BUCKETS, batch_size, seed)
    return BatchSource(corpus, TARGET_VOCABULARY, plan, Workers(torch.device("cpu"), rank, size))


def order(plan):
    return [(batch.bucket, batch.pairs.tolist()) for batch in plan]


def test_pairs_lie_in_the_first_bucket_that_holds_both_sides_and_the_end_symbol():
    plan = source_of([SHORT, MIDDLE, LONG, ([5], [5] * 3), ([5], [5] * 4)]).batches
    assert plan.bucket_of_pair.tolist() == [0, 1, 2, 0, 1]


def test_every_epoch_has_an_order_of_its_own_which_is_always_the_same():
    pairs = draw_pairs(30, seed=7)
    plans = [order(source_of(pairs).plan(epoch)) for epoch in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    assert plans[0] != order(source_of(pairs, seed=14).plan(0))


def test_validation_goes_through_the_corpus_in_order():
    plan = source_of([LONG, SHORT, MIDDLE, SHORT, SHORT, LONG], batch_size=2).plan_in_order()
    assert order(plan) == [(BUCKETS[0], [1, 3]), (BUCKETS[0], [4]), (BUCKETS[1], [2]), (BUCKETS[2], [0, 5])]


def test_the_largest_batch_has_most_columns():
    assert order(source_of([SHORT] * 4 + [MIDDLE] * 4 + [LONG] * 4).largest()) == [(BUCKETS[2], [8, 9, 10, 11])]


def test_the_largest_batch_is_a_full_one():
    assert order(source_of([MIDDLE] * 5).largest()) == [(BUCKETS[1], [0, 1, 2, 3])]


def test_the_batch_of_most_tokens_and_that_of_most_cells_of_attention_may_be_two():
    # 4 times 3 + 4 tokens against 9 + 10, and 4 times 3 * 4 cells against 9 * 10.
    assert order(source_of([SHORT] * 4 + [LONG]).largest()) == [(BUCKETS[0], [0, 1, 2, 3]), (BUCKETS[2], [4])]


def test_targets_begin_and_end_with_the_symbols_of_the_target_vocabulary():
    source = source_of([([5, 6], [7, 8])])
    (planned,) = source.plan(0)
    batch = source.collate(planned)
    assert batch.source.tolist() == [[5, 6, 0]]
    assert batch.target_in.tolist() == [[TARGET_VOCABULARY.bos_id, 7, 8, 0]]
    assert batch.target_label.tolist() == [[7, 8, TARGET_VOCABULARY.eos_id, 0]]


def test_each_worker_gets_its_share_of_a_batch_and_all_together_the_whole():
    pairs = [([5 + number], [5]) for number in range(3)]
    whole = PlannedBatch(BUCKETS[0], np.array([2, 0, 1]))
    shares = [source_of(pairs, rank=rank, size=4).collate(whole).source.tolist() for rank in range(4)]
    assert [row[0] for share in shares for row in share] == [7, 5, 6]
    assert [len(share) for share in shares] == [0, 1, 1, 1]
