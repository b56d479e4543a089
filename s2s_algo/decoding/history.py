"""What a running search has done so far, kept until a sentence leaves and its hypotheses are traced back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class History:
    """Choices of every step for a fixed number of sentences at a time.

    The memory is reserved once and used again by the sentences to come, so that a search that never ends neither grows
    nor scatters small blocks; what was never written costs nothing on a CPU.
    """

    def __init__(self, places: int, steps: int, beam_size: int, width: int, device: torch.device) -> None:
        """Reserves memory.

        Args:
            places: C, sentences at a time.
            steps: T, most steps of a sentence; grows if a sentence has more.
            beam_size: K.
            width: S, most source positions; 0 if nobody asks for the attention.
            device: Of the search.
        """
        self._tokens = torch.empty(places, steps, beam_size, dtype=torch.int64, device=device)
        self._parents = torch.empty_like(self._tokens)
        self._attention = torch.empty(places, steps, beam_size, width, device=device)
        self._free = list(range(places))[::-1]

    @property
    def free(self) -> int:
        """How many sentences may still enter."""
        return len(self._free)

    def enter(self, steps: list[int]) -> list[int]:
        """Gives sentences that make at most so many steps their places."""
        if (most := max(steps)) > self._tokens.shape[1]:
            self._tokens, self._parents = _longer(self._tokens, most), _longer(self._parents, most)
            self._attention = _longer(self._attention, most)
        return [self._free.pop() for _ in steps]

    def leave(self, place: int) -> None:
        """Takes a place back."""
        self._free.append(place)

    def write(self, places: Tensor, steps: Tensor, tokens: Tensor, parents: Tensor) -> None:
        """Notes one step of the running sentences.

        Args:
            places: int64 [B].
            steps: int64 [B], how many steps each had made before.
            tokens: int64 [B, K].
            parents: int64 [B, K], which hypothesis of the step before each one continues.
        """
        self._tokens[places, steps] = tokens
        self._parents[places, steps] = parents

    def write_attention(self, places: Tensor, steps: Tensor, attention: Tensor) -> None:
        """Notes the attention weights of the same step.

        Args:
            places: int64 [B].
            steps: int64 [B].
            attention: float [B, K', S'], by the hypotheses before the step; K' is 1 at the first.
        """
        self._attention[places, steps, : attention.shape[1], : attention.shape[2]] = attention.float()

    def trace(
        self, place: int, steps: int, width: int, last: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Follows hypotheses of a sentence from its last step to its first.

        Args:
            place: Of the sentence.
            steps: How many it has made.
            width: Its source positions.
            last: int64 [N], which hypotheses of the last step.

        Returns:
            Their tokens, int64 [N, steps], and attention weights, float32 [N, steps, S]; S is 0 if they are not kept.
        """
        all_tokens = self._tokens[place, :steps].cpu().numpy()
        all_parents = self._parents[place, :steps].cpu().numpy()
        all_attention = self._attention[place, :steps, :, :width].cpu().numpy()
        tokens = np.empty((len(last), steps), dtype=np.int64)
        attention = np.empty((len(last), steps, all_attention.shape[-1]), dtype=np.float32)
        for step in reversed(range(steps)):
            tokens[:, step] = all_tokens[step, last]
            last = all_parents[step, last]
            attention[:, step] = all_attention[step, last]
        return tokens, attention


def _longer(tensor: Tensor, steps: int) -> Tensor:
    longer = tensor.new_empty(tensor.shape[0], steps, *tensor.shape[2:])
    longer[:, : tensor.shape[1]] = tensor
    return longer
