"""The input channels: where the training pairs, the validation pairs, the vocabularies and a first model lie.

Source: container contract 1.5, 1.6 and 2.4; decisions 27 and 28.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError
from s2s_algo.json_file import read_json_object

SOURCE_VOCABULARY, TARGET_VOCABULARY = "vocab.src.json", "vocab.trg.json"
SOURCE_SUBWORDS, TARGET_SUBWORDS = "spm.src.model", "spm.trg.model"

TRAIN, VALIDATION, VOCAB, MODEL = "train", "validation", "vocab", "model"
_NAMES = (TRAIN, VALIDATION, VOCAB, MODEL)
_REPLICATED, _SHARDED = "FullyReplicated", "ShardedByS3Key"

# Content types that cannot be protobuf records. Everything else may be, whatever a client calls it.
_WRONG_KINDS = ("text", "image", "audio", "video")
_WRONG_CONTENT_TYPES = ("application/json", "application/jsonlines", "application/x-parquet")


@dataclass(frozen=True, slots=True)
class RecordChannel:
    """A channel of RecordIO-protobuf files.

    Attributes:
        name: ``train`` or ``validation``.
        files: The files to read, in this order.
        distribution: ``FullyReplicated`` (every host has all files) or ``ShardedByS3Key`` (every host has its own).
    """

    name: str
    files: tuple[Path, ...]
    distribution: str = _REPLICATED

    @property
    def is_sharded(self) -> bool:
        """Whether every host has files of its own."""
        return self.distribution == _SHARDED

    def describe(self, file: Path) -> str:
        """Returns the place of one file for messages, such as ``train channel, file part/a.rec``."""
        folder = os.path.commonpath([other.parent for other in self.files])
        return f"{self.name} channel, file {_printable(os.path.relpath(file, folder))}"


@dataclass(frozen=True, slots=True)
class VocabularyFiles:
    """The files of the ``vocab`` channel.

    Attributes:
        source, target: The vocabularies.
        source_subwords, target_subwords: The SentencePiece models of text, where a file of this name exists.
    """

    source: Path
    target: Path
    source_subwords: Path | None = None
    target_subwords: Path | None = None

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The files of a folder."""
        names = (SOURCE_VOCABULARY, TARGET_VOCABULARY, SOURCE_SUBWORDS, TARGET_SUBWORDS)
        return cls(*(folder / name for name in names))

    def load_source(self) -> Vocabulary:
        """Reads the source's; raises as `Vocabulary.load` does."""
        return Vocabulary.load(self.source, self.source_subwords)

    def load_target(self) -> Vocabulary:
        """Reads the target's; raises as `Vocabulary.load` does."""
        return Vocabulary.load(self.target, self.target_subwords)


@dataclass(frozen=True, slots=True)
class Channels:
    """All input of a training job.

    Attributes:
        model: The folder of the model whose weights the job begins with, if there is one.
    """

    train: RecordChannel
    validation: RecordChannel
    vocab: VocabularyFiles
    model: Path | None = None


def read_channels(config_path: Path, data_dir: Path) -> Channels:
    """Finds the files of all channels.

    Args:
        config_path: ``inputdataconfig.json``. Without this file the folders in `data_dir` are the channels.
        data_dir: Folder with one folder per channel.

    Raises:
        ClientError: A channel is missing, empty, unknown, or delivered in a mode or content type that cannot be read.
            One error tells all problems, one a line.
    """
    problems: list[str] = []
    settings = _read_settings(config_path, problems)
    train = _record_channel(TRAIN, settings.get(TRAIN, {}), data_dir, problems)
    validation = _record_channel(VALIDATION, settings.get(VALIDATION, {}), data_dir, problems)
    vocab = _vocabulary_files(settings.get(VOCAB, {}), data_dir, problems)
    model = _model_folder(settings.get(MODEL), data_dir, problems)
    if train is None or validation is None or vocab is None or problems:
        raise ClientError("\n".join(problems))
    return Channels(train, validation, vocab, model)


def _read_settings(config_path: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    """Returns the settings of each configured channel; none if the file is absent or broken."""
    try:
        config = read_json_object(config_path, "it must be an object of channels") or {}
    except ClientError as error:
        problems.append(str(error))
        return {}

    settings = {}
    for name, entry in config.items():
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, n=1)
            hint = f", did you mean '{near[0]}'?" if near else ""
            problems.append(f"{name!r} is not a channel of this algorithm; it reads {', '.join(_NAMES)}{hint}")
        elif not isinstance(entry, dict):
            problems.append(f"{name} channel: {config_path.name} must hold an object of settings for it")
        else:
            settings[name] = entry
    return settings


