"""Models that are worth searching, and how their answers are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import settings

from s2s_algo.decoding.beam_search import BeamSearch, Hypothesis, Sentence
from s2s_algo.decoding.ranking import LengthPenalty, Ranking
from s2s_algo.model.config import ModelConfig
from s2s_algo.model.inference import RankingRule
from s2s_algo.model.seq2seq import Seq2Seq
from tests.unit.decoding.oracle import BOS, EOS, PAD, PlainHypothesis, score
from tests.unit.small_model import small_model

# The examples are always the same, for in rare ones float32 orders two hypotheses the other way than float64.
same_examples = settings(deadline=None, derandomize=True, max_examples=60)

TOLERANCE = 3e-5


def batch(
    model: Seq2Seq,
    beam_size: int = 5,
    alpha: float = 1.0,
    beta: float = 0.0,
    rule: RankingRule = "normalized",
    places: int = 10,
    width: int = 16,
    with_attention: bool = True,
) -> BeamSearch:
    """An empty batch."""
    return BeamSearch(
        model,
        bos_id=BOS,
        eos_id=EOS,
        beam_size=beam_size,
        ranking=Ranking(LengthPenalty(alpha, beta), rule),
        places=places,
        width=width,
        with_attention=with_attention,
    )


def search(
    model: Seq2Seq,
    sources: Sequence[Sequence[int]],
    limits: Sequence[int],
    beam_size: int = 5,
    alpha: float = 1.0,
    beta: float = 0.0,
    n_best: int = 1,
    rule: RankingRule = "normalized",
) -> list[list[Hypothesis]]:
    """The hypotheses of sentences that enter together."""
    running = batch(model, beam_size, alpha, beta, rule, len(sources), max(map(len, sources)))
    wanted = [Sentence(source, limit, n_best) for source, limit in zip(sources, limits, strict=True)]
    running.enter(wanted)
    found = {}
    while running.sentences:
        found |= dict(running.step())
    return [found[sentence] for sentence in wanted]


def searching_model(
    config: ModelConfig | None = None,
    seed: int = 0,
    eos_bias: float = 0.0,
    pad_bias: float = -4.0,
    scale: float = 1.5,
) -> Seq2Seq:
    """A random model that is sure enough of itself to be searched; biases shift how soon it ends."""
    model = small_model(config, seed, scale)
    with torch.no_grad():
        model.output_layer.bias[EOS] += eos_bias
        model.output_layer.bias[PAD] += pad_bias
    return model


def endless_model(config: ModelConfig | None = None, seed: int = 0) -> Seq2Seq:
    """A model whose sentences end at their limits alone."""
    return searching_model(config, seed, eos_bias=-60.0, pad_bias=-60.0)


def approx(score: float) -> object:
    """As near as float32 can be expected to come where numbers are large."""
    return pytest.approx(score, abs=TOLERANCE, rel=TOLERANCE)


def check_hypothesis(
    ours: Hypothesis,
    plain: PlainHypothesis,
    source_length: int,
    alpha: float,
    beta: float,
    rule: RankingRule = "normalized",
) -> None:
    """Fails unless a hypothesis is that of the plain search."""
    assert ours.token_ids.tolist() == plain.real_tokens
    assert ours.score == approx(score(plain, alpha, beta, rule))
    expected = np.array(plain.attention)[: len(plain.real_tokens)].reshape(-1, source_length)
    np.testing.assert_allclose(ours.attention, expected, atol=TOLERANCE)


def assert_equal(ours: Hypothesis, other: Hypothesis) -> None:
    """Fails unless two hypotheses are the same."""
    assert ours.token_ids.tolist() == other.token_ids.tolist()
    assert ours.score == approx(other.score)
    np.testing.assert_allclose(ours.attention, other.attention, atol=TOLERANCE)
