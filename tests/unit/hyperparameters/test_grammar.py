import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.hyperparameters import grammar

PARSERS = (grammar.integer, grammar.number, grammar.boolean, grammar.text)
BLANKS = st.text(" \t\r\n", max_size=3)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.integers(), BLANKS, BLANKS)
def test_integers_are_read_back_with_and_without_blanks_quotes_and_sign(value, before, after):
    assert grammar.integer(f"{before}{value}{after}") == value
    assert grammar.integer(f'{before}"{value}"{after}') == value
    assert grammar.integer(value) == value
    if value >= 0:
        assert grammar.integer(f"+{value}") == value


@given(FINITE, BLANKS, BLANKS)
def test_finite_floats_are_read_back_exactly(value, before, after):
    assert grammar.number(f"{before}{value!r}{after}") == value
    assert grammar.number(f'"{value:.17E}"') == value
    assert grammar.number(value) == value


@given(st.integers(-(2**53), 2**53))
def test_an_integer_is_a_fine_number(value):
    assert grammar.number(value) == value
    assert type(grammar.number(value)) is float
    assert grammar.number(str(value)) == value


@given(st.booleans(), st.data())
def test_booleans_are_read_in_any_case(value, data):
    letters = [data.draw(st.sampled_from([letter, letter.upper()])) for letter in str(value).lower()]
    assert grammar.boolean("".join(letters)) is value
    assert grammar.boolean(f'"{"".join(letters)}"') is value
    assert grammar.boolean(value) is value


@given(st.integers() | FINITE | st.booleans())
def test_what_is_written_is_read_back(value):
    parse = {int: grammar.integer, float: grammar.number, bool: grammar.boolean}[type(value)]
    assert parse(grammar.written(value)) == value


@given(JSON)
def test_any_json_value_is_read_or_refused_with_a_value_error(value):
    for parse in PARSERS:
        try:
            parsed = parse(value)
        except ValueError:
            continue
        assert type(parsed) is {"integer": int, "number": float, "boolean": bool, "text": str}[parse.__name__]
        assert not isinstance(parsed, float) or math.isfinite(parsed)


@given(st.text())
def test_only_ascii_digits_with_a_sign_are_an_integer(text):
    stripped = text.strip()
    digits = stripped[1:] if stripped[:1] in ("+", "-") else stripped
    is_integer = digits != "" and all(character in "0123456789" for character in digits)
    if is_integer:
        assert grammar.integer(text) == int(stripped)
    elif '"' not in text:
        with pytest.raises(ValueError, match="not an integer"):
            grammar.integer(text)


@pytest.mark.parametrize(
    "value",
    [
        "64.0", "64.", "1e3", "1_000", "0x40", "0b1", "1 000", "1,000", "--1", "+-1", "+", "-", "", " ", "64\x00",
        "\u0666\u0664", "\uff16\uff14", "\u00b2", "\u2167",  # Arabic, full-width, superscript and Roman digits
        "true", "None", "inf", "'64'", '""64""', '"64', '64"', '" 64"', '"\\"64\\""', "[64]", 64.0, 64.5,
        True, False, None, [], [64], {}, {"value": 64},
    ],
)  # fmt: skip
def test_not_an_integer(value):
    with pytest.raises(ValueError, match="not an integer"):
        grammar.integer(value)


@pytest.mark.parametrize(
    "value",
    [
        "nan", "NaN", "inf", "-inf", "Infinity", "1e999", "-1e999", "1_0.5", "1_0", "0x1p3", "1,5", ".", "e5", "1e",
        "1e+", "1.2.3", "1 .5", "\u0660.\u0665", "", "true", "None", "1/2", "50%", True, False, None, [0.5], {},
        float("nan"), float("inf"), 10**400, "9" * 400,
    ],
)  # fmt: skip
def test_not_a_finite_number(value):
    with pytest.raises(ValueError, match=r"not a (finite )?number"):
        grammar.number(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.0003", 0.0003),
        ("3E-4", 0.0003),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("-0", 0.0),
        ("1e-400", 0.0),
        ("\t1e+2\n", 100.0),
    ],
)
def test_ways_to_write_a_number(text, value):
    assert grammar.number(text) == value


@pytest.mark.parametrize(
    "value", ["1", "0", "yes", "no", "on", "t", "fal\u017fe", "", "None", "'true'", 1, 0, 1.0, None, []]
)
def test_not_a_boolean(value):
    with pytest.raises(ValueError, match="not a boolean"):
        grammar.boolean(value)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("rnn", "rnn"),
        ("  rnn\n", "rnn"),
        ('"rnn"', "rnn"),
        (' "rnn" ', "rnn"),
        ('"\\u0072nn"', "rnn"),
        ('"\\"rnn\\""', '"rnn"'),  # one pair only
        ('"rnn', '"rnn'),
        ('"r"nn"', '"r"nn"'),
        ("'rnn'", "'rnn'"),
        ('"', '"'),
        ('""', ""),
    ],
)
def test_one_pair_of_json_quotes_is_removed(written, read):
    assert grammar.text(written) == read


@pytest.mark.parametrize("value", [1, 1.0, True, None, ["rnn"], {"rnn": 1}])
def test_not_a_text(value):
    with pytest.raises(ValueError, match="not a text"):
        grammar.text(value)


@pytest.mark.parametrize("value", [None, "", "  ", "None", "none", "NONE", " None ", "null", '"None"', '""', '"null"'])
def test_means_not_passed(value):
    assert grammar.means_not_passed(value)


@pytest.mark.parametrize("value", [0, False, "0", "false", "nil", "NULL", "nan", "None.", [], {}])
def test_does_not_mean_not_passed(value):
    assert not grammar.means_not_passed(value)


def test_digits_beyond_what_python_converts_are_refused_without_delay():
    refused = sys.get_int_max_str_digits() + 1
    for value in ("9" * refused, "-" + "9" * refused, "9" * 1_000_000):
        with pytest.raises(ValueError, match="digits"):
            grammar.integer(value)


def test_leading_zeros_do_not_count():
    assert grammar.integer("0" * 10_000 + "64") == 64
    assert grammar.integer("-007") == -7
    assert grammar.integer("000") == 0


def test_hostile_texts_are_refused_in_linear_time():
    for text in ("1" * 100_000 + "x", "0" * 100_000 + "x", "1." + "1" * 100_000 + "x", " " * 100_000 + "x"):
        for parse in (grammar.integer, grammar.number):
            with pytest.raises(ValueError, match="not a"):
                parse(text)