def _record_channel(name: str, settings: dict[str, Any], data_dir: Path, problems: list[str]) -> RecordChannel | None:
    """Finds the record files of one channel; on any problem tells it and returns None."""
    found = [*_mode_problems(name, settings, data_dir), *_content_type_problems(name, settings)]
    distribution = settings.get("S3DistributionType") or _REPLICATED
    if distribution not in (_REPLICATED, _SHARDED):
        found.append(f"{name} channel: S3DistributionType {distribution!r} is not {_REPLICATED} or {_SHARDED}")
    files: tuple[Path, ...] = ()
    if not found:
        files = _record_files(name, data_dir / name, found)
    problems.extend(found)
    return None if found else RecordChannel(name, files, distribution)


def _vocabulary_files(settings: dict[str, Any], data_dir: Path, problems: list[str]) -> VocabularyFiles | None:
    """Finds the two vocabulary files; on any problem tells it and returns None."""
    found = _mode_problems(VOCAB, settings, data_dir)
    folder = data_dir / VOCAB
    missing = [name for name in (SOURCE_VOCABULARY, TARGET_VOCABULARY) if not (folder / name).is_file()]
    if missing and not found:
        found.append(
            f"Vocab files are not present in the input directory: {' and '.join(missing)} missing in {folder}; "
            f"the {VOCAB} channel must hold {SOURCE_VOCABULARY} and {TARGET_VOCABULARY}"
        )
    problems.extend(found)
    return None if found else VocabularyFiles.of(folder)


def _model_folder(settings: dict[str, Any] | None, data_dir: Path, problems: list[str]) -> Path | None:
    """Finds the folder of the optional ``model`` channel; what is in it is looked at when torch is there to read it."""
    folder = data_dir / MODEL
    if settings is None and not folder.is_dir():
        return None
    found = _mode_problems(MODEL, settings or {}, data_dir)
    if not found and not (folder.is_dir() and any(folder.iterdir())):
        found.append(
            f"{MODEL} channel: no data in {folder}; it must hold the model to begin with, as a folder or as "
            "model.tar.gz; leave the channel out to begin with new weights"
        )
    problems.extend(found)
    return None if found else folder


def _mode_problems(name: str, settings: dict[str, Any], data_dir: Path) -> list[str]:
    mode = settings.get("TrainingInputMode") or "File"
    if mode == "Pipe" or any(_is_fifo(data_dir / pipe) for pipe in (name, f"{name}_0")):
        return [f"{name} channel: input mode Pipe is not supported; use File or FastFile"]
    if mode not in ("File", "FastFile"):
        return [f"{name} channel: input mode {mode!r} is not known; use File or FastFile"]
    return []


def _is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def _content_type_problems(name: str, settings: dict[str, Any]) -> list[str]:
    content_type = settings.get("ContentType") or ""
    essence = str(content_type).partition(";")[0].strip().lower()  # without parameters such as charset
    if essence.partition("/")[0] not in _WRONG_KINDS and essence not in _WRONG_CONTENT_TYPES:
        return []
    return [
        f"{name} channel: content type {content_type!r} cannot hold token pairs; send records as "
        "application/x-recordio-protobuf, or no content type at all"
    ]


def _record_files(name: str, folder: Path, problems: list[str]) -> tuple[Path, ...]:
    """Returns all ``*.rec`` files below a folder in sorted order, or all files if there is no ``*.rec``."""
    if not folder.is_dir():
        problems.append(f"{name} channel: missing, there is no folder {folder}; pass the channel with its records")
        return ()
    sizes: dict[Path, int] = {}
    try:
        for path in _visible_files(folder):
            status = path.stat()
            if stat.S_ISFIFO(status.st_mode):
                shown = _printable(str(path.relative_to(folder)))
                problems.append(f"{name} channel: {shown} is a pipe, which is not supported; use File or FastFile")
            elif stat.S_ISREG(status.st_mode):
                sizes[path] = status.st_size
    except OSError as error:
        problems.append(f"{name} channel: cannot read {_printable(str(error.filename))}: {error.strerror}")
        return ()

    files = [path for path in sizes if path.suffix == ".rec"] or list(sizes)
    if not sum(sizes[path] for path in files):
        what = "all its files are empty" if files else "there are no files in it"
        problems.append(f"{name} channel: no data, {what}; it must hold RecordIO-protobuf files")
    return tuple(sorted(files, key=lambda path: path.relative_to(folder).as_posix()))


def _visible_files(folder: Path) -> Iterator[Path]:
    """Yields everything below a folder that is neither a folder nor hidden; raises OSError where it cannot look."""
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _printable(name: str) -> str:
    """Returns a file name in which bytes that are not UTF-8 are replaced, so that it can be logged."""
    return os.fsencode(name).decode(errors="replace")
