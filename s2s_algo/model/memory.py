"""Counting memory without using any: models on the meta device have shapes, but no numbers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from s2s_algo.model.config import ModelConfig
from s2s_algo.model.seq2seq import Seq2Seq


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One thing that needs memory: a short name for programs, a description for people, bytes."""

    name: str
    description: str
    size: int


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a task needs.

    Attributes:
        task: What is done, and how large it is.
        items: What needs memory.
        peak: Most bytes at one time, for not all items are there at once.
    """

    task: str
    items: Sequence[MemoryItem]
    peak: int

    @property
    def total(self) -> int:
        """Bytes of all items, as if they were there at once."""
        return sum(item.size for item in self.items)

    def __getitem__(self, name: str) -> int:
        """The bytes of one item."""
        return next(item.size for item in self.items if item.name == name)


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that are made inside this context and still held, on any device.

    Attributes:
        now: Bytes at this moment.
        peak: Most bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                # Weights that oneDNN has laid out show no storage; nobody has views of them.
                self._count(leaf, id(leaf), leaf.nbytes) if leaf.is_mkldnn else self._count_storage(leaf)
        self.peak = max(self.peak, self.now)
        return result

    def _count_storage(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._count(storage, storage._cdata, storage.nbytes())

    def _count(self, holder: Tensor | torch.UntypedStorage, address: int, size: int) -> None:
        if address in self._known:
            return

        def forget() -> None:
            self._known.discard(address)
            self.now -= size

        self._known.add(address)
        self.now += size
        weakref.finalize(holder, forget).atexit = False


def empty_model(config: ModelConfig) -> Seq2Seq:
    """A model without numbers, whatever its size."""
    with torch.device("meta"):
        return Seq2Seq(config)
