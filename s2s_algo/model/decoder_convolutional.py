"""The convolutional decoder: every block has its own attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from s2s_algo.model.attention import DotAttention, EncodedSource, Memory, project_if_needed
from s2s_algo.model.config import ConvolutionalDecoderConfig
from s2s_algo.model.convolution import ConvolutionalStack, cut_windows
from s2s_algo.model.decoder import Decoder
from s2s_algo.model.fast_paths import has_fused_windows
from s2s_algo.model.fused_windows import windows
from s2s_algo.model.steps import Tokens


@dataclass(frozen=True, slots=True)
class ConvolutionalState:
    """What a hypothesis of a convolutional decoder carries on.

    Attributes:
        position: int64 [N], where the next token stands.
        past: Per block the last W - 1 of its inputs, float [N, H, W - 1], oldest first; zeros before ``<s>``.
    """

    position: Tensor
    past: tuple[Tensor, ...]

    def select(self, rows: Tensor) -> ConvolutionalState:
        """The states of some rows, int64 [N'], in that order; a row may occur several times."""
        past = tuple(inputs.index_select(0, rows) for inputs in self.past)
        return ConvolutionalState(self.position.index_select(0, rows), past)

    def joined(self, other: ConvolutionalState) -> ConvolutionalState:
        """These rows and then those of another one."""
        past = tuple(torch.cat(parts) for parts in zip(self.past, other.past, strict=True))
        return ConvolutionalState(torch.cat([self.position, other.position]), past)


class ConvolutionalDecoder(ConvolutionalStack, Decoder[ConvolutionalState]):
    """Each block adds to its input a convolution of it and what the attention finds for that convolution.

    The attention is a plain dot product with the encoder states, which are keys and values alike; it has no
    parameters. A learned projection brings encoder states of another width to the decoder's.
    """

    def __init__(self, config: ConvolutionalDecoderConfig, input_size: int, source_size: int) -> None:
        super().__init__(config, input_size)
        self.config = config
        hidden = config.num_hidden
        self.source_layer = project_if_needed(source_size, hidden)
        self.attention = DotAttention(hidden, hidden, hidden)

    def start(self, source: EncodedSource) -> tuple[ConvolutionalState, Memory]:  # noqa: D102
        memory = self._remember(source)
        rows, config = len(source.length), self.config
        empty = memory.values.new_zeros(rows, config.num_hidden, config.kernel_width - 1)
        return ConvolutionalState(torch.zeros_like(source.length), (empty,) * config.num_layers), memory

    def forward(self, embedded: Tensor, source: EncodedSource, length: Tensor | None = None) -> Tensor:  # noqa: D102
        fast = has_fused_windows(embedded.device)
        return self._fused(embedded, source, length) if fast else self.plain(embedded, source)

    def plain(self, embedded: Tensor, source: EncodedSource) -> Tensor:
        """``forward`` of the padding, too."""
        memory = self._remember(source)
        # Padding needs no mask, for no position sees what follows it.
        outputs = self.read(embedded)
        for convolution in self.blocks:
            hidden = convolution(cut_windows(self._drop(outputs), self.config.kernel_width - 1, 0))
            context, _ = self.attention(hidden.flatten(0, 1), memory)
            outputs = outputs + hidden + context.view_as(hidden)
        return outputs

    def _fused(self, embedded: Tensor, source: EncodedSource, length: Tensor | None) -> Tensor:
        """``forward`` of the tokens alone; zeros where nobody reads."""
        tokens = Tokens.of(length, embedded.shape[0], embedded.shape[1], embedded.device)
        memory = self._remember(source).asked_by(tokens.positions, embedded.shape[0] * embedded.shape[1])
        outputs = self.read_tokens(tokens, embedded)
        for convolution in self.blocks:
            hidden = convolution(windows(self._drop(outputs), tokens, self.config.kernel_width - 1, 0))
            context, _ = self.attention(hidden, memory)
            outputs = outputs + hidden + context
        return tokens.scatter(outputs)

    def step(  # noqa: D102
        self, embedded: Tensor, state: ConvolutionalState, memory: Memory
    ) -> tuple[Tensor, ConvolutionalState, Tensor]:
        output = self.input_layer(embedded + self.positions(state.position))
        past = []
        for convolution, before in zip(self.blocks, state.past, strict=True):
            window = torch.cat([before, self._drop(output)[:, :, None]], dim=-1)
            past.append(window[:, :, 1:])
            hidden = convolution(window)
            context, weights = self.attention(hidden, memory)
            output = output + hidden + context
        return output, ConvolutionalState(state.position + 1, tuple(past)), weights

    def _remember(self, source: EncodedSource) -> Memory:
        return self.attention.remember(EncodedSource(self.source_layer(source.states), source.length))

    def _drop(self, inputs: Tensor) -> Tensor:
        return functional.dropout(inputs, self.config.hidden_dropout, self.training)
