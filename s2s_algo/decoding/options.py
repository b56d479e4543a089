"""What a search is asked for. Imports neither torch nor numpy: a wrong job is found before they are loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from s2s_algo.errors import ClientError

_LARGEST_BEAM = 1000

# Of products with the weights of a model that only translates.
PrecisionName = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Attributes:
        beam_size: Hypotheses kept per sentence, at least 1 (greedy).
        length_penalty_alpha: Exponent of the length penalty, 0 switches normalisation off.
        length_penalty_beta: Offset of the length penalty.
        max_output_length: Most target tokens, ``</s>`` included; ``None`` leaves it to the model's own limit.
        n_best: Hypotheses returned per sentence, at most ``beam_size``.
        with_attention: Whether translations come with their attention weights.
    """

    beam_size: int = 5
    length_penalty_alpha: float = 1.0
    length_penalty_beta: float = 0.0
    max_output_length: int | None = None
    n_best: int = 1
    with_attention: bool = True

    def check(self, vocabulary_size: int) -> None:
        """Raises a ClientError unless a model with a target vocabulary of this size can search so."""
        most = min(vocabulary_size - 1, _LARGEST_BEAM)
        if not 1 <= self.beam_size <= most:
            raise ClientError(
                f"beam_size: {self.beam_size} is not in 1 … {most} "
                f"(the target vocabulary has {vocabulary_size} entries). Choose a smaller beam."
            )
        if not 1 <= self.n_best <= self.beam_size:
            raise ClientError(
                f"n_best: {self.n_best} is not in 1 … {self.beam_size} (the beam size). "
                "Ask for fewer translations or raise beam_size."
            )
        if self.max_output_length is not None and self.max_output_length < 1:
            raise ClientError(f"max_output_length: {self.max_output_length} is below 1.")
        for name in ("length_penalty_alpha", "length_penalty_beta"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ClientError(f"{name}: {value} is not a finite number of 0 or more.")
