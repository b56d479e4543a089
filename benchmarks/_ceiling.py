"""What the machine's matrix products allow: how fast they are, and how many operations of them a task needs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from s2s_algo.model.seq2seq import Seq2Seq

_SQUARE = 2048


def ceiling(dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """Operations per second of large square products.

    Args:
        dtype: Of the numbers that are multiplied.
        clock: In seconds.
    """
    left, right = torch.randn(2, _SQUARE, _SQUARE).to(dtype)
    product = torch.ops.mkldnn._linear_pointwise if torch.backends.mkldnn.is_available() else None
    times = []
    for _ in range(4):
        began = clock()
        if product is None:
            left @ right
        else:
            product(left, right, None, "none", [], "")
        times.append(clock() - began)
    return 2 * _SQUARE**3 / min(times)


def operations(model: Seq2Seq, sentences: int, source: int, target: int) -> float:
    """Of the products with weights that a forward pass of real tokens needs.

    Args:
        model: Whose weights; their values do not matter.
        sentences: How many.
        source: Tokens of all sources.
        target: Tokens of all targets.
    """
    count = 0.0
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and "embedding" not in name and "positions" not in name:
            of_source = name.startswith("encoder") or ".source_layer" in name
            rows = sentences if "state_layers" in name else source if of_source else target
            count += 2 * weight.numel() * rows
    return count
