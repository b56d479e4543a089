"""How long a translation may become."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from s2s_algo.model.limits import LengthLimits


def limits(mean=1.0, std=0.0, longest=100, most=10**6):
    return LengthLimits(max_input_length=longest, ratio_mean=mean, ratio_std=std, max_output_length=most)


@pytest.mark.parametrize(
    ("source_length", "bucket"), [(1, 10), (9, 10), (10, 10), (11, 20), (20, 20), (21, 30), (91, 96), (96, 96)]
)
def test_sources_share_the_limit_of_the_next_ten(source_length, bucket):
    assert limits(longest=96).output_limit(source_length) == bucket - 1


def test_the_ratio_is_the_mean_and_two_deviations():
    # The ratio statistics of a model with at most 15 slots for 10 words, one of which holds <s>.
    assert limits(1.2135238095238094, 0.1224109734810218, 10).output_limit(3) == 14
    assert limits(1.5, 0.25).output_limit(10) == 19


def test_the_cap_holds_whatever_the_ratio_says():
    assert limits(3.0, most=12).output_limit(10) == 12


@given(st.floats(0, 5), st.floats(0, 5), st.integers(1, 60), st.integers(1, 60), st.data())
def test_limits_are_at_least_one_and_grow_with_the_source(mean, std, longest, most, data):
    found = limits(mean, std, longest, most)
    lengths = sorted(data.draw(st.lists(st.integers(1, longest), min_size=1)))
    ours = [found.output_limit(length) for length in lengths]
    assert ours == sorted(ours)
    assert all(1 <= limit <= most for limit in ours)


@pytest.mark.parametrize(
    "wrong", [{"mean": -0.1}, {"std": float("nan")}, {"mean": float("inf")}, {"longest": 0}, {"most": 0}]
)
def test_impossible_limits_are_rejected(wrong):
    with pytest.raises(ValidationError):
        limits(**wrong)
