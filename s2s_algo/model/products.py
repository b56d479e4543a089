"""Products of rows with weights, as fast as the machine makes them.

On the CPUs where it was measured, oneDNN multiplies up to 1.8 times as fast as torch's default, and a weight that
serves many steps needs to be laid out for it only once. Its operators are private ones of torch: without them, or with
numbers that they do not know, the same products are made in the ordinary way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from s2s_algo.model.fast_paths import has_fast_linear

# Rows float32 [N, I] times a weight, and the bias added if there is one: float32 [N, O].
Product = Callable[[Tensor], Tensor]

# Rows for which oneDNN chooses the layout of a weight; it serves other numbers about as well.
_ROWS = 64

# Of large products the number of rows is a multiple of this, for each number that oneDNN meets it makes machine code.
_MULTIPLE = 32

_KNOWN = (torch.float32, torch.bfloat16)


def product_dtype() -> torch.dtype:
    """In which numbers products shall be made here: those of the enclosing autocast, or float32."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return torch.float32


def laid_out(
    weight: Tensor, bias: Tensor | None, dtype: torch.dtype, padded: Callable[[int], int] | None = None
) -> Product:
    """A product that many steps make.

    Args:
        weight: [O, I], as it is now.
        bias: [O], added.
        dtype: Of the numbers that are multiplied.
        padded: How many rows oneDNN is given in place of so many; by default no others.
    """
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    if weight.dtype != torch.float32:
        return lambda rows: functional.linear(rows, weight, bias)
    weight = weight.to(dtype)
    if not _is_for_onednn(weight):
        bias = None if bias is None else bias.to(dtype)
        return lambda rows: functional.linear(rows.to(dtype), weight, bias).float()
    layout = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    bias = None if bias is None else bias.to(dtype)

    def product(rows: Tensor) -> Tensor:
        number, rows = len(rows), rows.to(dtype)
        missing = padded(number) - number if padded else 0
        if missing:
            rows = functional.pad(rows, (0, 0, 0, missing))
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(rows, layout, bias, "none", [], "")
        return (outputs[:number] if missing else outputs).float()

    return product


def transposed(weight: Tensor) -> Tensor:
    """[I, O] of [O, I], in its own memory: the layout of a transposed view takes several times as long."""
    return weight.detach().t().contiguous()


def weight_gradient(gradient: Tensor, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient of a weight, [O, I], of all steps at once.

    Args:
        gradient: [N, O], of what the weight has made.
        inputs: [N, I], of what it has made that.
        dtype: Of the numbers that are multiplied.
    """
    if gradient.dtype == torch.float32:
        return (gradient.to(dtype).t() @ inputs.to(dtype)).float()
    return gradient.t() @ inputs


def add_weight_gradient(total: Tensor, gradient: Tensor, inputs: Tensor, dtype: torch.dtype) -> None:
    """Adds a weight gradient to what others have left, [O, I]; see ``weight_gradient``."""
    if dtype == torch.float32:
        total.addmm_(gradient.t(), inputs)
    else:
        total += weight_gradient(gradient, inputs, dtype)


def once(rows: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """A product of all rows, [N, O], of rows [N, I] and a weight [O, I] that may be a view."""
    if rows.dtype != torch.float32:
        return functional.linear(rows, weight, bias)
    return Weight(weight, dtype).times(rows, bias)


class Weight:
    """A weight that serves a few large products, for which it is not worth laying out.

    Attributes:
        dtype: Of the numbers that are multiplied.
    """

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self.dtype = dtype if weight.dtype == torch.float32 else weight.dtype
        self._result = weight.dtype
        weight = weight.detach().to(self.dtype)
        # oneDNN takes a thousand times as long with some columns of a matrix, where they lie.
        is_dense = weight.is_contiguous() or weight.t().is_contiguous()
        self._weight = weight if is_dense else weight.contiguous()

    def times(self, rows: Tensor, bias: Tensor | None) -> Tensor:
        """Products [N, O] of rows [N, I] and the bias [O]."""
        bias = None if bias is None else bias.detach().to(self.dtype)
        return self._product(rows, self._weight, bias)

    def back(self, rows: Tensor) -> Tensor:
        """Products [N, I] of rows [N, O] with the transpose."""
        return self._product(rows, self._weight.t(), None)

    def _product(self, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows, number = rows.to(self.dtype).contiguous(), len(rows)
        if self.dtype != torch.float32 or not _is_for_onednn(weight):
            # For numbers other than float32, torch's products are oneDNN's anyway.
            return functional.linear(rows, weight, bias).to(self._result)
        missing = -number % _MULTIPLE
        if missing:
            rows = functional.pad(rows, (0, 0, 0, missing))
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
        return outputs[:number]


class _Linear(torch.autograd.Function):
    """``functional.linear`` of many rows, in float32."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return once(rows, weight, bias, rows.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_weight = weight_gradient(gradient, rows, rows.dtype)
        return Weight(weight, rows.dtype).back(gradient), of_weight, gradient.sum(0)


def linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``functional.linear``, faster for whole sequences on CPUs: float [..., O] of float [..., I].

    In mixed precision, and wherever few rows are multiplied, torch's own is as good.
    """
    is_fast = has_fast_linear(inputs.device) and torch.is_grad_enabled() and inputs.dtype == torch.float32
    if not is_fast or product_dtype() != torch.float32:
        return functional.linear(inputs, weight, bias)
    outputs: Tensor = _Linear.apply(inputs.reshape(-1, inputs.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return outputs.view(*inputs.shape[:-1], len(weight))


def has_onednn(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies such numbers there."""
    return (
        device.type == "cpu"
        and dtype in _KNOWN
        and torch.backends.mkldnn.is_available()
        and (dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _is_for_onednn(weight: Tensor) -> bool:
    # A weight with one output is a vector to oneDNN.
    return len(weight) > 1 and has_onednn(weight.device, weight.dtype)
