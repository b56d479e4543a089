"""Scores of whole translations from those of their pieces, and of hypotheses that are worth nothing."""

import math

import pytest
import torch

from s2s_algo.decoding.ranking import LengthPenalty, PieceScore, Ranking

PIECES = [PieceScore(1.0, 4, 3), PieceScore(2.0, 3, 2)]


@pytest.mark.parametrize(
    ("rule", "score"),
    [
        # Tokens and <s> of each piece, by those of the whole, in which only the last </s> is left.
        ("normalized", (1.0 * 5 + 2.0 * 4) / 7),
        ("normalized_at_end", (1.0 * 4 + 2.0 * 3) / 6),
        ("normalized_at_end_without_eos", (1.0 * 4 + 2.0 * 3) / 6),
    ],
)
def test_pieces_count_by_their_length_as_the_rule_measures_it(rule, score):
    assert Ranking(LengthPenalty(), rule).joined(PIECES) == pytest.approx(score)


@pytest.mark.parametrize("rule", ["normalized", "normalized_at_end", "normalized_at_end_without_eos"])
def test_without_penalty_scores_add_up(rule):
    assert Ranking(LengthPenalty(alpha=0), rule).joined(PIECES) == pytest.approx(3)


def test_pieces_without_a_token_have_no_finite_score():
    ranking = Ranking(LengthPenalty(), "normalized_at_end_without_eos")
    assert ranking.joined([PieceScore(math.inf, 0, 0), PieceScore(1.0, 0, 0)]) == math.inf


def test_a_hypothesis_of_nothing_loses_even_if_it_cost_nothing():
    ranking = Ranking(LengthPenalty(), "normalized_at_end_without_eos")
    ended = ranking.ended(torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([[1, 1, 2]]))
    assert ended.tolist() == [[math.inf, math.inf, 3.0]]
