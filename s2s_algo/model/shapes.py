"""The shape alphabet of every tensor docstring in this package.

======  =====================================================================
letter  meaning
======  =====================================================================
B       sentences in a batch
S       source length, padding included
T       target length, ``<s>`` or ``</s>`` and padding included
K       hypotheses per sentence (beam)
N       rows of a decoding step: B in training, B * K in a search
V       vocabulary size
E       embedding size
H       hidden size of a recurrent or convolutional layer
A       hidden size of the attention
M       positions that a convolutional encoder or decoder has learned
W       width of a convolution's kernel, tokens
F       outputs of a convolution before its activation: 2H for glu, else H
G       gates of a recurrent cell times H: 4H for LSTM, 3H for GRU
======  =====================================================================

All matrices are [outputs, inputs]; all batches are batch-major.
"""

from __future__ import annotations

import torch
from torch import Tensor


def length_mask(length: Tensor, size: int) -> Tensor:
    """True at tokens, False at padding.

    Args:
        length: int64 [B], tokens per sentence.
        size: The padded length.

    Returns:
        bool [B, size].
    """
    return torch.arange(size, device=length.device) < length[:, None]
