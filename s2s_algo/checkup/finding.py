"""What one look at the machine has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# ``note``: it works, but should be known. ``problem``: training or serving will fail.
State = Literal["ok", "note", "problem"]

MEBIBYTE, GIBIBYTE = 2**20, 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table.

    Attributes:
        topic: What was looked at.
        found: In words or figures.
        state: How good that is.
        advice: What to do; empty if nothing.
    """

    topic: str
    found: str
    state: State = "ok"
    advice: str = ""


def in_words(size: int) -> str:
    """A number of bytes."""
    return f"{size / GIBIBYTE:,.1f} GiB" if size >= GIBIBYTE else f"{size / MEBIBYTE:,.0f} MiB"
