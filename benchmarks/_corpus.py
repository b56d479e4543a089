"""A folder of parallel text, prepared as ``s2s prepare`` does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s2s_algo.data.channels import Channels, RecordChannel, VocabularyFiles
from s2s_algo.data.parallel_text import TwoTexts
from s2s_algo.data.prepare import TRAIN_RECORDS, VALIDATION_RECORDS, prepare
from s2s_algo.data.prepare_options import PrepareOptions
from s2s_algo.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Prepared:
    """The input of a job: records of ids, and what the ids mean."""

    channels: Channels
    vocabularies: tuple[Vocabulary, Vocabulary]


def texts(folder: Path, name: str, languages: str) -> TwoTexts:
    """The source and the target file of a name such as ``train``, packed or not.

    Args:
        folder: Where they are.
        name: Before the language.
        languages: The endings of both, such as ``en,de``.
    """
    source, target = (_file(folder, f"{name}.{language}") for language in languages.split(","))
    return TwoTexts(source, target)


def prepared(train: TwoTexts, validation: TwoTexts, output: Path) -> Prepared:
    """Writes the records of both texts; the vocabularies hold the words that occur twice in the first."""
    prepare(
        PrepareOptions(
            train=train, validation=validation, output=output, word_min_count_source=2, word_min_count_target=2
        )
    )
    files = VocabularyFiles.of(output)
    channels = Channels(
        train=RecordChannel("train", (output / TRAIN_RECORDS,)),
        validation=RecordChannel("validation", (output / VALIDATION_RECORDS,)),
        vocab=files,
    )
    return Prepared(channels, (files.load_source(), files.load_target()))


def _file(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.exists():
            return file
    raise SystemExit(f"{folder} has neither {name} nor {name}.gz; give a folder with such text, a sentence per line")
