"""The loop of the recurrent decoder as one operation of autograd.

Its plain twin is ``RecurrentDecoder.plain``. Written out, the backward pass makes one product per weight for all steps
instead of one per step, weights are laid out once for all steps, and sentences that have ended cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2s_algo.model.attention import Attention
from s2s_algo.model.config import RecurrentDecoderConfig
from s2s_algo.model.fused_attention import ATTENTION_STEPS, AttentionSteps
from s2s_algo.model.fused_cells import STEPS, CellSteps, Kept
from s2s_algo.model.products import laid_out, once, product_dtype, transposed, weight_gradient
from s2s_algo.model.steps import Steps


@dataclass(frozen=True, slots=True)
class LoopShape:
    """What the loop has to know beside its tensors.

    Attributes:
        config: Of the decoder.
        attention: Its kind.
        steps: Which rows are at work when.
        dtype: Of products with weights.
    """

    config: RecurrentDecoderConfig
    attention: type[Attention]
    steps: Steps
    dtype: torch.dtype


def decoder_loop(
    config: RecurrentDecoderConfig, attention: type[Attention], steps: Steps, inputs: Mapping[str, Tensor]
) -> Tensor:
    """The answers of all steps, float [N, H].

    Args:
        config: Of the decoder.
        attention: Its kind.
        steps: Which rows are at work when; the sentences of all inputs are in their order.
        inputs: The parameters of the decoder by their names; ``embedded`` float [N, E]; ``values``, ``keys`` and
            ``padding`` of the memory; ``state.0``, ``state.1``, ..., float [B, H], of the layers before the first step;
            if there is dropout, ``dropout``, float [N, H + H of the encoder], the factors.
    """
    shape = LoopShape(config, attention, steps, product_dtype())
    names = tuple(inputs)
    outputs: Tensor = _Loop.apply(shape, names, *inputs.values())  # type: ignore[no-untyped-call]
    return outputs


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: LoopShape, names: tuple[str, ...], *tensors: Tensor) -> Tensor:
        kept: Kept = {}
        with torch.autocast("cpu", enabled=False):
            outputs = _Passes(shape, dict(zip(names, tensors, strict=True)), kept).forward()
        ctx.shape, ctx.names, ctx.kept_names = shape, names, tuple(kept)
        ctx.save_for_backward(*tensors, *kept.values(), outputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        inputs = dict(zip(ctx.names, tensors, strict=False))
        kept = dict(zip(ctx.kept_names, tensors[len(inputs) : -1], strict=True))
        with torch.autocast("cpu", enabled=False):
            found = _Passes(ctx.shape, inputs, kept).backward(tensors[-1], gradient)
        return None, None, *(found.get(name) for name in ctx.names)


class _Part(dict[str, Tensor]):
    """Those tensors of a dictionary whose names begin so, without that beginning; new ones go there, too."""

    def __init__(self, whole: dict[str, Tensor], prefix: str) -> None:
        super().__init__({k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)})
        self._whole, self._prefix = whole, prefix

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        super().__setitem__(name, tensor)
        self._whole[self._prefix + name] = tensor


class _Passes:
    """The forward pass and the backward pass."""

    def __init__(self, shape: LoopShape, inputs: dict[str, Tensor], kept: Kept) -> None:
        self.config, self.steps, self.dtype = shape.config, shape.steps, shape.dtype
        self.inputs, self.kept = inputs, kept
        self.batch = len(self.steps.order)
        self.cells: list[CellSteps] = [
            STEPS[self.config.cell_type](
                inputs[f"layers.{number}.weight_hh"],
                inputs[f"layers.{number}.bias_hh"],
                _Part(kept, f"{number}."),
                self.dtype,
            )
            for number in range(self.config.num_layers)
        ]
        of_attention = {**_Part(inputs, "attention."), **{name: inputs[name] for name in ("values", "keys", "padding")}}
        self.attention: AttentionSteps = ATTENTION_STEPS[shape.attention](
            of_attention, self.steps, _Part(kept, "attention."), self.dtype
        )
        self.hidden = self.config.num_hidden
        self.embedding = inputs["embedded"].shape[1]

    def forward(self) -> Tensor:
        """The answers, float [N, H]."""
        hidden, kept, rows = self.hidden, self.kept, self.steps.total
        embedded = self.inputs["embedded"]
        outputs = embedded.new_empty(rows, hidden)
        fed = embedded.new_zeros(self.batch, hidden)
        # (1) What does not depend on the loop.
        first = self._weight(0)
        products = [laid_out(first[:, self.embedding :], None, self.dtype)]
        kept["inputs.0"] = embedded.new_empty(rows, first.shape[1])
        kept["inputs.0"][:, : self.embedding] = embedded
        states = [self.inputs[name] for name in self.inputs if name.startswith("state.")]
        per_layer = len(states) // len(self.cells)
        for number, cell in enumerate(self.cells):
            weight, bias = self._weight(number), self.inputs[f"layers.{number}.bias_ih"]
            if number:
                gates = embedded.new_empty(rows, len(weight))
                products.append(laid_out(weight, bias, self.dtype))
                kept[f"inputs.{number}"] = embedded.new_empty(rows, weight.shape[1])
            else:
                gates = once(embedded, weight[:, : self.embedding], bias, self.dtype)
            cell.begin(gates, tuple(states[number * per_layer : (number + 1) * per_layer]))
        answer = laid_out(self.inputs["hidden_layer.weight"], self.inputs["hidden_layer.bias"], self.dtype)
        kept["combined"] = embedded.new_empty(rows, self.inputs["hidden_layer.weight"].shape[1])
        self.attention.begin(hidden)
        # (2) The loop, in the order of ``RecurrentDecoder._advance``.
        for of_step in self.steps.rows():
            fed = fed[: of_step.stop - of_step.start]
            kept["inputs.0"][of_step, self.embedding :] = fed
            self.cells[0].gates[of_step] += products[0](fed)
            output = self.cells[0].step(of_step)
            if self.config.feeds_upper_layers:
                context = self.attention.attend(of_step, output)
            for number, cell in enumerate(self.cells[1:], start=1):
                read = kept[f"inputs.{number}"][of_step]
                read[:, :hidden] = output
                if self.config.feeds_upper_layers:
                    read[:, hidden:] = context
                cell.gates[of_step] = products[number](read)
                above = cell.step(of_step)
                output = above + output if self._is_residual(number) else above
            if not self.config.feeds_upper_layers:
                context = self.attention.attend(of_step, output)
            combined = kept["combined"][of_step]
            combined[:, :hidden], combined[:, hidden:] = output, context
            if "dropout" in self.inputs:
                combined *= self.inputs["dropout"][of_step]
            fed = torch.tanh(answer(combined), out=outputs[of_step])
        return outputs

    def backward(self, outputs: Tensor, gradient: Tensor) -> dict[str, Tensor]:
        """The gradients of the inputs by their names.

        Args:
            outputs: float [N, H], what the forward pass has returned.
            gradient: float [N, H], of that.
        """
        hidden = self.hidden
        # (1) What does not depend on the loop.
        of_answers = torch.empty_like(outputs)
        of_fed = outputs.new_zeros(self.batch, hidden)
        products = [laid_out(transposed(self._weight(0)[:, self.embedding :]), None, self.dtype)]
        products += [laid_out(transposed(self._weight(n)), None, self.dtype) for n in range(1, len(self.cells))]
        answer = laid_out(transposed(self.inputs["hidden_layer.weight"]), None, self.dtype)
        for cell in self.cells:
            cell.begin_back(self.batch)
        self.attention.begin_back()
        # (2) The loop.
        for of_step in reversed(list(self.steps.rows())):
            number_of_rows = of_step.stop - of_step.start
            of_answer = torch.ops.aten.tanh_backward(gradient[of_step] + of_fed[:number_of_rows], outputs[of_step])
            of_answers[of_step] = of_answer
            of_combined = answer(of_answer)
            if "dropout" in self.inputs:
                of_combined = of_combined * self.inputs["dropout"][of_step]
            of_output, of_context = of_combined[:, :hidden], of_combined[:, hidden:]
            if not self.config.feeds_upper_layers:
                of_output = _sum(of_output, self.attention.back(of_step, of_context))
            for number in reversed(range(1, len(self.cells))):
                below = of_output.clone() if self._is_residual(number) else None
                of_read = products[number](self.cells[number].back(of_step, of_output))
                if self.config.feeds_upper_layers:
                    of_context = of_context + of_read[:, hidden:]
                of_output = _sum(of_read[:, :hidden], below)
            if self.config.feeds_upper_layers:
                of_output = _sum(of_output, self.attention.back(of_step, of_context))
            of_fed[:number_of_rows] = products[0](self.cells[0].back(of_step, of_output))
        # (3) What all steps have left.
        return self._gradients(of_answers)

    def _gradients(self, of_answers: Tensor) -> dict[str, Tensor]:
        found = {
            "hidden_layer.weight": weight_gradient(of_answers, self.kept["combined"], self.dtype),
            "hidden_layer.bias": of_answers.sum(0),
        }
        states: list[Tensor] = []
        for number, cell in enumerate(self.cells):
            name = f"layers.{number}."
            found[name + "weight_ih"] = weight_gradient(cell.gates, self.kept[f"inputs.{number}"], self.dtype)
            found[name + "bias_ih"] = cell.gates.sum(0)
            found[name + "weight_hh"], found[name + "bias_hh"], of_state = cell.gradients()
            states += of_state
        found |= {f"state.{number}": of_state for number, of_state in enumerate(states)}
        for name, of_attention in self.attention.gradients().items():
            found[name if name in ("values", "keys") else f"attention.{name}"] = of_attention
        found["embedded"] = once(self.cells[0].gates, self._weight(0)[:, : self.embedding].t(), None, self.dtype)
        return found

    def _weight(self, layer: int) -> Tensor:
        return self.inputs[f"layers.{layer}.weight_ih"]

    def _is_residual(self, layer: int) -> bool:
        return self.config.residual and layer + 1 >= self.config.first_residual_layer


def _sum(one: Tensor, other: Tensor | None) -> Tensor:
    return one if other is None else one + other
