import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.scoring import edit_distance, judge, score

SEQUENCES = st.lists(st.sampled_from("abc"), max_size=6)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("", "", 0), ("abc", "abc", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)],
)
def test_edit_distance_counts_insertions_deletions_and_replacements(first, second, distance):
    assert edit_distance(first, second) == distance


@given(SEQUENCES, SEQUENCES, SEQUENCES)
def test_edit_distance_is_a_metric(a, b, c):
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def test_any_accepted_pronunciation_counts_as_right():
    assert judge("T AH M EY T OW", ["T AH M AA T OW", "T AH M EY T OW"]).right


def test_stress_is_ignored_on_both_sides():
    assert judge("HH AH0 L OW1", ["HH AH1 L OW2"]).right


def test_a_wrong_prediction_is_compared_with_the_closest_reference():
    verdict = judge("K AE T", ["D AO G", "K AE T S"])
    assert verdict.reference == "K AE T S"
    assert verdict.errors == 1
    assert not verdict.right


def test_an_empty_prediction_misses_every_phoneme():
    assert judge("", ["K AE T"]).errors == 3


def test_the_score_counts_words_and_phonemes():
    result = score(
        {"cat": "K AE T", "dog": "D AA G Z", "a": ""}, {"cat": ["K AE T"], "dog": ["D AO G"], "a": ["AH", "EY"]}
    )
    assert (result.words, result.right_words) == (3, 1)
    assert result.accuracy == pytest.approx(1 / 3)
    assert (result.phoneme_errors, result.phonemes) == (3, 7)
    assert result.phoneme_error_rate == pytest.approx(3 / 7)


def test_a_word_without_prediction_is_an_error_and_not_left_out():
    with pytest.raises(KeyError, match="dog"):
        score({}, {"dog": ["D AO G"]})
