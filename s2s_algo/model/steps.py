"""Sentences of different lengths as rows, so that padding costs nothing: step by step, or one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from s2s_algo.model.shapes import length_mask

# Numbers of rows are multiples of these: for each number that oneDNN meets it makes machine code.
_MULTIPLE = 4
_MULTIPLE_OF_TOKENS = 32
# And for large batches there are not many more different numbers than this.
_NUMBERS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some positions of a batch.

    Attributes:
        positions: int64 [N], for each row its position in a batch [B * T].
        shape: B and T.
    """

    positions: Tensor
    shape: tuple[int, int]

    def gather(self, batch: Tensor) -> Tensor:
        """Rows [N, ...] of a batch [B, T, ...]."""
        return batch.flatten(0, 1).index_select(0, self.positions)

    def scatter(self, rows: Tensor) -> Tensor:
        """A batch [B, T, ...] of rows [N, ...], with zeros where there is no row."""
        batch, width = self.shape
        empty = rows.new_zeros(batch * width, *rows.shape[1:])
        return empty.index_copy(0, self.positions, rows).unflatten(0, (batch, width))


@dataclass(frozen=True, slots=True, eq=False)
class Tokens(Rows):
    """All tokens, sentence after sentence.

    Some padding comes behind them, so that N is one of few numbers; nobody may read what becomes of it.

    Attributes:
        place: int64 [N], of each one in its sentence.
        left: int64 [N], how many follow it there; negative at padding.
    """

    place: Tensor
    left: Tensor

    @classmethod
    def of(cls, length: Tensor | None, batch: int, width: int, device: torch.device) -> Tokens:
        """The tokens of sentences padded to a width.

        Args:
            length: int64 [B], at least 1; ``None`` if all positions count.
            batch: B.
            width: T.
            device: Of the indices.
        """
        if length is None or length.device.type == "meta":
            length = torch.full((batch,), width, device=device)
            positions = torch.arange(batch * width, device=device)
        else:
            is_token = length_mask(length, width).flatten()
            tokens, padding = is_token.nonzero()[:, 0], (~is_token).nonzero()[:, 0]
            positions = torch.cat([tokens, padding[: -len(tokens) % _MULTIPLE_OF_TOKENS]])
        place = positions % width
        return cls(positions, (batch, width), place, length[positions // width] - 1 - place)


@dataclass(frozen=True, slots=True, eq=False)
class Steps(Rows):
    """Which rows are at work at each step: those of the longest sentences, which come first.

    A few rows of sentences that have just ended are among them; nobody may read these.

    Attributes:
        order: int64 [B], the sentences from the longest to the shortest.
        sizes: Rows of each step, which never grow; N in all.
    """

    order: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, length: Tensor | None, batch: int, width: int, device: torch.device) -> Steps:
        """The steps of sentences padded to a width.

        Args:
            length: int64 [B], at least 1; ``None`` if all positions count.
            batch: B.
            width: T.
            device: Of the indices.
        """
        if length is None or length.device.type == "meta":
            order, sizes = torch.arange(batch, device=device), [batch] * width
        else:
            sorted_length, order = length.sort(descending=True, stable=True)
            at_work = (sorted_length[None, :] > torch.arange(width, device=device)[:, None]).sum(1)
            multiple = max(_MULTIPLE, -(-batch // _NUMBERS // _MULTIPLE) * _MULTIPLE)
            sizes = [min(batch, -(-number // multiple) * multiple) for number in at_work.tolist() if number]
        grid = order * width + torch.arange(len(sizes), device=device)[:, None]
        first = torch.cat([grid[step, :size] for step, size in enumerate(sizes)])
        return cls(first, (batch, width), order, tuple(sizes))

    def rows(self) -> Iterator[slice]:
        """The rows of each step, in order."""
        end = 0
        for size in self.sizes:
            yield slice(end, end + size)
            end += size

    @property
    def total(self) -> int:
        """All rows, N."""
        return sum(self.sizes)

    def by_sentence(self, rows: Tensor) -> Tensor:
        """[B, T', ...] of rows [N, ...]: the sentences from the longest to the shortest, zeros after their ends."""
        found = rows.new_zeros(len(self.order), len(self.sizes), *rows.shape[1:])
        for step, of_step in enumerate(self.rows()):
            found[: self.sizes[step], step] = rows[of_step]
        return found
