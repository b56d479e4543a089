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
    folder.mkdir(parents=True)
    for language in (source, target):
        lines = {name: _lines(corpus, f"{name}.{language}") for name in ("train", "val", test)}
        parts = {
            "train": lines["train"],
            "val": lines["val"][:_VALIDATION_LINES],
            "test": lines[test],
            "first": lines[test][:_FIRST_LINES],
        }
        for name, part in parts.items():
            texts.file(name, language).write_text("".join(part), encoding="utf-8")
    return texts


def _lines(corpus: Path, name: str) -> list[str]:
    found = sorted(corpus.glob(f"{name}*"))
    if not found:
        raise click.ClickException(f"{corpus} holds no {name} or {name}.gz; name a folder with all parts of a corpus")
    content = found[0].read_bytes()
    text = (gzip.decompress(content) if found[0].suffix == ".gz" else content).decode()
    return [f"{line}\n" for line in text.split("\n") if line]
