"""The convolutional encoder."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from s2s_algo.model.attention import EncodedSource
from s2s_algo.model.config import ConvolutionalEncoderConfig
from s2s_algo.model.convolution import ConvolutionalStack, cut_windows
from s2s_algo.model.shapes import length_mask


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
        padding = ~length_mask(length, embedded.shape[1])[:, :, None]
        reach = self.config.kernel_width // 2
        states = self.read(embedded)
        for convolution in self.blocks:
            # The neighbours of the last token are zeros, however long the batch is.
            seen = states.masked_fill(padding, 0)
            seen = functional.dropout(seen, self.config.hidden_dropout, self.training)
            states = states + convolution(cut_windows(seen, reach, reach))
        return EncodedSource(states, length)
