"""Plans of epochs."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data.buckets import Bucket
from s2s_algo.data.ordering import Ordering
from s2s_algo.data.plans import BucketPlan, TokenPlan, plan_epoch, plan_in_order, plan_ordered

BUCKETS = [Bucket(10 * i, 10 * i) for i in range(1, 7)]

assignments = st.lists(st.integers(0, len(BUCKETS) - 1)).map(lambda indices: np.array(indices, np.int32))
batch_sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)


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


def lengths(*pairs):
    """Source lengths, and target lengths with the end symbol."""
    return tuple(np.array(side, np.int64) for side in zip(*pairs, strict=True))


orders = st.sampled_from(
    [Ordering("default"), Ordering("reverse"), Ordering("random"), Ordering("sorted"), Ordering("laplace", parts=3)]
)


@given(assignments, batch_sizes, st.randoms(use_true_random=False))
def test_an_ordered_epoch_has_full_batches_of_each_bucket_in_the_order_of_their_first_pairs(
    bucket_of_pair, batch_size, random
):
    order = np.array(random.sample(range(len(bucket_of_pair)), len(bucket_of_pair)), np.int64)
    plan = plan_ordered(order, bucket_of_pair, BUCKETS, batch_size)
    # By hand: a batch is opened by the pair that finds no unfinished one of its bucket.
    expected, open_batches = [], {}
    for pair in order.tolist():
        bucket = BUCKETS[bucket_of_pair[pair]]
        if len(open_batches.get(bucket, [0] * batch_size)) == batch_size:
            open_batches[bucket] = []
            expected.append((bucket, open_batches[bucket]))
        open_batches[bucket].append(pair)
    assert as_lists(plan) == expected


def test_an_ordering_leaves_validation_and_the_largest_batches_of_buckets_alone():
    sides = lengths(*[(1 + i % 7, 2 + i % 5) for i in range(40)])
    plain, ordered = (BucketPlan(*sides, BUCKETS, 3, 13, ordering) for ordering in (None, Ordering("sorted_reverse")))
    assert as_lists(plain.in_order()) == as_lists(ordered.in_order())
    assert as_lists(plain.largest()) == as_lists(ordered.largest())
    assert as_lists(plain.epoch(0)) != as_lists(ordered.epoch(0))


def test_epochs_of_buckets_follow_the_order_of_the_epoch():
    sides = lengths(*[(1 + i % 7, 2 + i % 5) for i in range(40)])
    plan = BucketPlan(*sides, BUCKETS, 3, 13, Ordering("random"))
    assert as_lists(plan.epoch(1)) == as_lists(plan.epoch(1)) != as_lists(plan.epoch(2))
    in_order = BucketPlan(*sides, BUCKETS[:1], 3, 13, Ordering("default")).epoch(0)
    assert np.concatenate([batch.pairs for batch in in_order]).tolist() == list(range(40))


def test_token_batches_are_as_long_as_their_longest_source_and_their_longest_target():
    sides = lengths((3, 2), (2, 5), (1, 1), (4, 4))
    plan = TokenPlan(*sides, 10, None, 13, Ordering("default"))
    assert as_lists(plan.epoch(0)) == [(Bucket(3, 5), [0, 1]), (Bucket(4, 4), [2, 3])]


def test_token_batches_hold_no_more_pairs_than_they_may():
    plan = TokenPlan(*lengths(*[(1, 2)] * 5), 1000, 2, 13, Ordering("default"))
    assert as_lists(plan.epoch(0)) == [(Bucket(1, 2), [0, 1]), (Bucket(1, 2), [2, 3]), (Bucket(1, 2), [4])]


pairs_of_lengths = st.lists(st.tuples(st.integers(1, 12), st.integers(2, 12)), min_size=1)


@given(pairs_of_lengths, st.integers(1, 60), st.none() | st.integers(1, 6), orders, st.integers(0, 3))
def test_token_batches_hold_every_pair_exactly_once_within_the_limits(pairs, max_tokens, max_pairs, ordering, epoch):
    plan = TokenPlan(*lengths(*pairs), max_tokens, max_pairs, 13, ordering)
    for batches in (plan.epoch(epoch), plan.in_order()):
        assert sorted(pair for batch in batches for pair in batch.pairs) == list(range(len(pairs)))
        for batch in batches:
            assert batch.bucket == tuple(max(side) for side in zip(*(pairs[pair] for pair in batch.pairs), strict=True))
            assert len(batch.pairs) == 1 or len(batch.pairs) * max(batch.bucket) <= max_tokens
            assert len(batch.pairs) <= (max_pairs or len(pairs))
    assert as_lists(plan.epoch(epoch)) == as_lists(plan.epoch(epoch))


@given(pairs_of_lengths, st.integers(1, 60), st.none() | st.integers(1, 6), orders, st.integers(0, 3))
def test_no_token_batch_needs_more_memory_than_the_largest_ones(pairs, max_tokens, max_pairs, ordering, epoch):
    plan = TokenPlan(*lengths(*pairs), max_tokens, max_pairs, 13, ordering)
    largest = plan.largest()
    for batch in largest:  # it can be made
        assert all(pairs[pair][0] <= batch.bucket.source for pair in batch.pairs)
        assert all(pairs[pair][1] <= batch.bucket.target for pair in batch.pairs)
        assert len(batch.pairs) == 1 or len(batch.pairs) * max(batch.bucket) <= max_tokens
    for size in (tokens, cells):
        assert max(map(size, plan.epoch(epoch))) <= max(map(size, largest))


def tokens(batch):
    return len(batch.pairs) * sum(batch.bucket)


def cells(batch):
    return len(batch.pairs) * batch.bucket.source * batch.bucket.target


def test_validation_by_tokens_goes_from_short_sources_to_long_ones():
    plan = TokenPlan(*lengths((4, 2), (1, 2), (4, 3), (2, 9)), 8, None, 13, Ordering("random"))
    assert as_lists(plan.in_order()) == [(Bucket(1, 2), [1]), (Bucket(2, 9), [3]), (Bucket(4, 3), [0, 2])]
