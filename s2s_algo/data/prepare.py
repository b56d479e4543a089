"""Parallel text to the files of the three channels.

The rules are those of the SageMaker example's own script: container contract 1.4. They differ in four ways: line feeds
alone end lines, texts of different lengths are an error instead of being cut to the shorter one, one given vocabulary
without the other is an error instead of being rebuilt, and ``<pad>`` in a text becomes ``<unk>``, because training
refuses id 0 in a sequence. Sub-words and filters are ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from s2s_algo.data.channels import SOURCE_SUBWORDS, SOURCE_VOCABULARY, TARGET_SUBWORDS, TARGET_VOCABULARY
from s2s_algo.data.pair_filter import PairFilter
from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.parallel_text import ParallelText
from s2s_algo.data.prepare_options import PrepareOptions
from s2s_algo.data.prepare_report import ChannelReport, PrepareReport, TokenCounts, VocabularyReport
from s2s_algo.data.recordio import write_record
from s2s_algo.data.segmentation import Subwords
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.data.vocabulary_building import vocabularies
from s2s_algo.errors import ClientError, PlatformError

TRAIN_RECORDS, VALIDATION_RECORDS = "train.rec", "val.rec"

_CHANNEL_OF_FILE = {
    TRAIN_RECORDS: "train",
    VALIDATION_RECORDS: "validation",
    SOURCE_VOCABULARY: "vocab",
    TARGET_VOCABULARY: "vocab",
    SOURCE_SUBWORDS: "vocab",
    TARGET_SUBWORDS: "vocab",
}


def prepare(options: PrepareOptions) -> PrepareReport:
    """Writes ``train.rec``, ``val.rec``, ``vocab.src.json``, ``vocab.trg.json`` and the models of sub-words.

    The files appear under their names only when all are complete. On a terminal, a bar tells how far it is.

    Raises:
        ClientError: Options exclude each other, or a text is missing, unreadable, without any pair that is kept, or of
            another number of lines than its translation.
        PlatformError: The output cannot be written.
    """
    options.check()
    source, target = vocabularies(options, lambda: _watched(options.train, "reading"))
    pair_filter = PairFilter(options.max_length, options.max_ratio, options.drop_duplicates)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        # A folder inside the output is on the same disk, so that its files can be renamed to their places.
        with tempfile.TemporaryDirectory(prefix=".prepare-", dir=options.output) as folder:
            unfinished = Path(folder)
            _save(source, unfinished / SOURCE_VOCABULARY, unfinished / SOURCE_SUBWORDS)
            _save(target, unfinished / TARGET_VOCABULARY, unfinished / TARGET_SUBWORDS)
            train = _write_records(options.train, source, target, pair_filter, unfinished / TRAIN_RECORDS)
            validation = _write_records(
                options.validation, source, target, PairFilter(), unfinished / VALIDATION_RECORDS
            )
            places = [_move(unfinished / name, options) for name in _CHANNEL_OF_FILE]
    except OSError as error:  # of the output: reading a text raises a ClientError
        raise PlatformError(f"cannot write to {options.output}: {error.strerror}") from error
    target_options = options.side("source" if options.single_vocabulary else "target")
    return PrepareReport(
        train,
        validation,
        VocabularyReport.of(source, options.side("source").subwords),
        VocabularyReport.of(target, target_options.subwords),
        tuple(place for place in places if place is not None),
    )


def _save(vocabulary: Vocabulary, path: Path, subwords: Path) -> None:
    vocabulary.save(path)
    if isinstance(vocabulary.segmentation, Subwords):
        vocabulary.segmentation.save(subwords)


def _write_records(
    text: ParallelText, source: Vocabulary, target: Vocabulary, pair_filter: PairFilter, path: Path
) -> ChannelReport:
    """Writes one record for every pair that the filter keeps."""
    written = 0
    skipped = dict.fromkeys(pair_filter.reasons, 0)
    counts = {"source": [0, 0], "target": [0, 0]}
    with path.open("wb") as stream:
        for source_text, target_text in _watched(text, f"writing {path.name}"):
            source_tokens, target_tokens = (
                source.segmentation.split(source_text),
                target.segmentation.split(target_text),
            )
            reason = pair_filter.reason(source_tokens, target_tokens)
            if reason is not None:
                skipped[reason] += 1
                continue
            source_ids, target_ids = source.encode_tokens(source_tokens), target.encode_tokens(target_tokens)
            write_record(stream, encode_pair(source_ids, target_ids))
            written += 1
            for side, vocabulary, ids in (("source", source, source_ids), ("target", target, target_ids)):
                counts[side][0] += len(ids)
                counts[side][1] += ids.count(vocabulary.unk_id)
    if not written:
        why = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise ClientError(f"no pair of {text} is left to write; skipped: {why}")
    return ChannelReport(written, skipped, TokenCounts(*counts["source"]), TokenCounts(*counts["target"]))


def _watched(text: ParallelText, what: str) -> Iterator[tuple[str, str]]:
    """The pairs of a text, with a bar if somebody looks at a terminal."""
    yield from tqdm(text.pairs(), desc=what, unit=" pairs", leave=False, disable=None)


def _move(file: Path, options: PrepareOptions) -> Path | None:
    """Renames a complete file to its place, which it returns; an older file without a new one is removed from there."""
    folder = options.output / _CHANNEL_OF_FILE[file.name] if options.channels else options.output
    folder.mkdir(exist_ok=True)
    if file.exists():
        return file.replace(folder / file.name)
    # Vocabularies of words must not find an earlier preparation's model of sub-words beside them.
    (folder / file.name).unlink(missing_ok=True)
    return None
