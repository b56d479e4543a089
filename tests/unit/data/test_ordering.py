"""Orders of training sequences; their numbers are in ``tests/golden/test_second_page.py``."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data.ordering import Ordering, epoch_seed

LENGTHS = np.array([5, 3, 8, 1, 9, 2, 7, 4, 6, 3, 10, 5])
modes = st.sampled_from(["default", "reverse", "random", "sorted", "sorted_reverse", "laplace"])
sizes = st.none() | st.integers(1, 2**31 - 1) | st.integers(1, 9)


@given(
    st.lists(st.integers(1, 100_000)), st.builds(Ordering, modes, st.none(), sizes, sizes), st.integers(0, 2**32 - 1)
)
def test_every_order_holds_every_sequence_exactly_once(lengths, ordering, seed):
    assert sorted(ordering.of(np.array(lengths, np.int64), seed)) == list(range(len(lengths)))


def plain_laplace(lengths, seed, parts):
    """Part by part, as one would do it by hand."""
    permutation = np.random.RandomState(seed).permutation(len(lengths)).tolist()
    order = []
    for part in range(parts):
        members = permutation[part * len(lengths) // parts : (part + 1) * len(lengths) // parts]
        order += sorted(members, key=lambda i: lengths[i] if part % 2 == 0 else -lengths[i])
    return order


@given(st.lists(st.integers(1, 20)), st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_laplace_sorts_the_parts_of_a_permutation_up_and_down_in_turn(lengths, seed, parts):
    found = Ordering("laplace", parts=parts).of(np.array(lengths, np.int64), seed)
    assert found.tolist() == plain_laplace(lengths, seed, parts)


@pytest.mark.parametrize("mode", ["random", "laplace"])
def test_every_epoch_and_every_seed_of_the_job_has_an_order_of_its_own(mode):
    orders = {
        tuple(Ordering(mode).of_epoch(LENGTHS, seed, epoch)) for seed, epoch in [(13, 0), (13, 1), (14, 0), (14, 1)]
    }
    assert len(orders) == 4
    assert tuple(Ordering(mode).of_epoch(LENGTHS, 13, 1)) in orders


def test_a_seed_of_the_order_is_that_of_every_epoch_and_every_job():
    ordering = Ordering("random", seed=2)
    orders = {tuple(ordering.of_epoch(LENGTHS, seed, epoch)) for seed, epoch in [(13, 0), (13, 1), (14, 5)]}
    assert orders == {tuple(Ordering("random").of(LENGTHS, 2))}


@pytest.mark.parametrize("mode", ["default", "reverse", "sorted", "sorted_reverse"])
def test_orders_without_chance_are_the_same_in_every_epoch(mode):
    assert len({tuple(Ordering(mode).of_epoch(LENGTHS, 13, epoch)) for epoch in range(5)}) == 1


def test_seeds_of_epochs_are_the_same_on_every_machine():
    assert [epoch_seed(13, epoch) for epoch in range(3)] == [2293376285, 3405998857, 293663143]
    assert epoch_seed(2**32 - 1, 2**31) < 2**32


def test_a_million_sequences_are_ordered_in_seconds():
    lengths = np.arange(1_000_000) % 97 + 1
    start = time.perf_counter()
    order = Ordering("laplace", part_size=1000).of_epoch(lengths, 13, 0)
    assert time.perf_counter() - start < 10
    assert len(order) == 1_000_000
