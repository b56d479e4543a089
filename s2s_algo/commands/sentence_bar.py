"""How far a command is that takes long."""

from __future__ import annotations

import sys
from typing import Any


def sentence_bar(doing: str, total: int | None = None, *, writes_lines: bool = True) -> Any:
    """A progress bar, to be told by ``update`` how many more sentences are done; none if nobody looks at a terminal.

    Args:
        doing: The word before it.
        total: Sentences; ``None`` if nobody knows.
        writes_lines: The command writes a line per sentence: on a terminal, these tell enough and would tear the bar.
    """
    from tqdm import tqdm

    hidden = True if writes_lines and sys.stdout.isatty() else None  # ``None`` leaves it to tqdm to look for a terminal
    return tqdm(desc=doing, total=total, unit=" sentences", leave=False, disable=hidden)
