"""Training pairs that are left out."""

import tracemalloc

import pytest

from s2s_algo.data.pair_filter import PairFilter, Skipped


def words(number):
    return ["w"] * number


def test_only_pairs_with_an_empty_side_are_left_out_by_default():
    pair_filter = PairFilter()
    assert pair_filter.reasons == [Skipped.EMPTY]
    assert pair_filter.reason([], words(3)) is Skipped.EMPTY
    assert pair_filter.reason(words(3), []) is Skipped.EMPTY
    assert pair_filter.reason(words(1), words(1000)) is None
    assert pair_filter.reason(words(1), words(1000)) is None


@pytest.mark.parametrize("turn", [1, -1])
def test_lengths_and_ratios_hold_for_both_sides(turn):
    pair_filter = PairFilter(max_length=9, max_ratio=2.5)
    assert pair_filter.reasons == [Skipped.EMPTY, Skipped.TOO_LONG, Skipped.UNEQUAL]

    def reason(*lengths):
        return pair_filter.reason(*map(words, lengths[::turn]))

    assert reason(9, 9) is None
    assert reason(10, 9) is Skipped.TOO_LONG
    assert reason(2, 5) is None
    assert reason(2, 6) is Skipped.UNEQUAL
    assert reason(0, 99) is Skipped.EMPTY


def test_pairs_that_were_kept_before_are_duplicates():
    pair_filter = PairFilter(max_length=2, drop_duplicates=True)
    assert pair_filter.reasons == [Skipped.EMPTY, Skipped.TOO_LONG, Skipped.DUPLICATE]
    assert pair_filter.reason(["a", "b"], ["c"]) is None
    assert pair_filter.reason(["a"], ["b", "c"]) is None
    assert pair_filter.reason(["a", "b"], ["d"]) is None
    assert pair_filter.reason(["a", "b"], ["c"]) is Skipped.DUPLICATE
    assert pair_filter.reason(words(3), ["c"]) is Skipped.TOO_LONG
    assert pair_filter.reason(words(3), ["c"]) is Skipped.TOO_LONG


def test_a_seen_pair_takes_the_same_memory_however_long_it_is():
    pair_filter = PairFilter(drop_duplicates=True)
    tracemalloc.start()
    try:
        for number in range(10_000):
            assert pair_filter.reason([str(number), *["word"] * 100], ["w"]) is None
        assert tracemalloc.get_traced_memory()[0] / 10_000 < 150
    finally:
        tracemalloc.stop()
