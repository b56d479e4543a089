"""Plans of epochs, and the tensors of a batch."""

import time
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data.batches import Batch, PlannedBatch, collate, plan_epoch, plan_in_order
from s2s_algo.data.buckets import Bucket
from s2s_algo.data.corpus import Corpus, Sequences
from s2s_algo.errors import AlgorithmError

BUCKETS = [Bucket(10 * i, 10 * i) for i in range(1, 7)]
BOS, EOS = 2, 3

assignments = st.lists(st.integers(0, len(BUCKETS) - 1)).map(lambda indices: np.array(indices, np.int32))
batch_sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)


def sequences(lists):
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return Sequences(np.array([id_ for ids in lists for id_ in ids], np.int32), offsets)


def corpus_of(pairs):
    return Corpus(*map(sequences, zip(*pairs, strict=True)))


def as_lists(plan):
    return [(batch.bucket, batch.pairs.tolist()) for batch in plan]


@given(assignments, batch_sizes, seeds, st.integers(0, 1000))
def test_an_epoch_holds_every_pair_exactly_once(bucket_of_pair, batch_size, seed, epoch):
    plan = plan_epoch(bucket_of_pair, BUCKETS, batch_size, seed, epoch)
    assert sorted(pair for batch in plan for pair in batch.pairs) == list(range(len(bucket_of_pair)))


@given(assignments, batch_sizes, seeds)
def test_a_batch_holds_pairs_of_one_bucket_and_one_batch_a_bucket_is_partial(bucket_of_pair, batch_size, seed):
    plan = plan_epoch(bucket_of_pair, BUCKETS, batch_size, seed, 0)
    for batch in plan:
        assert 1 <= len(batch.pairs) <= batch_size
        assert {BUCKETS[i] for i in bucket_of_pair[batch.pairs]} == {batch.bucket}
    partial = Counter(batch.bucket for batch in plan if len(batch.pairs) < batch_size)
    assert all(count == 1 for count in partial.values())


@given(assignments, batch_sizes, seeds, st.integers(0, 1000))
def test_a_plan_is_a_pure_function(bucket_of_pair, batch_size, seed, epoch):
    first = plan_epoch(bucket_of_pair, BUCKETS, batch_size, seed, epoch)
    assert as_lists(first) == as_lists(plan_epoch(bucket_of_pair, BUCKETS, batch_size, seed, epoch))


def test_a_plan_is_the_same_on_every_machine():
    bucket_of_pair = np.array([0, 1, 0, 1, 1, 0, 0, 1], np.int32)
    assert as_lists(plan_epoch(bucket_of_pair, BUCKETS[:2], 3, seed=13, epoch=1)) == [
        (BUCKETS[0], [0, 2, 5]),
        (BUCKETS[0], [6]),
        (BUCKETS[1], [4]),
        (BUCKETS[1], [3, 7, 1]),
    ]


@pytest.mark.parametrize("other", [(13, 2), (14, 1)])
def test_epochs_and_seeds_differ_in_batches_and_in_their_order(other):
    bucket_of_pair = np.repeat(np.arange(6, dtype=np.int32), 50)
    one = plan_epoch(bucket_of_pair, BUCKETS, 10, 13, 1)
    two = plan_epoch(bucket_of_pair, BUCKETS, 10, *other)
    assert [batch.bucket for batch in one] != [batch.bucket for batch in two]
    assert {tuple(batch.pairs) for batch in one} != {tuple(batch.pairs) for batch in two}


def test_batches_of_all_buckets_are_mixed():
    bucket_of_pair = np.repeat(np.arange(6, dtype=np.int32), 50)
    buckets = [batch.bucket for batch in plan_epoch(bucket_of_pair, BUCKETS, 10, 13, 1)]
    assert buckets != sorted(buckets)


@given(assignments, batch_sizes)
def test_validation_goes_through_the_buckets_in_order_and_holds_every_pair_once(bucket_of_pair, batch_size):
    plan = plan_in_order(bucket_of_pair, BUCKETS, batch_size)
    assert all(1 <= len(batch.pairs) <= batch_size for batch in plan)
    planned = [(batch.bucket, pair) for batch in plan for pair in batch.pairs.tolist()]
    assert planned == sorted((BUCKETS[bucket], pair) for pair, bucket in enumerate(bucket_of_pair))


