"""Tables on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of text; every row has as many cells as the head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def print(self) -> None:
        """Prints the columns, the last one flush right."""
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        for row in (self.head, ["-" * width for width in widths], *self.rows):
            cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
            click.echo("  ".join([*cells, row[-1].rjust(widths[-1])]))
