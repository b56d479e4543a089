"""The processes that train one model together: each takes its share of every batch, all make the same updates.

Every method is collective: all workers call it at the same point, in the same order. A single process needs none of
them, so they cost nothing there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from s2s_algo.errors import LostWorkerError
from s2s_algo.memory import is_out_of_memory
from s2s_algo.training.stopping import StopRequested

_Value = TypeVar("_Value")
_Item = TypeVar("_Item")

# Gradients travel in pieces of at most so many numbers: large enough that latency does not count, small enough that
# the copy that a piece needs does not either.
_PIECE = 1 << 23

# How long a worker waits for the others: the leader may be building a corpus or writing a large checkpoint.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Workers:
    """All workers, seen by one of them.

    Attributes:
        device: Where this one computes.
        rank: Number of this one, from 0.
        size: How many there are.
        local_rank: Its number among those on its machine.
        local_size: How many those are.
    """

    device: torch.device
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this is the one that writes files and the log."""
        return self.rank == 0

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """This worker's part of something that all have; the parts follow one another and differ by at most 1 in size.

        Not collective.
        """
        return _part(items, self.rank, self.size)

    def share_of_host(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """The same of something that only the workers on this machine have."""
        return _part(items, self.local_rank, self.local_size)

    @property
    def leads_host(self) -> bool:
        """Whether this is the one that writes files for the others on its machine."""
        return self.local_rank == 0

    def sum(self, *numbers: float) -> list[float]:
        """The sums of each worker's numbers, in double precision and equal everywhere."""
        if self.size == 1:
            return list(numbers)
        summed = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        with _together():
            distributed.all_reduce(summed)
        return summed.tolist()

    def any(self, flag: bool) -> bool:
        """Whether any worker says so."""
        return self.sum(float(flag))[0] > 0

    def largest(self, number: int) -> int:
        """The largest of each worker's numbers."""
        return max(self.gather(number))

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replaces each gradient by the sum of the workers' gradients; a missing one counts as zero."""
        if self.size == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        for piece in _pieces(gradients):
            together = torch.cat([gradient.flatten() for gradient in piece])
            with _together():
                distributed.all_reduce(together)
            parts = together.split([gradient.numel() for gradient in piece])
            torch._foreach_copy_(piece, [part.view_as(gradient) for part, gradient in zip(parts, piece, strict=True)])

    def broadcast(self, value: _Value) -> _Value:
        """The leader's value."""
        if self.size == 1:
            return value
        box: list[_Value] = [value]
        with _together():
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def broadcast_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites tensors with the leader's."""
        if self.size > 1:
            with torch.no_grad(), _together():
                for tensor in tensors:
                    distributed.broadcast(tensor, src=0)

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all workers, by rank."""
        if self.size == 1:
            return [value]
        values: list[_Value | None] = [None] * self.size
        with _together():
            distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # all places are filled now


@contextmanager
def joined(rank: int, size: int, local_rank: int, local_size: int) -> Iterator[Workers]:
    """Joins the other workers, which the environment of torch's launcher tells how to find.

    After an error other than a request to stop, which all hear of, the others are not told good-bye: NCCL does that
    together with them, and they may be waiting for this process, which has to end now.
    """
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Workers(device, rank, size, local_rank, local_size)
    except StopRequested:
        distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    """Encloses what all workers do at the same time: it fails if one of them is gone."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = re.sub(r"^\[.*?\] ", "", str(error)).split(". ")[0].splitlines()[0]  # without lines of source code
        raise LostWorkerError(f"this training process lost another one ({reason})") from error


def _part(items: Sequence[_Item], rank: int, size: int) -> Sequence[_Item]:
    begin, end = (len(items) * number // size for number in (rank, rank + 1))
    return items[begin:end]


def _pieces(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    pieces: list[list[Tensor]] = []
    size = _PIECE
    for tensor in tensors:
        if size + tensor.numel() > _PIECE:
            pieces.append([])
            size = 0
        pieces[-1].append(tensor)
        size += tensor.numel()
    return pieces
