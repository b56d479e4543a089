"""The recurrent encoder: one bi-directional layer, then forward layers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from s2s_algo.model.attention import EncodedSource
from s2s_algo.model.config import RecurrentEncoderConfig
from s2s_algo.model.fast_paths import has_fused_loops
from s2s_algo.model.fused_sequence import read
from s2s_algo.model.recurrent import SEQUENCES
from s2s_algo.model.shapes import length_mask
from s2s_algo.model.steps import Steps


class RecurrentEncoder(nn.Module):
    """Reads the source; its states at padding are junk that nobody may read.

    The backward direction reads each sentence from its own last token to its first, so padding never reaches a token
    and no packing is needed: both directions run as plain dense layers, which have the fastest kernels everywhere.
    """

    def __init__(self, config: RecurrentEncoderConfig, input_size: int) -> None:
        super().__init__()
        self.config = config
        layer, hidden = SEQUENCES[config.cell_type], config.num_hidden
        self.forward_layer = layer(input_size, hidden // 2, batch_first=True)
        self.backward_layer = layer(input_size, hidden // 2, batch_first=True)
        self.upper_layers = nn.ModuleList(layer(hidden, hidden, batch_first=True) for _ in range(config.num_layers - 1))

    def forward(self, embedded: Tensor, length: Tensor) -> EncodedSource:
        """Encodes.

        Args:
            embedded: float [B, S, E].
            length: int64 [B], at least 1.
        """
        states = self._fused(embedded, length) if has_fused_loops(embedded.device) else self.plain(embedded, length)
        return EncodedSource(states, length)

    def plain(self, embedded: Tensor, length: Tensor) -> Tensor:
        """The states, float [B, S, H], by torch's layers, which read the padding, too."""
        reverse = _reversal(length, embedded.shape[1])
        with _never_float16(embedded.device):
            ahead, _ = self.forward_layer(embedded)
            back, _ = self.backward_layer(_permute(embedded, reverse))
            states = torch.cat([ahead, _permute(back, reverse)], dim=-1)
            for number, layer in enumerate(self.upper_layers, start=2):
                output, _ = layer(states)
                states = self._above(number, output, states)
        return states

    def _fused(self, embedded: Tensor, length: Tensor) -> Tensor:
        """The same, but of the tokens alone."""
        batch, width, _ = embedded.shape
        steps = Steps.of(length, batch, width, embedded.device)
        reverse = _reversal(length, width) + width * torch.arange(batch, device=length.device)[:, None]
        backwards = replace(steps, positions=reverse.flatten()[steps.positions])
        ahead = self._read(self.forward_layer, steps, steps.gather(embedded))
        back = self._read(self.backward_layer, backwards, backwards.gather(embedded))
        if not len(self.upper_layers):
            return torch.cat([steps.scatter(ahead), backwards.scatter(back)], dim=-1)
        states = torch.cat([ahead, steps.gather(backwards.scatter(back))], dim=-1)
        for number, layer in enumerate(self.upper_layers, start=2):
            output = self._read(layer, steps, states)
            states = self._above(number, output, states)
        return steps.scatter(states)

    def _read(self, layer: nn.Module, steps: Steps, inputs: Tensor) -> Tensor:
        if isinstance(layer, nn.LSTM | nn.GRU):
            return read(layer, self.config.cell_type, steps, inputs)
        # A model that only translates has others (``decoding/fixed.py``).
        return cast(Tensor, cast(Any, layer).read(steps, inputs))

    def _above(self, number: int, output: Tensor, states: Tensor) -> Tensor:
        """What a layer's output and the states below it become."""
        residual = self.config.residual and number >= self.config.first_residual_layer
        return output + states if residual else output


def _never_float16(device: torch.device) -> AbstractContextManager[object]:
    """Encloses recurrent layers, which stay in float32 on GPUs.

    Under autocast torch hands them to cuDNN in float16, also where bfloat16 is asked for. In float16 the gradients of
    single tokens of a large batch are 0, unless the loss is scaled.
    """
    return torch.autocast("cuda", enabled=False) if device.type == "cuda" else nullcontext()


def _reversal(length: Tensor, size: int) -> Tensor:
    """int64 [B, size]: for each position where its mirror image is; padding stays in place. Its own inverse."""
    position = torch.arange(size, device=length.device).expand(len(length), size)
    return torch.where(length_mask(length, size), length[:, None] - 1 - position, position)


def _permute(states: Tensor, positions: Tensor) -> Tensor:
    """Takes from float [B, S, H] the positions int64 [B, S] of each sentence."""
    return states.gather(1, positions[:, :, None].expand(-1, -1, states.shape[2]))
