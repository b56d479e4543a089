"""The convolutional encoder."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from s2s_algo.model.attention import EncodedSource
from s2s_algo.model.config import ConvolutionalEncoderConfig
from s2s_algo.model.convolution import ConvolutionalStack, cut_windows
from s2s_algo.model.fast_paths import has_fused_windows
from s2s_algo.model.fused_windows import windows
from s2s_algo.model.shapes import length_mask
from s2s_algo.model.steps import Tokens


class ConvolutionalEncoder(ConvolutionalStack):
    """Reads the source; its states at padding are junk that nobody may read."""

    def __init__(self, config: ConvolutionalEncoderConfig, input_size: int) -> None:
        super().__init__(config, input_size)
        self.config = config

    def forward(self, embedded: Tensor, length: Tensor) -> EncodedSource:
        """Encodes.

        Args:
            embedded: float [B, S, E], S at most the number of positions.
            length: int64 [B], at least 1.
        """
        states = self._fused(embedded, length) if has_fused_windows(embedded.device) else self.plain(embedded, length)
        return EncodedSource(states, length)

    def plain(self, embedded: Tensor, length: Tensor) -> Tensor:
        """The states, float [B, S, H], of the padding, too."""
        padding = ~length_mask(length, embedded.shape[1])[:, :, None]
        reach = self.config.kernel_width // 2
        states = self.read(embedded)
        for convolution in self.blocks:
            # The neighbours of the last token are zeros, however long the batch is.
            seen = self._drop(states.masked_fill(padding, 0))
            states = states + convolution(cut_windows(seen, reach, reach))
        return states

    def _fused(self, embedded: Tensor, length: Tensor) -> Tensor:
        """The same, but of the tokens alone."""
        tokens = Tokens.of(length, embedded.shape[0], embedded.shape[1], embedded.device)
        reach = self.config.kernel_width // 2
        states = self.read_tokens(tokens, embedded)
        for convolution in self.blocks:
            states = states + convolution(windows(self._drop(states), tokens, reach, reach))
        return tokens.scatter(states)

    def _drop(self, inputs: Tensor) -> Tensor:
        return functional.dropout(inputs, self.config.hidden_dropout, self.training)
