"""A corpus as plain text, as all programs read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks._corpus import texts as parallel_text

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
    """Copies a corpus, unless it is there already.

    Args:
        corpus: Holds ``train.*``, ``val.*`` and ``TEST.*``, packed or not.
        folder: Where to.
        languages: Endings of the source and the target files, with a comma between them.
        test: What is to be translated.

    Raises:
        SystemExit: Other texts are there, of which programs have made models and data.
    """
    source, target = languages.split(",")
    texts = Texts(folder, source, target)
    train, validation, tested = (_pairs(corpus, name, languages) for name in ("train", "val", test))
    parts = {"train": train, "val": validation[:_VALIDATION_LINES], "test": tested, "first": tested[:_FIRST_LINES]}
    contents = {
        file: "".join(f"{line}\n" for line in lines).encode()
        for name, pairs in parts.items()
        for file, lines in zip(texts.pair(name), zip(*pairs, strict=True), strict=True)
    }
    if folder.exists():
        if any(not file.exists() or file.read_bytes() != content for file, content in contents.items()):
            raise SystemExit(
                f"{folder} does not hold {languages} of {corpus} with {test} to be translated; "
                f"remove {folder.parent}, or name another folder with --work"
            )
        return texts
    folder.mkdir(parents=True)
    for file, content in contents.items():
        file.write_bytes(content)
    return texts


def _pairs(corpus: Path, name: str, languages: str) -> list[tuple[str, ...]]:
    """The pairs of a part that have tokens on both sides, with one blank between them."""
    pairs = parallel_text(corpus, name, languages).pairs()
    spaced = [tuple(" ".join(side.split()) for side in pair) for pair in pairs]
    return [pair for pair in spaced if all(pair)]
