"""Showing values of strangers in messages."""

from __future__ import annotations

import reprlib

# Only the first 1,024 characters of a failure are shown to the user: no single value may fill them.
_SHORT = reprlib.Repr()
_SHORT.maxstring = 40
_SHORT.maxlong = 40
_SHORT.maxother = 40
_SHORT.maxlevel = 2
_SHORT.maxdict = _SHORT.maxlist = 2


def shown(value: object) -> str:
    """Writes a value as Python would, shortened, on one line."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a number of thousands of digits"
