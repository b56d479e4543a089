"""The length penalty of Wu et al. (2016): what a sum of log-probabilities is divided by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

_Length = TypeVar("_Length", float, Tensor)


@dataclass(frozen=True, slots=True)
class LengthPenalty:
    """((beta + n) / (beta + 1)) ** alpha for n tokens; n itself by default, and always 1 with alpha 0."""

    alpha: float = 1.0
    beta: float = 0.0

    def __call__(self, length: _Length) -> _Length:
        """The penalty of one length or of a tensor of lengths."""
        return ((self.beta + length) / (self.beta + 1)) ** self.alpha
