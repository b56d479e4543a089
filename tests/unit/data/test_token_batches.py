"""Where batches of a limited number of padded tokens end."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data import token_batches
from s2s_algo.data.token_batches import capacities, ends_of_batches

lengths_of_two_sides = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)))


def plain(pairs, max_tokens, max_pairs):
    """One pass in which each side has its own longest sequence."""
    ends, batch = [], []
    for position, pair in enumerate(pairs):
        longer = [*batch, pair]
        padded = [len(longer) * max(side) for side in zip(*longer, strict=True)]
        if batch and (max(padded) > max_tokens or (max_pairs is not None and len(longer) > max_pairs)):
            ends.append(position)
            batch = [pair]
        else:
            batch = longer
    return [*ends, len(pairs)] if pairs else []


@pytest.mark.parametrize("block", [1, 3, 1 << 16])
@given(pairs=lengths_of_two_sides, max_tokens=st.integers(1, 60), max_pairs=st.none() | st.integers(1, 6))
def test_batches_end_where_a_plain_loop_over_both_sides_ends_them(block, pairs, max_tokens, max_pairs):
    longest = np.array([max(pair) for pair in pairs], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_batches, "_BLOCK", block)
        assert ends_of_batches(capacities(longest, max_tokens, max_pairs)) == plain(pairs, max_tokens, max_pairs)


def test_exactly_the_limit_is_allowed():
    assert ends_of_batches(capacities(np.array([4, 4, 4, 4]), 12, None)) == [3, 4]


def test_a_sequence_over_the_limit_is_a_batch_of_its_own():
    assert ends_of_batches(capacities(np.array([2, 50, 2, 2]), 12, None)) == [1, 2, 4]


def test_a_million_sequences_are_cut_in_seconds():
    lengths = np.arange(1_000_000) % 97 + 1
    start = time.perf_counter()
    ends = ends_of_batches(capacities(lengths, 4096, 200))
    assert time.perf_counter() - start < 10
    assert ends[-1] == 1_000_000
