"""What a search answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Translation:
    """One translation of one source sentence.

    Attributes:
        token_ids: Target vocabulary ids without ``<s>``, ``</s>`` and ``<pad>``.
        tokens: The same as strings.
        score: Length-normalised negative log-probability, lower is better; 0 for an empty source.
        attention: float32 [len(tokens), source tokens]; row t holds the attention weights with which token t was made.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    score: float
    attention: NDArray[np.float32]

    @property
    def text(self) -> str:
        """The tokens joined by single blanks."""
        return " ".join(self.tokens)
