"""A corpus of text files with one sentence a line."""

from __future__ import annotations

import gzip
from pathlib import Path

import click


def read_pairs(corpus: Path, name: str, languages: tuple[str, str]) -> list[tuple[str, str]]:
    """The sentences of a part, tokens with one blank between them; no pairs with a blank side.

    Args:
        corpus: Holds ``NAME.LANGUAGE``, packed or not.
        name: Of the part.
        languages: Source and target.
    """
    sides = [[" ".join(line.split()) for line in _lines(corpus, f"{name}.{language}")] for language in languages]
    return [pair for pair in zip(sides[0], sides[1], strict=True) if all(pair)]


def _lines(corpus: Path, name: str) -> list[str]:
    found = [file for file in (corpus / name, corpus / f"{name}.gz") if file.exists()]
    if not found:
        raise click.ClickException(f"{corpus} holds neither {name} nor {name}.gz; name a folder with both languages")
    content = found[0].read_bytes()
    return (gzip.decompress(content) if found[0].suffix == ".gz" else content).decode().split("\n")
