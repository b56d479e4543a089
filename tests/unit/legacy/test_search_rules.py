"""The search rules of all versions: a row of the table per behaviour, on both sides of each change."""

import pytest

from s2s_algo.legacy.search_rules import LengthFacts, inference_config

# mean + 2 deviations is 1.5.
RNN = LengthFacts(1.2, 0.15, 25, None, None, source_with_eos=False, has_data_statistics=False)


def facts(**changes):
    return LengthFacts(**{name: getattr(RNN, name) for name in RNN.__dataclass_fields__} | changes)


def rules(version, **changes):
    version = tuple(map(int, version.split(".")))
    measured = version >= (1, 6, 1)
    usual = {"has_data_statistics": version >= (1, 15, 6)}
    if not measured:
        usual |= {"ratio_mean": None, "ratio_std": None}
    return inference_config(version, facts(**(usual | changes)))


@pytest.mark.parametrize(
    ("version", "limits"),
    [
        # Of sources of 1, 10, 11 and 25 tokens.
        ("1.0.0", [20, 20, 40, 50]),
        ("1.6.0", [20, 20, 40, 50]),
        ("1.6.1", [14, 14, 29, 37]),
        ("1.15.5", [14, 14, 29, 37]),
        ("1.15.6", [16, 16, 31, 39]),
        ("1.18.29", [16, 16, 31, 39]),
        ("1.18.30", [3, 16, 18, 39]),
        ("1.18.36", [3, 16, 18, 39]),
        ("1.18.37", [16, 16, 31, 39]),
        ("1.18.115", [16, 16, 31, 39]),
    ],
)
def test_the_output_limit_is_that_of_the_version(version, limits):
    found = rules(version).limits
    assert [found.output_limit(length) for length in (1, 10, 11, 25)] == limits


def test_a_section_of_statistics_says_more_than_the_version():
    assert rules("1.15.5", has_data_statistics=True).limits.spare_slots == 2


@pytest.mark.parametrize(
    ("version", "ranking"),
    [
        ("1.0.0", "normalized"),
        ("1.18.8", "normalized"),
        ("1.18.9", "normalized_at_end"),
        ("1.18.41", "normalized_at_end"),
        ("1.18.42", "normalized_at_end_without_eos"),
        ("1.18.115", "normalized_at_end_without_eos"),
    ],
)
def test_the_ranking_is_that_of_the_version(version, ranking):
    assert rules(version).ranking == ranking


@pytest.mark.parametrize(("version", "cuts"), [("1.0.0", True), ("1.8.0", True), ("1.8.1", False), ("1.18.115", False)])
def test_old_versions_cut_long_sources(version, cuts):
    assert rules(version).cuts_sources == cuts


@pytest.mark.parametrize(
    ("version", "tables", "longest"),
    [
        ("1.10.5", (None, None), 25),
        # The encoder's table counts even if no source was so long.
        ("1.10.5", (40, None), 40),
        ("1.10.5", (20, None), 20),
        # As many tokens as the decoder has positions for, times 1.5.
        ("1.10.5", (None, 40), 25),
        ("1.10.5", (None, 38), 25),
        ("1.10.5", (None, 37), 24),
        ("1.10.5", (20, 20), 13),
        # Two of them are for <s> and </s>.
        ("1.15.8", (None, 40), 25),
        ("1.15.8", (None, 39), 24),
        ("1.15.8", (20, 20), 12),
        ("1.15.6", (20, 20), 12),
        # Nobody looked at them before there were any.
        ("1.7.1", (20, 20), 20),
    ],
)
def test_the_longest_source_is_that_of_the_version(version, tables, longest):
    source, target = tables
    limits = rules(version, source_positions=source, target_positions=target).limits
    assert limits.max_input_length == longest
    assert limits.output_limit(longest) <= (target or 10**5)


def test_a_piece_has_at_least_one_word():
    assert rules("1.10.5", source_positions=9, target_positions=1).limits.max_input_length == 1
    found = rules("1.18.12", target_positions=3, source_with_eos=True)
    assert (found.limits.max_input_length, found.source_eos) == (2, True)


def test_no_configuration_asks_for_endless_translations():
    assert rules("1.10.5", ratio_mean=1e300).limits.output_limit(1) == 100_000
    assert rules("1.10.5", ratio_mean=1e300, target_positions=7).limits.output_limit(1) == 7
