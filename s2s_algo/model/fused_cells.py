"""The steps of one recurrent layer, forward and backward, with one product per weight gradient for all steps.

The plain twins are the cells of ``recurrent.py``. What the backward pass needs is kept in rows of all steps, which it
overwrites with gradients: a second backward pass through the same steps is refused by autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s_algo.model.config import CellType
from s2s_algo.model.products import laid_out, transposed, weight_gradient
from s2s_algo.model.recurrent import LayerState

_sigmoid_backward = torch.ops.aten.sigmoid_backward
_tanh_backward = torch.ops.aten.tanh_backward

# What is kept between the passes, by name; each [N, ...].
Kept = dict[str, Tensor]


class CellSteps:
    """The steps of one layer.

    Attributes:
        gates: float [N, G]. Before a step: the inputs' share, bias included; then the activated gates; in the end the
            gradient of the inputs' share.
        states: Tensors of a state.
    """

    states: int

    def __init__(self, weight_hh: Tensor, bias_hh: Tensor, kept: Kept, dtype: torch.dtype) -> None:
        self.weight_hh, self.bias_hh, self.kept, self.dtype = weight_hh, bias_hh, kept, dtype
        self.hidden_size = weight_hh.shape[1]

    @property
    def gates(self) -> Tensor:
        """See the class."""
        return self.kept["gates"]

    def begin(self, gates: Tensor, state: LayerState) -> None:
        """Prepares for the forward pass.

        Args:
            gates: float [N, G]; may still be empty.
            state: Of all B sentences, before the first step.
        """
        self.kept["gates"] = gates
        for name in self._names():
            self.kept[name] = gates.new_empty(len(gates), self.hidden_size)
        self._hidden = laid_out(self.weight_hh, self.bias_hh, self.dtype)
        self._state = state

    def step(self, rows: slice) -> Tensor:
        """Makes the step whose input gates are in these rows; returns the output, float [n, H]."""
        number = rows.stop - rows.start
        before = tuple(part[:number] for part in self._state)
        self.kept["before"][rows] = before[0]
        self._state = self._after(rows, self._hidden(before[0]), before)
        return self._state[0]

    def begin_back(self, batch: int) -> None:
        """Prepares for the backward pass of B sentences."""
        self._carried = tuple(self.gates.new_zeros(batch, self.hidden_size) for _ in range(self.states))
        self._hidden_back = laid_out(transposed(self.weight_hh), None, self.dtype)

    def back(self, rows: slice, gradient: Tensor) -> Tensor:
        """Goes a step back; returns the gradient of its input gates, float [n, G].

        Args:
            rows: Of the step.
            gradient: float [n, H], of its output where others than the next step have used it; is overwritten.
        """
        number = rows.stop - rows.start
        carried = tuple(part[:number] for part in self._carried)
        direct = self._before(rows, gradient.add_(carried[0]), carried)
        carried[0].copy_(self._hidden_back(self._hidden_gradient()[rows]))
        if direct is not None:
            carried[0].add_(direct)
        return self.gates[rows]

    def gradients(self) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """After all steps back: of ``weight_hh``, of ``bias_hh`` and of the state before the first step."""
        gradient = self._hidden_gradient()
        return weight_gradient(gradient, self.kept["before"], self.dtype), gradient.sum(0), self._carried

    def _names(self) -> tuple[str, ...]:
        """What is kept beside the gates."""
        raise NotImplementedError

    def _after(self, rows: slice, hidden_gates: Tensor, before: LayerState) -> LayerState:
        raise NotImplementedError

    def _before(self, rows: slice, gradient: Tensor, carried: tuple[Tensor, ...]) -> Tensor | None:
        """Overwrites the rows of what is kept with gradients; returns that of the last output beside its gates."""
        raise NotImplementedError

    def _hidden_gradient(self) -> Tensor:
        """Float [N, G], of the last output's share of the gates."""
        raise NotImplementedError


class LSTMSteps(CellSteps):
    """See ``LSTMCell``."""

    states = 2

    def _names(self) -> tuple[str, ...]:
        return "before", "cell_before", "cell"

    def _after(self, rows: slice, hidden_gates: Tensor, before: LayerState) -> LayerState:
        size = self.hidden_size
        gates = self.gates[rows].add_(hidden_gates)
        gates[:, : 2 * size].sigmoid_()
        gates[:, 2 * size : 3 * size].tanh_()
        gates[:, 3 * size :].sigmoid_()
        i, f, g, o = gates.chunk(4, dim=1)
        self.kept["cell_before"][rows] = before[1]
        c = (f * before[1]).addcmul_(i, g)
        cell = torch.tanh(c, out=self.kept["cell"][rows])
        return o * cell, c

    def _before(self, rows: slice, gradient: Tensor, carried: tuple[Tensor, ...]) -> Tensor | None:
        i, f, g, o = self.gates[rows].chunk(4, dim=1)
        cell, dc = self.kept["cell"][rows], carried[1]
        dc += _tanh_backward(gradient * o, cell)
        di, df, dg = dc * g, dc * self.kept["cell_before"][rows], dc * i
        dc *= f
        _sigmoid_backward.grad_input(gradient.mul_(cell), o, grad_input=o)
        _sigmoid_backward.grad_input(di, i, grad_input=i)
        _sigmoid_backward.grad_input(df, f, grad_input=f)
        _tanh_backward.grad_input(dg, g, grad_input=g)
        return None

    def _hidden_gradient(self) -> Tensor:
        return self.gates


class GRUSteps(CellSteps):
    """See ``GRUCell``."""

    states = 1

    def _names(self) -> tuple[str, ...]:
        return "before", "hidden_new"

    def begin_back(self, batch: int) -> None:  # noqa: D102
        super().begin_back(batch)
        self._hidden_gates = torch.empty_like(self.gates)

    def _after(self, rows: slice, hidden_gates: Tensor, before: LayerState) -> LayerState:
        size = self.hidden_size
        gates = self.gates[rows]
        gates[:, : 2 * size].add_(hidden_gates[:, : 2 * size]).sigmoid_()
        r, z, n = gates.chunk(3, dim=1)
        hidden_new = self.kept["hidden_new"][rows].copy_(hidden_gates[:, 2 * size :])
        n.addcmul_(r, hidden_new).tanh_()
        return (torch.lerp(n, before[0], z),)

    def _before(self, rows: slice, gradient: Tensor, carried: tuple[Tensor, ...]) -> Tensor | None:
        size = self.hidden_size
        gates, hidden = self.gates[rows], self._hidden_gates[rows]
        r, z, n = gates.chunk(3, dim=1)
        direct = gradient * z
        dz = gradient * (self.kept["before"][rows] - n)
        dn = _tanh_backward(gradient - direct, n)
        hidden[:, 2 * size :] = dn * r
        n.copy_(dn)
        _sigmoid_backward.grad_input(dn.mul_(self.kept["hidden_new"][rows]), r, grad_input=r)
        _sigmoid_backward.grad_input(dz, z, grad_input=z)
        hidden[:, : 2 * size] = gates[:, : 2 * size]
        return direct

    def _hidden_gradient(self) -> Tensor:
        return self._hidden_gates


STEPS: dict[CellType, type[CellSteps]] = {"lstm": LSTMSteps, "gru": GRUSteps}
