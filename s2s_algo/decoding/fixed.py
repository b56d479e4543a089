"""Weights that will not change any more, laid out once for the products of a search.

A search multiplies a few rows with the same large matrices again and again. Laid out as the machine's kernels want
them, or in fewer bits, these are read several times as fast. The layers of a model under training are the plain twins.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from s2s_algo.decoding.options import PrecisionName
from s2s_algo.errors import ClientError
from s2s_algo.model.attention import Attention, EncodedSource, MLPAttention
from s2s_algo.model.convolution import Convolution
from s2s_algo.model.products import Product, has_onednn, laid_out
from s2s_algo.model.recurrent import CELLS, LayerState, LSTMCell, RecurrentCell
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.model.steps import Steps

# Makes a product of weights float32 [O, I] and a bias float32 [O].
MakeProduct = Callable[[Tensor, Tensor | None], Product]

_LARGEST_INT8 = 127


def fix_weights(model: Seq2Seq, precision: PrecisionName = "float32") -> None:
    """Replaces the layers of a model by ones that are faster and cannot learn; changes the model.

    Embeddings stay as they are, and recurrent encoders, which read each sentence once, have float32 products.

    Args:
        model: In evaluation mode.
        precision: Of the products; what lies between them is float32 in any case. ``bfloat16`` rounds both sides to 8
            bits of mantissa. ``int8`` rounds the weights to 8 bits with a scale for each output, and the rows to 8 bits
            with a scale for each row.

    Raises:
        ClientError: The model's device cannot compute so.
    """
    make = _choose(model.device, precision)
    if make is not None:
        _replace_layers(model, make)
        if (make := _choose(model.device, "float32")) is not None:
            _replace_sequences(model.encoder, make)


def _choose(device: torch.device, precision: PrecisionName) -> MakeProduct | None:
    """How to make products; ``None`` if the model's own are the best there are."""
    if precision == "float32":
        dtype = torch.float32
        return partial(laid_out, dtype=dtype, padded=padded_rows) if has_onednn(device, dtype) else None
    if precision == "bfloat16":
        return partial(laid_out, dtype=torch.bfloat16, padded=padded_rows)
    if device.type != "cpu":
        raise ClientError(f"int8 is for CPUs, and the model is on {device}. Choose float32 or bfloat16.")
    if torch.backends.quantized.engine not in ("x86", "fbgemm", "onednn"):
        raise ClientError("this machine cannot multiply int8. Choose float32 or bfloat16.")
    return _int8_product


def _replace_layers(module: nn.Module, make: MakeProduct) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear) and child.out_features > 1:
            module.add_module(name, FixedLinear(make(child.weight.detach(), child.bias)))
        elif isinstance(child, RecurrentCell):
            module.add_module(name, _fixed_cell(child, make))
        elif isinstance(child, MLPAttention):
            module.add_module(name, FixedMLPAttention(child, make))
        elif isinstance(child, Convolution):
            module.add_module(name, FixedConvolution(child, make))
        else:
            _replace_layers(child, make)


def _replace_sequences(module: nn.Module, make: MakeProduct) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.LSTM | nn.GRU):
            module.add_module(name, FixedSequence(child, make))
        else:
            _replace_sequences(child, make)


class FixedLinear(nn.Module):
    """In place of ``nn.Linear``."""

    def __init__(self, product: Product) -> None:
        super().__init__()
        self._product = product

    def forward(self, inputs: Tensor) -> Tensor:
        """The product, float32 [..., O], of inputs float32 [..., I]."""
        if inputs.dim() == 2:
            return self._product(inputs)
        return self._product(inputs.reshape(-1, inputs.shape[-1])).unflatten(0, inputs.shape[:-1])


class FixedCell(nn.Module):
    """In place of a ``RecurrentCell``."""

    def __init__(self, cell: RecurrentCell, make: MakeProduct) -> None:
        super().__init__()
        self.input_gates = FixedLinear(make(cell.weight_ih.detach(), cell.bias_ih.detach()))
        self.hidden_gates = FixedLinear(make(cell.weight_hh.detach(), cell.bias_hh.detach()))
        self._after = cell.after

    def forward(self, input_gates: Tensor, state: LayerState) -> LayerState:
        """See ``RecurrentCell``."""
        return self._after(input_gates, self.hidden_gates(state[0]), state)


class FixedLSTMCell(nn.Module):
    """In place of an ``LSTMCell``; all four gates are sigmoids, for tanh(x) is 2s - 1 with s the sigmoid of 2x."""

    def __init__(self, cell: LSTMCell, make: MakeProduct) -> None:
        super().__init__()
        factors = torch.tensor([1.0, 1.0, 2.0, 1.0], device=cell.weight_hh.device).repeat_interleave(cell.hidden_size)
        self.input_gates, self.hidden_gates = (
            FixedLinear(make(factors[:, None] * weight.detach(), factors * bias.detach()))
            for weight, bias in ((cell.weight_ih, cell.bias_ih), (cell.weight_hh, cell.bias_hh))
        )

    def forward(self, input_gates: Tensor, state: LayerState) -> LayerState:
        """See ``RecurrentCell``."""
        h, c = state
        i, f, s, o = (input_gates + self.hidden_gates(h)).sigmoid_().chunk(4, dim=-1)
        c = (f * c).addcmul_(i, s, value=2).sub_(i)
        return o * torch.tanh(c), c


