"""What the convolutional encoder and decoder share: inputs with positions, convolutions, activations.

After Gehring et al. (2017), but as in the original: any of five activations, no scaling by √½ of residual sums, all
layers of one width and no way back to the width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2s_algo.model.config import ActivationType, ConvolutionalDecoderConfig, ConvolutionalEncoderConfig
from s2s_algo.model.products import linear
from s2s_algo.model.steps import Tokens


def _gated(outputs: Tensor) -> Tensor:
    """The first half of float [..., 2H], each number let through by the sigmoid of its partner in the second."""
    return functional.glu(outputs, dim=-1)


_ACTIVATIONS: dict[ActivationType, Callable[[Tensor], Tensor]] = {
    "glu": _gated,
    "relu": torch.relu,
    "softrelu": functional.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


class Convolution(nn.Module):
    """One convolution and its activation, applied to windows that the caller cuts.

    The same matrix product then serves whole sequences and single steps; written so it is also as fast on a CPU as
    the best convolution kernels.

    Attributes:
        weight: float [F, H, W]; F is 2H for glu, whose gates need as many outputs again, and H otherwise.
        bias: float [F].
    """

    def __init__(self, hidden_size: int, kernel_width: int, activation: ActivationType) -> None:
        super().__init__()
        outputs = 2 * hidden_size if activation == "glu" else hidden_size
        self.weight = nn.Parameter(torch.empty(outputs, hidden_size, kernel_width))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.activation = _ACTIVATIONS[activation]

    def forward(self, windows: Tensor) -> Tensor:
        """Convolves.

        Args:
            windows: float [..., H, W], what each output position sees, oldest token first.

        Returns:
            float [..., H].
        """
        outputs = linear(windows.flatten(-2), self.weight.flatten(1), self.bias)
        return self.activation(outputs)


class ConvolutionalStack(nn.Module):
    """The parameters of a convolutional encoder or decoder.

    Attributes:
        positions: A learned vector per position, float [M, E], added to the embeddings.
        input_layer: From E to H numbers, without bias.
        convolutions: One per block.
    """

    def __init__(self, config: ConvolutionalEncoderConfig | ConvolutionalDecoderConfig, input_size: int) -> None:
        super().__init__()
        self.positions = nn.Embedding(config.max_length, input_size)
        self.input_layer = nn.Linear(input_size, config.num_hidden, bias=False)
        self.convolutions = nn.ModuleList(
            Convolution(config.num_hidden, config.kernel_width, config.activation) for _ in range(config.num_layers)
        )

    @property
    def blocks(self) -> Sequence[Convolution]:
        """The convolutions, bottom first."""
        return cast(Sequence[Convolution], self.convolutions)

    def read(self, embedded: Tensor) -> Tensor:
        """What the first block sees of whole sequences: float [B, T, H] of embeddings float [B, T, E]."""
        return self.input_layer(self._with_positions(embedded))

    def read_tokens(self, tokens: Tokens, embedded: Tensor) -> Tensor:
        """The same of the tokens alone: float [N, H] of embeddings float [B, T, E]."""
        return self.input_layer(tokens.gather(self._with_positions(embedded)))

    def _with_positions(self, embedded: Tensor) -> Tensor:
        # Batches are padded to 2 at least, so that a single position also serves the padding behind it.
        return embedded + self.positions.weight[: embedded.shape[1]]


def cut_windows(inputs: Tensor, before: int, after: int) -> Tensor:
    """What each position sees of its neighbours; beyond both ends there are zeros.

    Args:
        inputs: float [B, T, H].
        before: Neighbours before each position.
        after: Neighbours after it.

    Returns:
        float [B, T, H, W] with W = before + 1 + after.
    """
    return functional.pad(inputs, (0, 0, before, after)).unfold(1, before + 1 + after, 1)
