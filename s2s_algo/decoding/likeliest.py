"""The likeliest next tokens out of logits, and how surprising each of them is."""

from __future__ import annotations

import torch
from torch import Tensor

from s2s_algo.model.fast_paths import has_fast_likeliest

# Logits of which only the largest is looked at first.
_BLOCK = 64
# With fewer blocks than this for each token that is wanted, it is not worth it.
_WORTHWHILE = 4


def likeliest(logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The likeliest tokens of each row, the first one first.

    Args:
        logits: float [N, V]; may be overwritten.
        number: K, how many are wanted.

    Returns:
        Their negative log-probabilities, float [N, K], and the tokens, int64 [N, K].
    """
    is_fast = has_fast_likeliest(logits.device) and logits.shape[1] >= _WORTHWHILE * _BLOCK * number
    return _blockwise(logits, number) if is_fast else plain_likeliest(logits, number)


def plain_likeliest(logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The same."""
    largest, words = logits.topk(number)
    return logits.logsumexp(-1, keepdim=True) - largest, words


def _blockwise(logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
    rows, size = logits.shape
    whole = size - size % _BLOCK
    # (1) The K largest are in the K blocks with the largest maxima, or behind the last whole block.
    blocks = logits[:, :whole].view(rows, -1, _BLOCK)
    promising = blocks.amax(2).topk(number, sorted=False)[1][:, :, None]
    inside = blocks.gather(1, promising.expand(-1, -1, _BLOCK)).flatten(1)
    largest, places = torch.cat([inside, logits[:, whole:]], 1).topk(number)
    # (2) Their tokens.
    first = (promising * _BLOCK).flatten(1).gather(1, (places // _BLOCK).clamp_(max=number - 1))
    is_inside = places < number * _BLOCK
    words = torch.where(is_inside, first + places % _BLOCK, places + (whole - number * _BLOCK))
    # (3) ln Σ exp(x) is the largest logit less the logarithm of its probability.
    torch.softmax(logits, 1, out=logits)
    normalizer = largest[:, :1] - logits.gather(1, words[:, :1]).log_()
    return normalizer - largest, words