def _fixed_cell(cell: RecurrentCell, make: MakeProduct) -> FixedCell | FixedLSTMCell:
    return FixedLSTMCell(cell, make) if isinstance(cell, LSTMCell) else FixedCell(cell, make)


class FixedSequence(nn.Module):
    """In place of a layer of a recurrent encoder; see ``fused_sequence.read``."""

    def __init__(self, layer: nn.LSTM | nn.GRU, make: MakeProduct) -> None:
        super().__init__()
        cell = CELLS["lstm" if isinstance(layer, nn.LSTM) else "gru"](layer.input_size, layer.hidden_size)
        cell.load_state_dict({name: getattr(layer, f"{name}_l0") for name in cell.state_dict()})
        self._cell = _fixed_cell(cell, make)
        self._hidden_size, self._states = layer.hidden_size, cell.states

    def read(self, steps: Steps, inputs: Tensor) -> Tensor:
        """The outputs of all rows, float [N, H], of inputs float [N, I], from states of zeros."""
        gates = self._cell.input_gates(inputs)
        outputs = gates.new_empty(len(gates), self._hidden_size)
        state = (gates.new_zeros(len(steps.order), self._hidden_size),) * self._states
        for rows in steps.rows():
            state = self._cell(gates[rows], tuple(part[: rows.stop - rows.start] for part in state))
            outputs[rows] = state[0]
        return outputs


class FixedMLPAttention(Attention):
    """In place of an ``MLPAttention``, with sigmoids in place of hyperbolic tangents.

    With s the sigmoid of 2x, tanh(x) is 2s - 1, whose constant drops out of the softmax; s takes a sixth of the time.
    """

    def __init__(self, attention: MLPAttention, make: MakeProduct) -> None:
        super().__init__()
        self._source_layer, self._query_layer = (
            FixedLinear(make(2 * layer.weight.detach(), None))
            for layer in (attention.source_layer, attention.query_layer)
        )
        self._score = 2 * attention.score_layer.weight.detach()[0]

    def keys(self, source: EncodedSource) -> Tensor:  # noqa: D102
        return self._source_layer(source.states)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:  # noqa: D102
        return (keys[:, None] + self._query_layer(query)[:, :, None]).sigmoid_() @ self._score


class FixedConvolution(nn.Module):
    """In place of a ``Convolution``."""

    def __init__(self, convolution: Convolution, make: MakeProduct) -> None:
        super().__init__()
        self._linear = FixedLinear(make(convolution.weight.detach().flatten(1), convolution.bias))
        self._activation = convolution.activation

    def forward(self, windows: Tensor) -> Tensor:
        """See ``Convolution``."""
        return self._activation(self._linear(windows.flatten(-2)))


def padded_rows(number: int) -> int:
    """How many rows oneDNN is given in place of so many.

    For each number that it meets it makes machine code, which takes a millisecond and 0.6 MiB for every layer
    (measured), and a search has another number at every step. These numbers are few, and beyond 32, where additional
    rows begin to cost time, at most a quarter above what is needed.
    """
    if number <= 1:
        return number
    power = 1 << (number - 1).bit_length()
    step = max(8, min(power // 8, max(32, power // 16)))
    return -(-number // step) * step


def _int8_product(weight: Tensor, bias: Tensor | None) -> Product:
    tiny = torch.finfo(torch.float32).tiny
    scales = weight.abs().amax(1).clamp(min=tiny) / _LARGEST_INT8
    no_offsets = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings():
        # It says that a later torch will have these operators elsewhere; the version is pinned.
        warnings.simplefilter("ignore", UserWarning)
        rounded = torch.quantize_per_channel(weight, scales, no_offsets, axis=0, dtype=torch.qint8)
    packed = torch.ops.quantized.linear_prepack(rounded, None)
    bias = torch.zeros(len(weight)) if bias is None else bias.detach()
    # Without VNNI, sums of products of 8 bits would overflow, but not those of 7 by 8.
    seven_bits = not torch.cpu._is_vnni_supported()
    # The operator rounds all rows with the scale of the largest number. With rows that reach from -1 to 1, and two that
    # are there to keep that so, no row depends on the others.
    ends = torch.tensor([-1.0, 1.0])[:, None].expand(2, weight.shape[1])

    def product(rows: Tensor) -> Tensor:
        reach = rows.abs().amax(1, keepdim=True).clamp(min=tiny)
        outputs: Tensor = torch.ops.quantized.linear_dynamic(torch.cat([rows / reach, ends]), packed, seven_bits)
        return torch.addcmul(bias, outputs[:-2], reach)

    return product
