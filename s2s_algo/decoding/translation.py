"""What a search answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s2s_algo.data.segmentation import WHITESPACE, Segmentation


@dataclass(frozen=True, slots=True)
class Translation:
    """One translation of one source sentence.

    Attributes:
        token_ids: Target vocabulary ids without ``<s>``, ``</s>`` and ``<pad>``.
        tokens: The same as strings.
        score: Length-normalised negative log-probability, lower is better; 0 for an empty source.
        attention: float32 [len(tokens), source tokens]; row t holds the attention weights with which token t was made;
            float32 [len(tokens), 0] if they were not asked for.
        segmentation: How the tokens become text.
        source_tokens: What was translated, where a caller has put it.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    score: float
    attention: NDArray[np.float32]
    segmentation: Segmentation = WHITESPACE
    source_tokens: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The sentence."""
        return self.segmentation.join(self.tokens)


def replace_unknown(translation: Translation, source: Sequence[str], unknown: int) -> Translation:
    """Puts for each ``<unk>`` the source token that it attends to most; the ids stay.

    Args:
        translation: With its attention weights.
        source: The source's tokens as they were sent.
        unknown: Id of ``<unk>``.
    """
    tokens = [
        source[int(weights.argmax())] if id_ == unknown and source else token
        for id_, token, weights in zip(translation.token_ids, translation.tokens, translation.attention, strict=True)
    ]
    return replace(translation, tokens=tuple(tokens))
