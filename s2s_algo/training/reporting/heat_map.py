"""Pictures of attention, as the page's template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s2s_algo.training.reporting.examples import Shown

_CELL = 22  # pixels
_LETTER = 8  # pixels, about
_LONGEST_LABEL = 14  # letters
_FAINTEST = 0.005  # a weight that can be seen
_MOST_TOKENS = 40  # of a side


@dataclass(frozen=True, slots=True)
class Label:
    """A token beside its row or above its column."""

    x: float
    y: float
    text: str
    whole: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A weight, 0 to 1, at its place."""

    x: float
    y: float
    weight: float
    text: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The attention of a translation: a column for each source token, a row for each target token.

    Attributes:
        width, height: Of the picture, in pixels.
        left, top: Where the cells begin.
        cell: Size of a cell.
        slanted: Whether the labels above are, for lack of room.
        columns, rows: Labels.
        cells: What can be seen.
    """

    width: float
    height: float
    left: float
    top: float
    cell: int
    slanted: bool
    columns: Sequence[Label]
    rows: Sequence[Label]
    cells: Sequence[Cell]


def heat_map(shown: Shown) -> HeatMap | None:
    """Draws the attention; ``None`` if there is no token on one side."""
    source, target = list(shown.source)[:_MOST_TOKENS], list(shown.translation.tokens)[:_MOST_TOKENS]
    if not source or not target:
        return None
    columns, rows = [_short(token) for token in source], [_short(token) for token in target]
    longest = max(map(len, columns))
    slanted = longest > 2
    left = 10 + _LETTER * max(map(len, rows))
    top = 8 + (0.75 * _LETTER * longest + 8 if slanted else 14)
    # A slanted label leans over the right edge.
    right = 4 + (0.75 * _LETTER * len(columns[-1]) if slanted else 0)
    cells = [
        Cell(
            left + column * _CELL,
            top + row * _CELL,
            round(weight, 3),
            f"{target[row]} ← {source[column]}: {weight:.2f}",
        )
        for row, weights in enumerate(shown.translation.attention[: len(target), : len(source)].tolist())
        for column, weight in enumerate(weights)
        if weight >= _FAINTEST
    ]
    return HeatMap(
        width=left + len(source) * _CELL + right,
        height=top + len(target) * _CELL + 4,
        left=left,
        top=top,
        cell=_CELL,
        slanted=slanted,
        columns=[
            Label(left + (number + 0.5) * _CELL, top - 6, text, source[number]) for number, text in enumerate(columns)
        ],
        rows=[
            Label(left - 6, top + (number + 0.5) * _CELL + 4, text, target[number]) for number, text in enumerate(rows)
        ],
        cells=cells,
    )


def _short(token: str) -> str:
    return token if len(token) <= _LONGEST_LABEL else token[: _LONGEST_LABEL - 1] + "…"
