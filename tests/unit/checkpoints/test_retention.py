"""Which checkpoints are kept."""

import pytest

from s2s_algo.checkpoints.retention import to_keep


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
