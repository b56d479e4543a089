"""Parallel text to the files of the three channels.

The rules are those of the SageMaker example's own script: container contract 1.4. They differ in three ways: texts of
different lengths are an error instead of being cut to the shorter one, one given vocabulary without the other is an
error instead of being rebuilt, and ``<pad>`` in a text becomes ``<unk>``, because training refuses id 0 in a sequence.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from s2s_algo.data.channels import SOURCE_VOCABULARY, TARGET_VOCABULARY
from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.recordio import write_record
from s2s_algo.data.text import read_lines
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.errors import ClientError, PlatformError

TRAIN_RECORDS, VALIDATION_RECORDS = "train.rec", "val.rec"

_CHANNEL_OF_FILE = {
    TRAIN_RECORDS: "train",
    VALIDATION_RECORDS: "validation",
    SOURCE_VOCABULARY: "vocab",
    TARGET_VOCABULARY: "vocab",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """What to prepare and how. Text files hold one sentence a line, tokens between white space; ``.gz`` is unpacked.

    Attributes:
        train_source: Source text to train on.
        train_target: Its translation, line by line.
        validation_source: Source text to validate on.
        validation_target: Its translation, line by line.
        output: Folder to write into; made if it does not exist.
        num_words_source: Most words of the source vocabulary, the special symbols not counted.
        num_words_target: Most words of the target vocabulary, the special symbols not counted.
        word_min_count_source: Occurrences a source word needs to be in the vocabulary.
        word_min_count_target: Occurrences a target word needs to be in the vocabulary.
        single_vocabulary: One vocabulary of both sides, with the limits of the source side.
        vocabulary_source: Vocabulary file to use instead of building one; only together with `vocabulary_target`.
        vocabulary_target: Vocabulary file to use instead of building one; only together with `vocabulary_source`.
        channels: Write into the folders ``train``, ``validation`` and ``vocab`` below `output`, not into `output`.
    """

    train_source: Path
    train_target: Path
    validation_source: Path
    validation_target: Path
    output: Path
    num_words_source: int = 50_000
    num_words_target: int = 50_000
    word_min_count_source: int = 1
    word_min_count_target: int = 1
    single_vocabulary: bool = False
    vocabulary_source: Path | None = None
    vocabulary_target: Path | None = None
    channels: bool = False


class PairCounts(NamedTuple):
    """Pairs of two parallel texts."""

    written: int
    skipped: int  # because a side is blank


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What was written.

    Attributes:
        train: Pairs of the training records.
        validation: Pairs of the validation records.
        source_vocabulary_size: Tokens of the source vocabulary, special symbols included.
        target_vocabulary_size: Tokens of the target vocabulary, special symbols included.
        files: The four files.
    """

    train: PairCounts
    validation: PairCounts
    source_vocabulary_size: int
    target_vocabulary_size: int
    files: tuple[Path, ...]


def prepare(options: PrepareOptions) -> PrepareReport:
    """Writes ``train.rec``, ``val.rec``, ``vocab.src.json`` and ``vocab.trg.json``.

    The files appear under their names only when all four are complete.

    Raises:
        ClientError: Options exclude each other, or a text is missing, unreadable, without any pair, or of another
            number of lines than its translation.
        PlatformError: The output cannot be written.
    """
    _check(options)
    source, target = _vocabularies(options)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        # A folder inside the output is on the same disk, so that its files can be renamed to their places.
        with tempfile.TemporaryDirectory(prefix=".prepare-", dir=options.output) as folder:
            unfinished = Path(folder)
            source.save(unfinished / SOURCE_VOCABULARY)
            target.save(unfinished / TARGET_VOCABULARY)
            train = _write_records(
                options.train_source, options.train_target, source, target, unfinished / TRAIN_RECORDS
            )
            validation = _write_records(
                options.validation_source, options.validation_target, source, target, unfinished / VALIDATION_RECORDS
            )
            files = tuple(_move(unfinished / name, options) for name in _CHANNEL_OF_FILE)
    except OSError as error:  # of the output: reading a text raises a ClientError
        raise PlatformError(f"cannot write to {options.output}: {error.strerror}") from error
    return PrepareReport(train, validation, len(source), len(target), files)


