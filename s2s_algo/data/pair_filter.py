"""Which training pairs are left out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum

_DIGEST_SIZE = 16  # bytes: no two of 10¹⁵ pairs are likely to share one


class Skipped(StrEnum):
    """Why a pair is left out, as the report says it."""

    EMPTY = "with an empty side"
    TOO_LONG = "too long"
    UNEQUAL = "of too unequal lengths"
    DUPLICATE = "equal to an earlier one"


class PairFilter:
    """Decides about one pair after another.

    Attributes:
        reasons: All that it may give.
    """

    def __init__(
        self, max_length: int | None = None, max_ratio: float | None = None, drop_duplicates: bool = False
    ) -> None:
        self.reasons = [Skipped.EMPTY]
        self.reasons += [Skipped.TOO_LONG] * (max_length is not None)
        self.reasons += [Skipped.UNEQUAL] * (max_ratio is not None)
        self.reasons += [Skipped.DUPLICATE] * drop_duplicates
        self._max_length = max_length
        self._max_ratio = max_ratio
        self._seen: set[bytes] | None = set() if drop_duplicates else None

    def reason(self, source: Sequence[str], target: Sequence[str]) -> Skipped | None:
        """Why a pair of tokens is left out; ``None`` if it is kept."""
        shorter, longer = sorted((len(source), len(target)))
        if not shorter:
            return Skipped.EMPTY
        if self._max_length is not None and longer > self._max_length:
            return Skipped.TOO_LONG
        if self._max_ratio is not None and longer > self._max_ratio * shorter:
            return Skipped.UNEQUAL
        if self._seen is not None:
            # Digests, since the pairs of a large corpus do not fit into memory.
            text = f"{' '.join(source)}\n{' '.join(target)}"
            digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_SIZE).digest()
            if digest in self._seen:
                return Skipped.DUPLICATE
            self._seen.add(digest)
        return None
