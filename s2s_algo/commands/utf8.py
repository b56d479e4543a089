"""Standard input and output in every locale."""

from __future__ import annotations

import io
import sys


def use_utf8() -> None:
    """Makes texts UTF-8 in every locale, with U+FFFD in place of what is not, as in ``prepare``."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace", newline="\n")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
