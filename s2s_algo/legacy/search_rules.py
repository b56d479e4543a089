"""How a version of Sockeye 1 would have translated with a model: limits, ranking, end of the source.

The version is what the model's file ``version`` says. Where one number stands for two behaviours, the configuration
tells which.
"""

from __future__ import annotations

from dataclasses import dataclass

from s2s_algo.model.inference import InferenceConfig, RankingRule
from s2s_algo.model.limits import LengthLimits, longest_ratio, longest_source

Version = tuple[int, ...]

# What the command line of all versions had.
_BEAM_SIZE = 5

# Before length ratios were measured, a translation could have twice the tokens of its source, and <s>.
_UNMEASURED_RATIO = 2.0

# Keeps a hostile configuration from asking for endless translations; as long as the longest target a job may have.
_MOST_OUTPUT = 100_000


@dataclass(frozen=True, slots=True)
class LengthFacts:
    """What a configuration says about lengths.

    Attributes:
        ratio_mean: Mean of target length / source length in training; ``None`` if it was not measured.
        ratio_std: Its standard deviation.
        longest_source: Longest source seen in training, tokens; where that was not noted, the limit of training.
        source_positions: Rows of a learned position table of the encoder, if it has one.
        target_positions: Rows of a learned position table of the decoder, if it has one.
        source_with_eos: Whether ``</s>`` was put behind every source; the lengths above count it.
        has_data_statistics: Whether the statistics have a section of their own (so since the release 1.15.6).
    """

    ratio_mean: float | None
    ratio_std: float | None
    longest_source: int
    source_positions: int | None
    target_positions: int | None
    source_with_eos: bool
    has_data_statistics: bool


def inference_config(version: Version, facts: LengthFacts) -> InferenceConfig:
    """The search defaults that give the translations of that version, one sentence at a time."""
    measured = facts.ratio_mean is not None
    # The release 1.15.6, whose file says 1.15.5, counts neither <s> nor </s> in the ratio and adds them as slots.
    counts_words = facts.has_data_statistics or version >= (1, 15, 6)
    mean = facts.ratio_mean if facts.ratio_mean is not None else _UNMEASURED_RATIO
    std = facts.ratio_std or 0.0
    spare_slots = 2 if counts_words else 0 if measured else 1
    return InferenceConfig(
        beam_size=_BEAM_SIZE,
        limits=LengthLimits(
            max_input_length=_max_input_length(version, facts, longest_ratio(mean, std), counts_words),
            ratio_mean=mean,
            ratio_std=std,
            max_output_length=facts.target_positions or _MOST_OUTPUT,
            source_step=1 if (1, 18, 30) <= version < (1, 18, 37) else 10,
            spare_slots=spare_slots,
        ),
        ranking=_ranking(version),
        source_eos=facts.source_with_eos,
        cuts_sources=version < (1, 8, 1),
    )


def _max_input_length(version: Version, facts: LengthFacts, ratio: float, counts_words: bool) -> int:
    readable = facts.source_positions or facts.longest_source
    if version >= (1, 8) and facts.target_positions is not None:
        # The release 1.15.6 forgot the two slots it had added and could not load some of its models; 1.15.8 mended it.
        room = facts.target_positions - (2 if counts_words else 0)
        readable = longest_source(readable, ratio, room)
    # A piece has at least one word, whatever else it has.
    return max(readable, 1 + int(facts.source_with_eos))


def _ranking(version: Version) -> RankingRule:
    if version < (1, 18, 9):
        return "normalized"
    return "normalized_at_end" if version < (1, 18, 42) else "normalized_at_end_without_eos"
