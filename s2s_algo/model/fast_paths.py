"""Where fast paths are taken; everywhere else their plain twins are."""

from __future__ import annotations

import torch


def has_fused_loops(device: torch.device) -> bool:
    """Whether recurrent layers run as one operation each (``fused_decoder.py``, ``fused_sequence.py``).

    On GPUs they do not: there cuDNN is faster, and the number of rows of each step would have to be waited for. On the
    meta device, where memory is counted, they do what they do on CPUs.
    """
    return device.type in ("cpu", "meta")


def has_fast_linear(device: torch.device) -> bool:
    """Whether linear layers of whole sequences multiply by ``products.py`` while they learn: as the loops do."""
    return has_fused_loops(device)


def has_fused_windows(device: torch.device) -> bool:
    """Whether convolutions read tokens alone (``fused_windows.py``): where loops do, and for the same reasons."""
    return has_fused_loops(device)


def has_fused_loss(device: torch.device) -> bool:
    """Whether the output layer and the loss run as one operation (``training/output.py``): on CPUs alone, for now."""
    return device.type == "cpu"


def has_fast_likeliest(device: torch.device) -> bool:
    """Whether a search looks for the likeliest tokens block by block (``decoding/likeliest.py``): on CPUs alone."""
    return device.type == "cpu"