def build_vocabulary(lines: Iterable[str], num_words: int, min_count: int) -> Vocabulary:
    """Builds a vocabulary of the most frequent tokens; among equals the later in the alphabet comes first.

    Args:
        lines: Text, tokens between white space.
        num_words: Most tokens, the special symbols not counted.
        min_count: Occurrences a token needs.
    """
    counts = Counter(token for line in lines for token in line.split())
    for symbol in SPECIAL_TOKENS:
        del counts[symbol]
    ranked = sorted(((count, token) for token, count in counts.items() if count >= min_count), reverse=True)
    return Vocabulary.from_tokens((*SPECIAL_TOKENS, *(token for _, token in ranked[:num_words])))


def _check(options: PrepareOptions) -> None:
    """Raises a ClientError if the options contradict each other or make no sense."""
    for name in ("num_words_source", "num_words_target", "word_min_count_source", "word_min_count_target"):
        if getattr(options, name) < 1:
            raise ClientError(f"{name} is {getattr(options, name)}; it must be 1 or more")
    given = [path is not None for path in (options.vocabulary_source, options.vocabulary_target)]
    if any(given) and not all(given):
        side, other = ("source", "target") if given[0] else ("target", "source")
        raise ClientError(
            f"a {side} vocabulary is given without a {other} vocabulary; give both to use them, or none to build both"
        )
    if options.output.exists() and not options.output.is_dir():
        raise ClientError(f"the output {options.output} is a file; name a folder")
    if any(given) and options.single_vocabulary:
        raise ClientError("a single vocabulary cannot be built when vocabulary files are given; drop one of the two")


def _vocabularies(options: PrepareOptions) -> tuple[Vocabulary, Vocabulary]:
    """Loads or builds the vocabularies of both sides."""
    if options.vocabulary_source is not None and options.vocabulary_target is not None:
        return Vocabulary.load(options.vocabulary_source), Vocabulary.load(options.vocabulary_target)
    if options.single_vocabulary:
        lines = itertools.chain(read_lines(options.train_source), read_lines(options.train_target))
        shared = build_vocabulary(lines, options.num_words_source, options.word_min_count_source)
        return shared, shared
    return (
        build_vocabulary(read_lines(options.train_source), options.num_words_source, options.word_min_count_source),
        build_vocabulary(read_lines(options.train_target), options.num_words_target, options.word_min_count_target),
    )


def _write_records(
    source_text: Path, target_text: Path, source: Vocabulary, target: Vocabulary, path: Path
) -> PairCounts:
    """Writes one record for every pair of lines of which neither is blank."""
    written = skipped = source_lines = target_lines = 0
    with path.open("wb") as stream:
        for source_line, target_line in itertools.zip_longest(read_lines(source_text), read_lines(target_text)):
            source_lines += source_line is not None
            target_lines += target_line is not None
            if source_line is None or target_line is None:
                continue  # only to count the lines of the longer text
            pair = source.encode(source_line), target.encode(target_line)
            if all(pair):
                write_record(stream, encode_pair(*pair))
                written += 1
            else:
                skipped += 1
    if source_lines != target_lines:
        raise ClientError(
            f"{source_text} has {source_lines} lines, {target_text} has {target_lines}; "
            "line n of one must be the translation of line n of the other, so nothing was written"
        )
    if not written:
        raise ClientError(f"{source_text} and {target_text} hold no pair of lines of which neither is blank")
    return PairCounts(written, skipped)


def _move(file: Path, options: PrepareOptions) -> Path:
    """Renames a complete file to its place, which it returns."""
    folder = options.output / _CHANNEL_OF_FILE[file.name] if options.channels else options.output
    folder.mkdir(exist_ok=True)
    return file.replace(folder / file.name)
