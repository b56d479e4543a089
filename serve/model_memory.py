"""How much memory the models of a multi-model endpoint may take together, and what they take of it."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any

from s2s_algo.machine import available_memory
from s2s_algo.memory import free_device_memory
from serve.metrics import Metrics
from serve.problems import InsufficientMemoryError
from serve.settings import MEBIBYTE
from serve.strict_json import quote

# Of the machine or container, before its models get their share: the interpreter, torch, the machine code that oneDNN
# makes, and the system beside them.
PROCESS_BYTES = 768 * MEBIBYTE
# The rest is for the bodies of requests, for what an allocator cannot give back, and for estimates that are too low.
_SHARE = 0.75
_LEAST = 64 * MEBIBYTE

_DEVICES = Path("/dev")


class MemoryBudget:
    """What all models are counted with, which is never more than a limit; safe to use from several threads.

    Args:
        limit: Bytes of all models together.
        metrics: Told what is counted.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self.limit = limit
        self._metrics = metrics
        self._lock = threading.Lock()  # guards the claims
        self._claims: dict[str, int] = {}
        self._tell()

    @property
    def claimed(self) -> int:
        """Bytes that all models are counted with."""
        with self._lock:
            return sum(self._claims.values())

    def claim(self, name: str, size: int) -> None:
        """Counts a model with so many bytes, instead of those that it was counted with before.

        Raises:
            InsufficientMemoryError: There are not so many left; what was claimed before stays so.
        """
        with self._lock:
            left = self.limit - sum(other for key, other in self._claims.items() if key != name)
            if size > left:
                raise InsufficientMemoryError(self._message(name, size, left))
            self._claims[name] = size
            self._tell()

    def release(self, name: str) -> None:
        """Counts a model no longer, if it was."""
        with self._lock:
            self._claims.pop(name, None)
            self._tell()

    def _message(self, name: str, size: int, left: int) -> str:
        needs = f"the model {quote(name)} needs about {_megabytes(size)} MB of memory"
        if size > self.limit:
            return (
                f"{needs}, more than the {_megabytes(self.limit)} MB that all models may take; raise "
                "S2S_MODEL_MEMORY_MB, or use an instance type with more memory"
            )
        return (
            f"{needs}, and of the {_megabytes(self.limit)} MB that all models may take {left // MEBIBYTE} MB are left; "
            "unload other models with DELETE /models/NAME and send it again, raise S2S_MODEL_MEMORY_MB, or use an "
            "instance type with more memory"
        )

    def _tell(self) -> None:
        self._metrics.model_memory(sum(self._claims.values()), self.limit)


def _megabytes(size: int) -> int:
    return -(-size // MEBIBYTE)


def default_limit() -> int:
    """Bytes that all models may take if nobody says: three quarters of what the process itself leaves of the memory.

    On a GPU it is no more than the same share of the device's memory.
    """
    limit = max(_LEAST, int(_SHARE * (available_memory() - PROCESS_BYTES)))
    # Torch is loaded for this only if there is a GPU: without one the server is up seconds earlier.
    device = _device_memory() if has_gpu() else None
    return limit if device is None else min(limit, max(_LEAST, int(_SHARE * device)))


def has_gpu() -> bool:
    """Whether this container has been given a GPU, told without torch."""
    return any(_DEVICES.glob("nvidia[0-9]*"))


def _device_memory() -> int | None:
    import torch

    if not torch.cuda.is_available():
        return None
    properties: Any = torch.cuda.get_device_properties(torch.device("cuda"))
    return int(properties.total_memory)


def give_memory_back() -> None:
    """Returns to the system and to the device what nobody holds any more."""
    free_device_memory()
    trim_memory()


def trim_memory() -> None:
    """Returns to the system what nobody holds any more, of the host alone."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; other C libraries return memory by themselves
    if trim is not None:
        trim(0)
