"""Which checkpoints are kept."""

import pytest

from s2s_algo.checkpoints.retention import Evaluated, Retention, to_keep


@pytest.mark.parametrize(
    ("stored", "best", "kept"),
    [
        ([], 0, set()),
        ([5], 5, {5}),
        ([5, 10], 5, {5, 10}),
        ([5, 10, 15], 15, {10, 15}),
        ([5, 10, 15], 10, {10, 15}),
        ([5, 10, 15], 5, {5, 10, 15}),
        ([5, 10, 15, 20], 5, {5, 15, 20}),
        ([5, 10, 15, 20], 0, {15, 20}),
    ],
)
def test_the_last_two_and_the_best_are_kept(stored, best, kept):
    assert to_keep(stored, best) & set(stored) == kept


# Costs of the checkpoints 1 to 8; the best are 3, 5 and 7, and 2 and 6 are equal.
COSTS = [9.0, 5.0, 1.0, 8.0, 2.0, 5.0, 3.0, 7.0]
EVALUATED = [Evaluated(100 * number, number, cost) for number, cost in enumerate(COSTS, start=1)]


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (Retention(1, 0, frozenset()), {3, 8}),
        (Retention(3, 0, frozenset()), {3, 6, 7, 8}),
        (Retention(99, 0, frozenset()), {1, 2, 3, 4, 5, 6, 7, 8}),
        (Retention(1, 1, frozenset()), {3, 8}),
        (Retention(1, 3, frozenset()), {3, 5, 7, 8}),
        (Retention(1, 4, frozenset()), {2, 3, 5, 7, 8}),  # of equal ones the earlier
        (Retention(1, 0, frozenset({1, 4, 50})), {1, 3, 4, 8}),
        (Retention(2, 2, frozenset({1})), {1, 3, 5, 7, 8}),
    ],
)
def test_the_last_the_best_and_those_of_given_numbers_are_kept(retention, kept):
    assert retention.to_keep(EVALUATED, resume=800, best=300) == {100 * number for number in kept}


def test_the_one_to_go_on_from_and_the_best_are_always_kept():
    # Stopped after 850 updates, without an evaluation there.
    assert Retention(1, 0, frozenset()).to_keep(EVALUATED, resume=850, best=100) == {100, 800, 850}
    assert Retention().to_keep([], resume=5, best=0) == {0, 5}
