"""Parallel text in the formats that people keep it in: two texts, tab-separated columns, translation memories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from s2s_algo.data.text import read_lines
from s2s_algo.data.tmx import read_tmx
from s2s_algo.errors import ClientError
from s2s_algo.wording import shown

_TSV, _TMX, _PACKED = ".tsv", ".tmx", ".gz"


class ParallelText(Protocol):
    """Sentences and their translations; as a string, how messages call it."""

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yields source and target, either of which may be blank, in bounded memory; may be called again.

        Raises:
            ClientError: A file cannot be read or breaks a rule of its format; names the file and the line.
        """


@dataclass(frozen=True, slots=True)
class TwoTexts:
    """Two files of one sentence a line; line n of one is the translation of line n of the other."""

    source: Path
    target: Path

    def pairs(self) -> Iterator[tuple[str, str]]:  # noqa: D102
        sources, targets = read_lines(self.source), read_lines(self.target)
        number = 0
        for source in sources:
            target = next(targets, None)
            if target is None:
                raise self._different(number + 1 + _count(sources), number)
            number += 1
            yield source.strip(), target.strip()
        if more := _count(targets):
            raise self._different(number, number + more)

    def _different(self, source: int, target: int) -> ClientError:
        return ClientError(
            f"{self.source} has {source} lines, {self.target} has {target}; line n of one must be the translation of "
            "line n of the other"
        )

    def __str__(self) -> str:
        return f"{self.source} and {self.target}"


@dataclass(frozen=True, slots=True)
class TabSeparated:
    """A file whose lines are a source, a tab and its translation."""

    path: Path

    def pairs(self) -> Iterator[tuple[str, str]]:  # noqa: D102
        for number, line in enumerate(read_lines(self.path), 1):
            columns = line.rstrip("\r\n").split("\t")
            if len(columns) == 1 and not columns[0].strip():
                columns = ["", ""]  # a blank line is a pair of blanks, as in two texts
            if len(columns) != 2:
                found = "no tab" if len(columns) == 1 else f"{len(columns)} columns"
                raise ClientError(
                    f"the line {shown(line.strip())} has {found}; a line must hold a source, one tab and its "
                    "translation, so cut out the two columns first",
                    where=f"{self.path}, line {number}",
                )
            yield columns[0].strip(), columns[1].strip()

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class TranslationMemory:
    """A TMX file; a language such as ``en`` stands for ``en-GB`` too."""

    path: Path
    source_language: str
    target_language: str

    def pairs(self) -> Iterator[tuple[str, str]]:  # noqa: D102
        return read_tmx(self.path, self.source_language, self.target_language)

    def __str__(self) -> str:
        return str(self.path)


def open_corpora(
    texts: Sequence[Path],
    train: Path | None = None,
    validation: Path | None = None,
    source_language: str | None = None,
    target_language: str | None = None,
) -> tuple[ParallelText, ParallelText]:
    """The parallel texts to train and to validate on.

    Args:
        texts: Two texts for each of the two that is not one file.
        train: One file to train on.
        validation: One file to validate on.
        source_language: Of the files that are translation memories.
        target_language: Likewise.

    Raises:
        ClientError: There are more or fewer files than needed, or a name tells no format, or the languages of a
            translation memory are missing, or those of other files are given.
    """
    rest = list(texts)
    needed = 2 * [train, validation].count(None)
    if len(rest) != needed:
        raise ClientError(
            f"{len(rest)} texts are given, but {needed} are needed: source and target to train on unless --train names "
            "one file of both, source and target to validate on unless --validation does"
        )
    if (source_language or target_language) and not any(path and _suffix(path) == _TMX for path in (train, validation)):
        raise ClientError(
            "--source-language and --target-language choose the languages of a .tmx file, but there is none; drop them"
        )
    train_text, validation_text = (
        TwoTexts(rest.pop(0), rest.pop(0)) if path is None else _open(path, source_language, target_language)
        for path in (train, validation)
    )
    return train_text, validation_text


def _open(path: Path, source_language: str | None, target_language: str | None) -> ParallelText:
    """The parallel text of a file whose name tells its format."""
    suffix = _suffix(path)
    if suffix == _TSV:
        return TabSeparated(path)
    if suffix != _TMX:
        raise ClientError(
            f"{path} is not a file of both languages, which end in .tsv, .tmx, .tsv.gz or .tmx.gz; give a text per "
            "language without --train and --validation"
        )
    if not source_language or not target_language:
        raise ClientError(
            f"{path} may hold many languages; say which to take with --source-language and --target-language"
        )
    return TranslationMemory(path, source_language, target_language)


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(_PACKED)).suffix


def _count(lines: Iterator[str]) -> int:
    return sum(1 for _ in lines)
