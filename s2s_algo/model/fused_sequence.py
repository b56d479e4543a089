"""A recurrent layer over sentences of different lengths as one operation of autograd.

Its plain twins are torch's ``nn.LSTM`` and ``nn.GRU``, whose parameters it takes. It reads real tokens alone, and on
CPUs its products are faster than those of torch's layers.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from s2s_algo.model.config import CellType
from s2s_algo.model.fused_cells import STEPS, Kept
from s2s_algo.model.products import once, product_dtype, weight_gradient
from s2s_algo.model.steps import Steps


def read(layer: nn.LSTM | nn.GRU, cell_type: CellType, steps: Steps, inputs: Tensor) -> Tensor:
    """The outputs of all rows, float [N, H], of inputs float [N, I], from states of zeros."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = [cast(Tensor, getattr(layer, name)) for name in names]
    inputs = inputs.to(weights[0].dtype)
    outputs: Tensor = _Sequence.apply(cell_type, steps, product_dtype(), inputs, *weights)  # type: ignore[no-untyped-call]
    return outputs


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cell_type: CellType,
        steps: Steps,
        dtype: torch.dtype,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
    ) -> Tensor:
        kept: Kept = {}
        cell = STEPS[cell_type](weight_hh, bias_hh, kept, dtype)
        with torch.autocast("cpu", enabled=False):
            zeros = inputs.new_zeros(len(steps.order), cell.hidden_size)
            cell.begin(once(inputs, weight_ih, bias_ih, dtype), (zeros,) * cell.states)
            outputs = inputs.new_empty(steps.total, cell.hidden_size)
            for rows in steps.rows():
                outputs[rows] = cell.step(rows)
        ctx.shape, ctx.names = (cell_type, steps, dtype), tuple(kept)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, bias_hh, *kept.values())
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cell_type, steps, dtype = ctx.shape
        inputs, weight_ih, weight_hh, bias_hh, *kept = ctx.saved_tensors
        cell = STEPS[cell_type](weight_hh, bias_hh, dict(zip(ctx.names, kept, strict=True)), dtype)
        with torch.autocast("cpu", enabled=False):
            cell.begin_back(len(steps.order))
            for rows in reversed(list(steps.rows())):
                cell.back(rows, gradient[rows].clone())
            of_weight_hh, of_bias_hh, _ = cell.gradients()
            of_inputs = once(cell.gates, weight_ih.t(), None, dtype)
            of_weight_ih = weight_gradient(cell.gates, inputs, dtype)
            return None, None, None, of_inputs, of_weight_ih, of_weight_hh, cell.gates.sum(0), of_bias_hh
