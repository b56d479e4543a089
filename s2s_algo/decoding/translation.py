"""What a search is asked for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Attributes:
        beam_size: Hypotheses kept per sentence, at least 1 (greedy).
        length_penalty_alpha: Exponent of the length penalty, 0 switches normalisation off.
        length_penalty_beta: Offset of the length penalty.
        max_output_length: Most target tokens, ``</s>`` included; ``None`` leaves it to the model's own limit.
        n_best: Hypotheses returned per sentence, at most ``beam_size``.
    """

    beam_size: int = 5
    length_penalty_alpha: float = 1.0
    length_penalty_beta: float = 0.0
    max_output_length: int | None = None
    n_best: int = 1


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