def test_a_million_pairs_are_planned_in_seconds():
    bucket_of_pair = (np.arange(1_000_000) % 6).astype(np.int32)
    start = time.perf_counter()
    plan = plan_epoch(bucket_of_pair, BUCKETS, 64, 13, 0)
    assert time.perf_counter() - start < 10
    assert sum(len(batch.pairs) for batch in plan) == 1_000_000


def test_a_batch_is_padded_to_its_bucket():
    corpus = corpus_of([([5, 6, 7], [8]), ([9], [4]), ([6, 6], [7, 8])])
    batch = collate(corpus, PlannedBatch(Bucket(4, 5), np.array([2, 0])), BOS, EOS)
    assert batch.source.tolist() == [[6, 6, 0, 0], [5, 6, 7, 0]]
    assert batch.source_length.tolist() == [2, 3]
    assert batch.target_in.tolist() == [[2, 7, 8, 0, 0], [2, 8, 0, 0, 0]]
    assert batch.target_label.tolist() == [[7, 8, 3, 0, 0], [8, 3, 0, 0, 0]]
    assert batch.target_length.tolist() == [3, 2]
    assert {getattr(batch, name).dtype for name in Batch.__slots__} == {torch.int64}


def test_a_pair_may_fill_its_bucket():
    batch = collate(corpus_of([([5, 6], [7, 8])]), PlannedBatch(Bucket(2, 3), np.array([0])), BOS, EOS)
    assert batch.source.tolist() == [[5, 6]]
    assert (batch.target_in.tolist(), batch.target_label.tolist()) == ([[2, 7, 8]], [[7, 8, 3]])


def test_a_truncated_corpus_gives_truncated_batches():
    corpus, _ = corpus_of([([5, 6, 7], [8, 9, 4])]).truncated(2, 1)
    batch = collate(corpus, PlannedBatch(Bucket(2, 2), np.array([0])), BOS, EOS)
    assert (batch.source.tolist(), batch.target_label.tolist()) == ([[5, 6]], [[8, 3]])


lists_of_ids = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(st.lists(st.tuples(lists_of_ids, lists_of_ids), min_size=1, max_size=9))
def test_a_batch_holds_the_pairs_of_a_plain_loop(pairs):
    indices = np.arange(len(pairs))[::-1]
    batch = collate(corpus_of(pairs), PlannedBatch(Bucket(9, 10), indices), BOS, EOS)
    for row, pair in enumerate(indices):
        source, target = pairs[pair]
        assert batch.source[row].tolist() == source + [0] * (9 - len(source))
        assert batch.target_in[row].tolist() == [BOS, *target] + [0] * (9 - len(target))
        assert batch.target_label[row].tolist() == [*target, EOS] + [0] * (9 - len(target))
        assert (batch.source_length[row], batch.target_length[row]) == (len(source), len(target) + 1)


def test_a_batch_of_no_pairs_keeps_its_shape():
    batch = collate(corpus_of([([5], [6])]), PlannedBatch(Bucket(4, 5), np.zeros(0, np.int64)), BOS, EOS)
    assert (batch.source.shape, batch.target_in.shape, batch.target_length.shape) == ((0, 4), (0, 5), (0,))


@pytest.mark.parametrize("bucket", [Bucket(2, 9), Bucket(9, 3)])
def test_a_pair_that_does_not_fit_is_never_cut(bucket):
    with pytest.raises(AlgorithmError, match="a sequence of 3 tokens does not fit the 2 columns of its bucket"):
        collate(corpus_of([([5, 6, 7], [7, 8, 9])]), PlannedBatch(bucket, np.array([0])), BOS, EOS)


def test_a_batch_moves_to_a_device_as_a_whole():
    batch = collate(corpus_of([([5], [6])]), PlannedBatch(Bucket(4, 5), np.array([0])), BOS, EOS).to("meta")
    assert {getattr(batch, name).device.type for name in Batch.__slots__} == {"meta"}
