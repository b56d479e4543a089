"""Recurrent cells whose input product can be hoisted out of the loop over time.

``nn.LSTM`` and ``nn.GRU`` serve the encoder, where all inputs are known. The decoder feeds its last answer back, so
only the part of the input that is known beforehand can be multiplied for all steps at once. Gate order and formulas
are those of ``nn.LSTMCell`` (i, f, g, o) and ``nn.GRUCell`` (r, z, n), which are also the original's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2s_algo.model.config import CellType

# The state of one layer: (h, c) for LSTM, (h,) for GRU, each float [N, H]; h comes first.
LayerState = tuple[Tensor, ...]


class RecurrentCell(nn.Module):
    """One time step of one layer, in two halves: the input's share of the gates, then the step itself.

    Attributes:
        weight_ih: float [G, inputs].
        weight_hh: float [G, H].
        bias_ih, bias_hh: float [G].
    """

    gates: int
    states: int

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(self.gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(self.gates * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(self.gates * hidden_size))

    def input_gates(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the gates, float [..., G], of inputs float [..., inputs]."""
        return functional.linear(inputs, self.weight_ih, self.bias_ih)

    def hidden_gates(self, h: Tensor) -> Tensor:
        """The last output's share of the gates, float [N, G], of h float [N, H]."""
        return functional.linear(h, self.weight_hh, self.bias_hh)

    def forward(self, input_gates: Tensor, state: LayerState) -> LayerState:
        """One step.

        Args:
            input_gates: float [N, G], the whole input's share of the gates.
            state: The layer's state before the step.

        Returns:
            The state after it; its first tensor is the layer's output.
        """
        return self.after(input_gates, self.hidden_gates(state[0]), state)

    @staticmethod
    def after(input_gates: Tensor, hidden_gates: Tensor, state: LayerState) -> LayerState:
        """The state after a step, given both shares of the gates."""
        raise NotImplementedError


class LSTMCell(RecurrentCell):
    """Hochreiter and Schmidhuber (1997) with a forget gate, without peepholes."""

    gates = 4
    states = 2

    @staticmethod
    def after(input_gates: Tensor, hidden_gates: Tensor, state: LayerState) -> LayerState:  # noqa: D102
        _, c = state
        i, f, g, o = (input_gates + hidden_gates).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GRUCell(RecurrentCell):
    """Cho et al. (2014), in the variant whose reset gate acts after the recurrent product."""

    gates = 3
    states = 1

    @staticmethod
    def after(input_gates: Tensor, hidden_gates: Tensor, state: LayerState) -> LayerState:  # noqa: D102
        (h,) = state
        input_r, input_z, input_n = input_gates.chunk(3, dim=-1)
        hidden_r, hidden_z, hidden_n = hidden_gates.chunk(3, dim=-1)
        r = torch.sigmoid(input_r + hidden_r)
        z = torch.sigmoid(input_z + hidden_z)
        n = torch.tanh(input_n + r * hidden_n)
        return ((1 - z) * n + z * h,)


CELLS: dict[CellType, type[RecurrentCell]] = {"lstm": LSTMCell, "gru": GRUCell}
SEQUENCES: dict[CellType, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
