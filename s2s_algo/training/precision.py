"""In which precision the model computes while it trains; weights, gradients and moments are float32 in any case."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

PrecisionName = Literal["float32", "bfloat16", "auto"]


@dataclass(frozen=True, slots=True)
class Precision:
    """How forward passes compute.

    Attributes:
        device: Of the model.
        bfloat16: Whether matrix products take bfloat16 numbers (mixed precision).
    """

    device: torch.device
    bfloat16: bool

    @classmethod
    def choose(cls, name: PrecisionName, device: torch.device) -> Precision:
        """The precision of that name; ``auto`` is bfloat16 where the device computes with it natively.

        With float32 on a GPU that has TF32, products use it.
        """
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        return cls(device, name == "bfloat16" or (name == "auto" and _has_bfloat16(device)))

    def context(self) -> AbstractContextManager[object]:
        """Encloses a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
