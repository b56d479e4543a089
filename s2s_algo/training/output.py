"""The output layer and the cross-entropy as one operation of autograd, a few rows at a time.

The plain twin is ``plain_cross_entropy``. A vocabulary is large: written out, the probabilities are computed once, in
the memory of the logits, and become the gradient there, which has done its work before the next rows come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from s2s_algo.model.products import Weight, add_weight_gradient, product_dtype

# Rows at a time: enough for full speed, and few enough that their probabilities stay near the processor.
ROWS = 256


@dataclass(frozen=True, slots=True)
class Scored:
    """What a batch's labels cost.

    Attributes:
        loss: The mean over all rows, a scalar with gradient.
        negative_log_likelihood: float [N], in nats, without smoothing.
        correct: int64, a scalar: rows whose label is the first of the most probable tokens.
    """

    loss: Tensor
    negative_log_likelihood: Tensor
    correct: Tensor


def plain_cross_entropy(layer: nn.Linear, rows: Tensor, labels: Tensor, smoothing: float) -> Scored:
    """Scores labels.

    Args:
        layer: From H to V numbers.
        rows: float [N, H].
        labels: int64 [N].
        smoothing: Probability that the loss asks for all tokens but the right one, in equal parts.
    """
    logits = layer(rows)
    per_token = functional.cross_entropy(logits.float(), labels, reduction="none")
    likelihood, correct = per_token.detach(), (logits.detach().argmax(-1) == labels).sum()
    if smoothing:
        share = _share(smoothing, logits.shape[-1])
        over_all = -logits.float().log_softmax(-1).mean(-1)
        per_token = (1 - share) * per_token + share * over_all
    return Scored(per_token.mean(), likelihood, correct)


def fused_cross_entropy(layer: nn.Linear, rows: Tensor, labels: Tensor, smoothing: float) -> Scored:
    """The same, faster and in less memory."""
    share = _share(smoothing, layer.out_features)
    with_gradient = torch.is_grad_enabled()
    found = _CrossEntropy.apply(rows, layer.weight, layer.bias, labels, share, product_dtype(), with_gradient)  # type: ignore[no-untyped-call]
    return Scored(*found)


def _share(smoothing: float, vocabulary: int) -> float:
    """What the loss asks for of all tokens in equal parts, the right one included."""
    return smoothing * vocabulary / (vocabulary - 1)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor,
        labels: Tensor,
        share: float,
        dtype: torch.dtype,
        with_gradient: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast("cpu", enabled=False):
            passes = _Pass(rows.float(), weight, bias, share, dtype, with_gradient)
            for start in range(0, len(rows), ROWS):
                passes.read(slice(start, min(start + ROWS, len(rows))), labels[start : start + ROWS])
        ctx.gradients = (passes.of_rows.to(rows.dtype), passes.of_weight, passes.of_bias) if with_gradient else None
        ctx.mark_non_differentiable(passes.likelihood, passes.correct)
        loss = torch.lerp(passes.likelihood, passes.over_all, share) if share else passes.likelihood
        return loss.mean(), passes.likelihood, passes.correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("a loss has one backward pass, which uses its gradients up")
        gradients, ctx.gradients = ctx.gradients, None
        if gradient != 1:
            torch._foreach_mul_(gradients, gradient)
        return *gradients, None, None, None, None


class _Pass:
    """A pass over all rows.

    Attributes:
        likelihood, over_all: float [N], the negative log-likelihood of the label, and its mean over all tokens.
        correct: See ``Scored``.
        of_rows, of_weight, of_bias: Gradients of the mean loss; nothing if there is none.
    """

    def __init__(
        self, rows: Tensor, weight: Tensor, bias: Tensor, share: float, dtype: torch.dtype, with_gradient: bool
    ) -> None:
        self.rows, self.bias, self.share = rows, bias, share
        self._weight = Weight(weight, dtype)
        self.likelihood, self.over_all = rows.new_empty(2, len(rows))
        self.correct = torch.zeros((), dtype=torch.int64, device=rows.device)
        self._with_gradient = with_gradient
        if with_gradient:
            self.of_rows, self.of_bias = torch.empty_like(rows), torch.zeros_like(bias)
            self.of_weight = torch.zeros_like(weight)

    def read(self, part: slice, labels: Tensor) -> None:
        """Scores some rows and adds to the gradients."""
        rows, labels = self.rows[part], labels[:, None]
        logits = self._weight.times(rows, self.bias)
        # (1) Scores. ln Σ exp(x) is the largest logit less the logarithm of its probability.
        label_logits = logits.gather(1, labels)
        largest = logits.amax(1, keepdim=True)
        self.correct += _count_firsts(logits, largest, labels, label_logits)
        if self.share:
            mean = logits.mean(1)
        torch.softmax(logits, 1, out=logits)
        normalizer = largest - logits.amax(1, keepdim=True).log_()
        torch.sub(normalizer, label_logits, out=self.likelihood[part, None])
        if self.share:
            torch.sub(normalizer[:, 0], mean, out=self.over_all[part])
        if not self._with_gradient:
            return
        # (2) The gradient of the logits is the probabilities less those asked for.
        logits.scatter_add_(1, labels, torch.full_like(label_logits, self.share - 1))
        if self.share:
            logits -= self.share / logits.shape[1]
        number = len(self.rows)
        self.of_bias.add_(logits.sum(0), alpha=1 / number)
        torch.div(self._weight.back(logits), number, out=self.of_rows[part])
        add_weight_gradient(self.of_weight, logits, rows / number, self._weight.dtype)


def _count_firsts(logits: Tensor, largest: Tensor, labels: Tensor, label_logits: Tensor) -> Tensor:
    """Rows whose label is the first of the largest logits; a full search for it takes several times as long."""
    is_largest = (label_logits == largest)[:, 0]
    several = torch.eq(logits, largest, out=torch.empty_like(logits)).sum(1) > 1
    doubtful = is_largest & several
    if not doubtful.any():
        return is_largest.sum()
    return (is_largest & ~several).sum() + (logits[doubtful].argmax(1) == labels[doubtful, 0]).sum()
