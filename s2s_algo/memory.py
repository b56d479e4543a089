"""Telling that memory ran out, and getting it back."""

from __future__ import annotations

import sys
from typing import Any

# CPU allocators and CUDA libraries report it as a RuntimeError with one of these texts.
_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether an error means that memory ran out, on the host or on a device."""
    if isinstance(error, MemoryError):
        return True
    # Not imported: if nothing has loaded torch, the error is none of its own, and loading it would take seconds.
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def free_device_memory() -> None:
    """Returns cached blocks of device memory, so that a smaller allocation can succeed."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
