"""A corpus as plain text, as all programs read it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import click

# Every program translates its validation text at least once, and nothing here needs it.
_VALIDATION_LINES = 100
_FIRST_LINES = 100


@dataclass(frozen=True, slots=True)
class Texts:
    """Files of one sentence a line, tokens between blanks, ``NAME.LANGUAGE`` each.

    Attributes:
        folder: Holds ``train``, ``val``, ``test``, and ``first``, the first lines of ``test``.
        source, target: The languages.
    """

    folder: Path
    source: str
    target: str

    def file(self, name: str, language: str) -> Path:
        """One of them."""
        return self.folder / f"{name}.{language}"

    def pair(self, name: str) -> tuple[Path, Path]:
        """The source and the target."""
        return self.file(name, self.source), self.file(name, self.target)


def lay_out(corpus: Path, folder: Path, languages: str, test: str) -> Texts:
    """Copies a corpus; returns what is there already if it is.

    Args:
        corpus: Holds ``train.*``, ``val.*`` and ``TEST.*``, packed or not.
        folder: Where to.
        languages: Endings of the source and the target files, with a comma between them.
        test: What is to be translated.
    """
    source, target = languages.split(",")
    texts = Texts(folder, source, target)
    if folder.exists():
        return texts
    train, validation, tested = (_pairs(corpus, name, (source, target)) for name in ("train", "val", test))
    parts = {"train": train, "val": validation[:_VALIDATION_LINES], "test": tested, "first": tested[:_FIRST_LINES]}
    folder.mkdir(parents=True)
    for name, pairs in parts.items():
        for file, lines in zip(texts.pair(name), zip(*pairs, strict=True), strict=True):
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return texts


def _pairs(corpus: Path, name: str, languages: tuple[str, str]) -> list[tuple[str, str]]:
    """Tokens with one blank between them, which all programs split alike; no blank lines."""
    sides = [[" ".join(line.split()) for line in _lines(corpus, f"{name}.{language}")] for language in languages]
    return [pair for pair in zip(sides[0], sides[1], strict=True) if all(pair)]


def _lines(corpus: Path, name: str) -> list[str]:
    found = [file for file in (corpus / name, corpus / f"{name}.gz") if file.exists()]
    if not found:
        raise click.ClickException(f"{corpus} holds neither {name} nor {name}.gz; name a folder with both languages")
    content = found[0].read_bytes()
    return (gzip.decompress(content) if found[0].suffix == ".gz" else content).decode().split("\n")
