"""Finding what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_LONGEST_COMPARED = 100  # characters
_NEAR = 0.5  # between 0 and 1, which means equal; below it a suggestion would only puzzle


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Finds the candidate that resembles a word most, or ``None`` if none is near.

    Case does not count, nor does the difference between a hyphen and an underscore. Of equals the first one is taken.
    """
    matcher = SequenceMatcher(b=_normalised(word[:_LONGEST_COMPARED]))  # keeps what it learns about b between words
    likeness: dict[str, float] = {}
    for candidate in candidates:
        matcher.set_seq1(_normalised(candidate))
        likeness[candidate] = matcher.ratio()
    best = max(likeness, key=likeness.__getitem__)
    return best if likeness[best] >= _NEAR else None


def _normalised(word: str) -> str:
    return word.casefold().replace("-", "_")
