"""How hypotheses are compared: by cost, the negative log-probability of all their tokens, and by length.

``normalized`` is the rule of new models; the others are those of later versions of the original, for models that were
made with them:

=================================  ==================================  ==================================
rule                               a hypothesis that can go on         one that ended
=================================  ==================================  ==================================
``normalized``                     cost / penalty(tokens)              cost / penalty(tokens)
``normalized_at_end``              cost                                cost / penalty(tokens)
``normalized_at_end_without_eos``  cost                                cost / penalty(tokens before </s>)
=================================  ==================================  ==================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from s2s_algo.model.inference import RankingRule

_Length = TypeVar("_Length", float, Tensor)


@dataclass(frozen=True, slots=True)
class LengthPenalty:
    """Wu et al. (2016): ((beta + n) / (beta + 1)) ** alpha for n tokens; n by default, always 1 with alpha 0."""

    alpha: float = 1.0
    beta: float = 0.0

    def __call__(self, length: _Length) -> _Length:
        """The penalty of one length or of a tensor of lengths."""
        return ((self.beta + length) / (self.beta + 1)) ** self.alpha


@dataclass(frozen=True, slots=True)
class PieceScore:
    """What the score of a joined translation takes from one of its pieces.

    Attributes:
        score: Its score.
        tokens: Its generated tokens, ``</s>`` included.
        words: Its tokens other than ``</s>``.
    """

    score: float
    tokens: int
    words: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """A rule with its length penalty; the lower a score, the better."""

    penalty: LengthPenalty
    rule: RankingRule = "normalized"

    def going_on(self, cost: Tensor, tokens: Tensor) -> Tensor:
        """Scores of hypotheses as they compete while they grow; also of those that end at this very step.

        Args:
            cost: float [B, K, V] or [B, K].
            tokens: Generated tokens, of a shape that broadcasts.
        """
        return cost / self.penalty(tokens.to(cost.dtype)) if self.rule == "normalized" else cost

    def ended(self, cost: Tensor, tokens: Tensor) -> Tensor:
        """Scores of hypotheses that have ended.

        With nothing before ``</s>`` the last rule divides by 0: such a hypothesis loses against every other.

        Args:
            cost: float [B, K].
            tokens: int64 [B, K], generated tokens, ``</s>`` included.
        """
        without_eos = self.rule == "normalized_at_end_without_eos"
        return (cost / self.penalty((tokens - int(without_eos)).to(cost.dtype))).nan_to_num(torch.inf, torch.inf)

    def settled(self, score: Tensor, ended: Tensor, cost: Tensor, tokens: Tensor) -> Tensor:
        """Scores that hypotheses keep, of those with which they have won a step.

        Args:
            score: float [B, K], with which they have won, all treated as if they went on.
            ended: bool [B, K].
            cost: float [B, K].
            tokens: int64 [B, K], generated tokens, ``</s>`` included.
        """
        return score if self.rule == "normalized" else torch.where(ended, self.ended(cost, tokens), score)

    def joined(self, pieces: Sequence[PieceScore]) -> float:
        """The score of a translation from those of its pieces, each weighted with its length.

        Which tokens a length counts is the original's habit: ``<s>`` in all but the last rule, ``</s>`` in all but the
        middle one, where of the whole only the last piece's stays.
        """
        with_eos = self.rule != "normalized_at_end"
        with_bos = self.rule != "normalized_at_end_without_eos"
        lengths = [int(with_bos) + (piece.tokens if with_eos else piece.words) for piece in pieces]
        last = pieces[-1].tokens if with_eos else pieces[-1].words
        total = int(with_bos) + sum(piece.words for piece in pieces[:-1]) + last
        weighted = (piece.score * self.penalty(float(n)) for piece, n in zip(pieces, lengths, strict=True))
        whole = self.penalty(float(total))
        return sum(weighted) / whole if whole else math.inf
