"""What convolutions see of tokens that stand one after the other, without padding.

The plain twin is ``cut_windows``, which also cuts windows of padding: a quarter of all, in usual batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s_algo.model.steps import Tokens


def windows(rows: Tensor, tokens: Tokens, before: int, after: int) -> Tensor:
    """What each token sees of its neighbours; beyond both ends of its sentence there are zeros.

    Args:
        rows: float [N, H].
        tokens: Which N these are.
        before: Neighbours before each token.
        after: Neighbours after it.

    Returns:
        float [N, H, W] with W = before + 1 + after.
    """
    shifts = torch.arange(-before, after + 1, device=rows.device)
    is_there = (tokens.place[:, None] >= -shifts) & (tokens.left[:, None] >= shifts)
    found: Tensor = _Windows.apply(rows, is_there, before)  # type: ignore[no-untyped-call]
    return found


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, is_there: Tensor, before: int) -> Tensor:
        ctx.save_for_backward(is_there)
        ctx.before = before
        found, nothing = rows.new_zeros(*rows.shape, is_there.shape[1]), rows.new_zeros(())
        for column, seeing, seen in _columns(is_there, before):
            # Not a product with 0, which numbers that are not finite would survive.
            torch.where(is_there[seeing, column, None], rows[seen], nothing, out=found[seeing, :, column])
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (is_there,) = ctx.saved_tensors
        of_rows = gradient.new_zeros(gradient.shape[:2])
        factors = is_there.to(gradient.dtype)
        for column, seeing, seen in _columns(is_there, ctx.before):
            of_rows[seen].addcmul_(gradient[seeing, :, column], factors[seeing, column, None])
        return of_rows, None, None


def _columns(is_there: Tensor, before: int) -> Iterator[tuple[int, slice, slice]]:
    """The columns of windows, each with the rows that see something in it, and those that they see."""
    number, width = is_there.shape
    for column in range(width):
        shift = column - before
        first, end = min(number, max(0, -shift)), max(0, number - max(0, shift))
        if first < end:
            yield column, slice(first, end), slice(first + shift, end + shift)
