"""Buckets."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data.buckets import Bucket, assign_buckets, define_buckets, define_parallel_buckets
from s2s_algo.errors import AlgorithmError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "buckets.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["define_buckets"])
def test_buckets_of_one_side_are_the_originals(case):
    assert define_buckets(case["max_seq_len"], case["step"]) == case["buckets"]


@pytest.mark.parametrize("case", GOLDEN["define_parallel_buckets"])
def test_parallel_buckets_are_the_originals(case):
    buckets = define_parallel_buckets(
        case["max_seq_len_source"], case["max_seq_len_target"], case["bucket_width"], case["length_ratio"]
    )
    assert buckets == sorted(map(tuple, case["buckets"]))


sides = st.integers(1, 200)
widths = st.integers(1, 50)
ratios = st.floats(1e-3, 1e3)


@given(sides, sides, widths, ratios)
def test_buckets_ascend_on_both_sides_to_the_largest_shape(max_source, max_target, width, ratio):
    buckets = define_parallel_buckets(max_source, max_target, width, ratio)
    assert buckets[-1] == (max(2, max_source), max(2, max_target))
    for smaller, larger in itertools.pairwise(buckets):
        assert smaller != larger
        assert smaller.source <= larger.source
        assert smaller.target <= larger.target


@given(sides, sides, widths, ratios, st.data())
def test_every_pair_goes_to_the_first_bucket_that_holds_it(max_source, max_target, width, ratio, data):
    buckets = define_parallel_buckets(max_source, max_target, width, ratio)
    pairs = data.draw(st.lists(st.tuples(st.integers(1, max_source), st.integers(1, max_target)), min_size=1))
    source, target = np.array(pairs, dtype=np.int64).T
    expected = [
        next(i for i, bucket in enumerate(buckets) if s <= bucket.source and t <= bucket.target) for s, t in pairs
    ]
    assigned = assign_buckets(source, target, buckets)
    assert assigned.tolist() == expected
    assert assigned.dtype == np.int32


def test_no_pairs_have_no_buckets():
    empty = np.zeros(0, np.int64)
    assert assign_buckets(empty, empty, [Bucket(5, 5)]).tolist() == []


@pytest.mark.parametrize("lengths", [(11, 1), (1, 11)])
def test_a_pair_that_fits_no_bucket_is_never_put_into_one(lengths):
    source, target = np.array([[3, lengths[0]], [3, lengths[1]]])
    with pytest.raises(AlgorithmError) as error:
        assign_buckets(source, target, [Bucket(5, 5), Bucket(10, 10)])
    assert str(error.value) == (
        f"pair 1 with {lengths[0]} source tokens and {lengths[1]} target tokens fits no bucket; the largest is (10, 10)"
    )
