"""Cross-entropy over the real target tokens and the counts that the metrics need."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from s2s_algo.data.batches import Batch
from s2s_algo.data.vocabulary import PAD_ID
from s2s_algo.model.fast_paths import has_fused_loss
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.output import Scored, fused_cross_entropy, plain_cross_entropy

# Perplexity treats a label's probability as at least 1e-10, as the original does.
_WORST = -math.log(1e-10)


@dataclass(slots=True)
class Totals:
    """Sums over target tokens, ``</s>`` included, from which both metrics follow.

    Attributes:
        negative_log_likelihood: In nats, each token's limited to -ln 1e-10.
        correct: Tokens that were the most probable ones.
        tokens: All of them.
    """

    negative_log_likelihood: float = 0.0
    correct: int = 0
    tokens: int = 0

    def add(self, other: Totals) -> None:
        """Counts more tokens in."""
        self.negative_log_likelihood += other.negative_log_likelihood
        self.correct += other.correct
        self.tokens += other.tokens

    def numbers(self) -> tuple[float, int, int]:
        """All of them, in the order of the attributes."""
        return self.negative_log_likelihood, self.correct, self.tokens

    @property
    def perplexity(self) -> float:
        """The exponential of the mean negative log-likelihood; 1 is perfect."""
        return math.exp(self.negative_log_likelihood / max(self.tokens, 1))

    @property
    def accuracy(self) -> float:
        """Share of correct tokens."""
        return self.correct / max(self.tokens, 1)


def batch_loss(model: Seq2Seq, batch: Batch, label_smoothing: float = 0.0) -> tuple[Tensor, Totals]:
    """The mean cross-entropy per real target token of a batch.

    Args:
        model: What learns.
        batch: At least one pair.
        label_smoothing: Probability that the loss asks for all tokens but the right one, in equal parts.

    Returns:
        The loss, a scalar with gradient, and the totals of the same forward pass.
    """
    _, scored = score_labels(model, batch, label_smoothing)
    totals = Totals(
        negative_log_likelihood=scored.negative_log_likelihood.clamp(max=_WORST).sum(dtype=torch.float64).item(),
        correct=int(scored.correct),
        tokens=len(scored.negative_log_likelihood),
    )
    return scored.loss, totals


def score_labels(model: Seq2Seq, batch: Batch, label_smoothing: float = 0.0) -> tuple[Tensor, Scored]:
    """Scores the real target tokens of a batch, ``</s>`` included.

    Padding is taken out before the output layer, whose product is the largest of all.

    Args:
        model: What scores.
        batch: At least one pair.
        label_smoothing: See ``batch_loss``.

    Returns:
        int64 [N], where the N real tokens stand in the flattened [B, T], in ascending order; and what they cost.
    """
    outputs = model(batch.source, batch.source_length, batch.target_in, batch.target_length)
    real = (batch.target_label != PAD_ID).flatten().nonzero()[:, 0]
    labels = batch.target_label.flatten()[real]
    cross_entropy = fused_cross_entropy if has_fused_loss(real.device) else plain_cross_entropy
    return real, cross_entropy(model.output_layer, outputs.flatten(0, 1).index_select(0, real), labels, label_smoothing)
