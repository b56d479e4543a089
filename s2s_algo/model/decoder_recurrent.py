"""The recurrent decoder with attention and input feeding (Luong et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2s_algo.model.attention import EncodedSource, Memory, build_attention
from s2s_algo.model.config import RecurrentDecoderConfig
from s2s_algo.model.decoder import Decoder
from s2s_algo.model.fast_paths import has_fused_loops
from s2s_algo.model.fused_decoder import decoder_loop
from s2s_algo.model.recurrent import CELLS, LayerState, RecurrentCell
from s2s_algo.model.steps import Steps

# Parameters whose work is done before the first step.
_OUTSIDE_THE_LOOP = ("state_layers.", "attention.source_layer.")


@dataclass(frozen=True, slots=True)
class RecurrentState:
    """What a hypothesis of a recurrent decoder carries on.

    Attributes:
        layers: The state of each layer.
        attentional: float [N, H], the last answer, fed back into layer 1.
    """

    layers: tuple[LayerState, ...]
    attentional: Tensor

    def select(self, rows: Tensor) -> RecurrentState:
        """The states of some rows, int64 [N'], in that order; a row may occur several times."""
        layers = tuple(tuple(part.index_select(0, rows) for part in layer) for layer in self.layers)
        return RecurrentState(layers, self.attentional.index_select(0, rows))

    def joined(self, other: RecurrentState) -> RecurrentState:
        """These rows and then those of another one."""
        layers = tuple(
            tuple(torch.cat(parts) for parts in zip(*layer, strict=True))
            for layer in zip(self.layers, other.layers, strict=True)
        )
        return RecurrentState(layers, torch.cat([self.attentional, other.attentional]))


class RecurrentDecoder(Decoder[RecurrentState]):
    """Cells that read the last token and the last answer; the answer combines their output and the attention's."""

    def __init__(self, config: RecurrentDecoderConfig, input_size: int, source_size: int) -> None:
        super().__init__()
        self.config = config
        self.embedding_size = input_size
        hidden, cell = config.num_hidden, CELLS[config.cell_type]
        upper_input = hidden + (source_size if config.feeds_upper_layers else 0)
        self.layers = nn.ModuleList(
            cell(upper_input if number else input_size + hidden, hidden) for number in range(config.num_layers)
        )
        self.attention = build_attention(config.attention, source_size, hidden)
        self.hidden_layer = nn.Linear(hidden + source_size, hidden)
        states = 0 if config.state_init == "zero" else config.num_layers * cell.states
        self.state_layers = nn.ModuleList(nn.Linear(source_size, hidden) for _ in range(states))

    @property
    def cells(self) -> Sequence[RecurrentCell]:
        """The layers, bottom first."""
        return cast(Sequence[RecurrentCell], self.layers)

    def start(self, source: EncodedSource) -> tuple[RecurrentState, Memory]:  # noqa: D102
        zeros = source.states.new_zeros(len(source.length), self.config.num_hidden)
        per_layer = CELLS[self.config.cell_type].states
        if self.config.state_init == "zero":
            flat = [zeros] * (self.config.num_layers * per_layer)
        else:
            summary = source.last() if self.config.state_init == "last" else source.average()
            flat = [torch.tanh(layer(summary)) for layer in self.state_layers]
        layers = tuple(tuple(flat[n : n + per_layer]) for n in range(0, len(flat), per_layer))
        return RecurrentState(layers, zeros), self.attention.remember(source)

    def forward(self, embedded: Tensor, source: EncodedSource, length: Tensor | None = None) -> Tensor:  # noqa: D102
        dropout = self._dropout(embedded, source)
        if has_fused_loops(embedded.device):
            return self._fused(embedded, source, length, dropout)
        return self.plain(embedded, source, dropout)

    def plain(self, embedded: Tensor, source: EncodedSource, dropout: Tensor | None) -> Tensor:
        """``forward``, written step by step; autograd does the rest.

        Args:
            embedded: float [B, T, E].
            source: What the encoder says.
            dropout: float [B, T, H + H of the encoder], the factors of what each answer combines; ``None`` for ones.
        """
        state, memory = self.start(source)
        # The embeddings' share of layer 1's gates does not depend on the loop: one product for all steps.
        embedding_weight, feed_weight = self._first_weights()
        embedded_gates = functional.linear(embedded, embedding_weight, self.cells[0].bias_ih)
        outputs = []
        for step, gates in enumerate(embedded_gates.unbind(1)):
            fed = functional.linear(state.attentional, feed_weight)
            factors = None if dropout is None else dropout[:, step]
            state, _ = self._advance(gates + fed, state, memory, factors)
            outputs.append(state.attentional)
        return torch.stack(outputs, dim=1)

    def _fused(self, embedded: Tensor, source: EncodedSource, length: Tensor | None, dropout: Tensor | None) -> Tensor:
        """``forward`` as one operation; zeros where nobody reads."""
        steps = Steps.of(length, embedded.shape[0], embedded.shape[1], embedded.device)
        state, memory = self.start(source)
        tensors: dict[str, Tensor] = {
            name: weight for name, weight in self.named_parameters() if not name.startswith(_OUTSIDE_THE_LOOP)
        }
        # Mixed precision may have made other numbers of them; the loop keeps everything as the weights are.
        dtype = self.hidden_layer.weight.dtype
        tensors["embedded"] = steps.gather(embedded).to(dtype)
        in_order = {"values": memory.values.to(dtype), "keys": memory.keys.to(dtype), "padding": memory.padding}
        flat = [part for layer in state.layers for part in layer]
        in_order |= {f"state.{number}": part.to(dtype) for number, part in enumerate(flat)}
        tensors |= {name: tensor.index_select(0, steps.order) for name, tensor in in_order.items()}
        if dropout is not None:
            tensors["dropout"] = steps.gather(dropout)
        return steps.scatter(decoder_loop(self.config, type(self.attention), steps, tensors))

    def _dropout(self, embedded: Tensor, source: EncodedSource) -> Tensor | None:
        if not self.training or not self.config.hidden_dropout:
            return None
        ones = embedded.new_ones(*embedded.shape[:2], self.hidden_layer.in_features)
        return functional.dropout(ones, self.config.hidden_dropout)

    def step(  # noqa: D102
        self, embedded: Tensor, state: RecurrentState, memory: Memory
    ) -> tuple[Tensor, RecurrentState, Tensor]:
        gates = self.cells[0].input_gates(torch.cat([embedded, state.attentional], dim=-1))
        state, weights = self._advance(gates, state, memory)
        return state.attentional, state, weights

    def _first_weights(self) -> tuple[Tensor, Tensor]:
        """The columns of layer 1's input weights for the embedding, [G, E], and for the last answer, [G, H].

        Cut once for all steps: the gradient of a cut is as large as the whole matrix.
        """
        weight = self.cells[0].weight_ih
        return weight[:, : self.embedding_size], weight[:, self.embedding_size :].contiguous()

    def _advance(
        self, gates: Tensor, state: RecurrentState, memory: Memory, dropout: Tensor | None = None
    ) -> tuple[RecurrentState, Tensor]:
        """One step, given the share of layer 1's gates, float [N, G], that the embedding and the last answer have."""
        # (1) Layer 1 reads the embedding and the last answer.
        layers = [self.cells[0](gates, state.layers[0])]
        output = layers[0][0]
        # (2) The attention is asked by layer 1, or after all layers by the top one.
        if self.config.feeds_upper_layers:
            context, weights = self.attention(output, memory)
        # (3) The layers above.
        for number, (layer, before) in enumerate(zip(self.cells[1:], state.layers[1:], strict=True), start=2):
            inputs = torch.cat([output, context], dim=-1) if self.config.feeds_upper_layers else output
            after = layer(layer.input_gates(inputs), before)
            residual = self.config.residual and number >= self.config.first_residual_layer
            output = after[0] + output if residual else after[0]
            layers.append(after)
        if not self.config.feeds_upper_layers:
            context, weights = self.attention(output, memory)
        # (4) The answer combines the top layer's output and the context.
        combined = torch.cat([output, context], dim=-1)
        if dropout is not None:
            combined = combined * dropout
        return RecurrentState(tuple(layers), torch.tanh(self.hidden_layer(combined))), weights
