"""The pairs of a channel as flat, memory-mapped arrays: no Python object per pair.

Four files per channel lie in a scratch folder: the token ids of each side, one after the other, and where each
sequence begins. Cutting, discarding and chunking make views on them. Source: decisions 15 to 17.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from s2s_algo.data.channels import RecordChannel
from s2s_algo.data.pairs import Pair, parse_pair
from s2s_algo.data.recordio import read_records
from s2s_algo.data.vocabulary import PAD_ID
from s2s_algo.errors import ClientError, PlatformError

_TOKEN_TYPE, _OFFSET_TYPE = np.dtype("<i4"), np.dtype("<i8")  # on disk

# Tokens collected in Python lists before they are checked and written at once: large enough that numpy's fixed costs
# do not count, small enough that memory does not either (some 40 bytes a token).
_BLOCK_TOKENS = 1 << 17
_READ_BUFFER = 1 << 20
_DIGEST_BLOCK = 1 << 22  # numbers hashed at a time


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """One side of a corpus.

    Attributes:
        tokens: int32, the ids of the sequences.
        starts: int64 [sequences]; sequence i is ``tokens[starts[i]:ends[i]]``.
        ends: int64 [sequences].
        limit: Only the first `limit` tokens of each sequence are seen; None: all.
    """

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    limit: int | None = None

    @classmethod
    def joined(cls, tokens: NDArray[np.int32], offsets: NDArray[np.int64]) -> Self:
        """Sequences that lie one after the other; sequence i is ``tokens[offsets[i]:offsets[i + 1]]``."""
        return cls(tokens, offsets[:-1], offsets[1:])

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """Returns int32 [tokens], a view."""
        index = range(len(self))[index]  # raises IndexError, resolves negative numbers
        start, length = self.spans(np.array([index]))
        return self.tokens[start[0] : start[0] + length[0]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [sequences]: tokens of each sequence, within the limit; computed at every call."""
        return self._limited(self.ends - self.starts)

    def spans(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns where the given sequences start in `tokens`, and their lengths: int64 [indices] each."""
        starts = self.starts[indices]
        return starts, self._limited(self.ends[indices] - starts)

    def truncated(self, limit: int) -> Self:
        """Returns a view on the same arrays in which every sequence ends after its first `limit` tokens."""
        limit = limit if self.limit is None else min(limit, self.limit)
        return type(self)(self.tokens, self.starts, self.ends, limit)

    def selected(self, indices: NDArray[np.int64]) -> Self:
        """Returns a view on the same tokens with some of the sequences, in the given order."""
        return type(self)(self.tokens, self.starts[indices], self.ends[indices], self.limit)

    def _limited(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        return lengths if self.limit is None else np.minimum(lengths, self.limit)


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Pairs of sequences, neither side empty, without ``<s>``, ``</s>`` and ``<pad>``."""

    source: Sequences
    target: Sequences

    def __len__(self) -> int:
        return len(self.source)

    def digest(self) -> str:
        """SHA-256 of all token ids and of where each sequence lies: equal for equal pairs in equal order."""
        total = hashlib.sha256()
        for side in (self.source, self.target):
            for array in (side.starts, side.ends, side.tokens):
                for start in range(0, len(array), _DIGEST_BLOCK):
                    total.update(np.ascontiguousarray(array[start : start + _DIGEST_BLOCK]).data)
        return total.hexdigest()

    def truncated(self, max_source: int, max_target: int) -> tuple[Corpus, int]:
        """Cuts over-long sequences.

        Args:
            max_source: Most source tokens of a pair.
            max_target: Most target tokens of a pair, ``</s>`` not counted.

        Returns:
            A view on the same arrays, and the number of pairs of which either side was cut.
        """
        cut = (self.source.lengths > max_source) | (self.target.lengths > max_target)
        return Corpus(self.source.truncated(max_source), self.target.truncated(max_target)), int(cut.sum())

    def bounded(self, max_source: int | None, max_target: int | None) -> tuple[Corpus, int]:
        """Discards pairs of which either side has more tokens than its bound.

        Args:
            max_source: Most source tokens of a pair; ``None``: any number.
            max_target: Most target tokens of a pair, ``</s>`` not counted; ``None``: any number.

        Returns:
            A view on the same arrays, and the number of pairs that are not in it.
        """
        fits = np.ones(len(self), np.bool_)
        for side, bound in ((self.source, max_source), (self.target, max_target)):
            if bound is not None:
                fits &= side.lengths <= bound
        kept = np.flatnonzero(fits)
        if len(kept) == len(self):
            return self, 0
        return Corpus(self.source.selected(kept), self.target.selected(kept)), len(self) - len(kept)


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """What was read.

    Attributes:
        pairs: Pairs in the corpus.
        skipped: Records left out because a side was empty.
        files: Files read.
        source_tokens: Source tokens of all pairs.
        target_tokens: Target tokens of all pairs, ``</s>`` not counted.
    """

    pairs: int
    skipped: int
    files: int
    source_tokens: int
    target_tokens: int


def build_corpus(
    channel: RecordChannel, source_vocabulary_size: int, target_vocabulary_size: int, directory: Path
) -> tuple[Corpus, CorpusReport]:
    """Reads all records of a channel once, checks every id, and maps the result.

    Memory does not grow with the corpus. What is in `directory` under the channel's name is overwritten, so a corpus
    mapped from there must not be used any more; after an error incomplete files may lie there.

    Args:
        channel: The files to read.
        source_vocabulary_size: Source ids must be below this.
        target_vocabulary_size: Target ids must be below this.
        directory: Scratch folder, made if it does not exist; channels of different names can share it.

    Raises:
        ClientError: A record cannot be read or holds an id that is not allowed, or all records were skipped; says
            which file and which record of it (the first is 1).
        PlatformError: A file cannot be read or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(directory, error) from error
    source = _Side("source", source_vocabulary_size, directory, channel.name)
    target = _Side("target", target_vocabulary_size, directory, channel.name)
    skipped = 0
    for file in channel.files:
        try:
            skipped += _append_file(file, source, target)
        except ClientError as error:
            error.at(channel.describe(file))
            raise
        except OSError as error:  # of the read: the sides turn their own into PlatformErrors
            place = channel.describe(file)
            raise PlatformError(f"the file cannot be read: {error.strerror}", where=place) from error
    report = CorpusReport(source.sequences, skipped, len(channel.files), source.tokens, target.tokens)
    if not report.pairs:
        raise ClientError(
            f"no pairs: {skipped} records were read and all of them have an empty source or target"
            if skipped
            else "no pairs: there is not a single record in its files",
            where=f"{channel.name} channel",
        )
    return open_corpus(directory, channel.name), report


def open_corpus(directory: Path, name: str) -> Corpus:
    """Maps what `build_corpus` has written for the channel `name`, read-only."""
    sides = []
    for side in ("source", "target"):
        tokens = np.memmap(_path(directory, name, side, "tokens"), _TOKEN_TYPE, mode="r")
        offsets = np.memmap(_path(directory, name, side, "offsets"), _OFFSET_TYPE, mode="r")
        # Plain arrays on the same pages: slicing a memmap costs several times as much.
        sides.append(Sequences.joined(tokens.view(np.ndarray), offsets.view(np.ndarray)))
    return Corpus(*sides)


def place_of_pair(channel: RecordChannel, pair: int) -> str:
    """Returns where a pair of a corpus was read, such as ``train channel, file a.rec, record 17``.

    A corpus does not keep this: the files are read again, which only an error is worth.
    """
    left = pair
    for file in channel.files:
        for number, found in _numbered_pairs(file):
            if not found.source or not found.target:
                continue
            if left == 0:
                return f"{channel.describe(file)}, record {number}"
            left -= 1
    return f"{channel.name} channel, pair {pair + 1}"


def _append_file(file: Path, source: _Side, target: _Side) -> int:
    """Appends the pairs of one file; returns how many records were skipped."""
    skipped = 0
    records: list[int] = []  # numbers of the collected records, for messages
    for number, pair in _numbered_pairs(file):
        if not pair.source or not pair.target:
            skipped += 1
            continue
        records.append(number)
        source.collect(pair.source)
        target.collect(pair.target)
        if source.collected + target.collected >= _BLOCK_TOKENS:
            source.write(records)
            target.write(records)
            records.clear()
    source.write(records)
    target.write(records)
    return skipped


def _numbered_pairs(file: Path) -> Iterator[tuple[int, Pair]]:
    """Yields the pairs of one file with their record numbers, from 1."""
    with file.open("rb", buffering=_READ_BUFFER) as stream:
        for number, payload in enumerate(read_records(stream), start=1):
            try:
                yield number, parse_pair(payload)
            except ClientError as error:
                error.at(f"record {number}")
                raise


@dataclass(slots=True, eq=False)
class _Side:
    """The files of one side while they are written; new ones replace old ones of the same names.

    Attributes:
        name: ``source`` or ``target``.
        vocabulary_size: Ids must be below this.
        sequences: Number of sequences written.
        tokens: Number of tokens written.
    """

    name: str
    vocabulary_size: int
    directory: Path
    channel: str
    sequences: int = 0
    tokens: int = 0
    _ids: list[int] = field(default_factory=list)
    _lengths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._put("tokens", np.zeros(0, _TOKEN_TYPE), mode="wb")
        self._put("offsets", np.zeros(1, _OFFSET_TYPE), mode="wb")

    @property
    def collected(self) -> int:
        """Tokens that wait to be written."""
        return len(self._ids)

    def collect(self, ids: list[int]) -> None:
        """Takes one sequence."""
        self._ids.extend(ids)
        self._lengths.append(len(ids))

    def write(self, records: list[int]) -> None:
        """Checks and writes what was collected; `records` holds the number of each sequence's record."""
        ids = np.array(self._ids, _TOKEN_TYPE)
        ends = np.cumsum(self._lengths, dtype=_OFFSET_TYPE)
        wrong = (ids <= PAD_ID) | (ids >= self.vocabulary_size)
        if wrong.any():
            position = int(wrong.argmax())
            record = records[int(np.searchsorted(ends, position, side="right"))]
            raise ClientError(self._why_wrong(int(ids[position])), where=f"record {record}")
        self._put("tokens", ids)
        self._put("offsets", ends + self.tokens)
        self.sequences += len(ends)
        self.tokens += len(ids)
        self._ids.clear()
        self._lengths.clear()

    def _why_wrong(self, id_: int) -> str:
        if id_ == PAD_ID:
            return f"{self.name} id {PAD_ID} is <pad>, which cannot be a token; leave it out or write the id of <unk>"
        return (
            f"{self.name} id {id_} is outside the vocabulary: allowed are 1 to {self.vocabulary_size - 1}, "
            f"{self.name} vocabulary size {self.vocabulary_size}; "
            "make the records and the vocab channel from the same vocabularies"
        )

    def _put(self, kind: str, values: NDArray[Any], mode: str = "ab") -> None:
        # Opened anew for every block, which costs nothing beside the block and leaves no file to close after an error.
        path = _path(self.directory, self.channel, self.name, kind)
        try:
            with path.open(mode) as stream:
                stream.write(values.data)
        except OSError as error:
            raise _cannot_write(path, error) from error


def _path(directory: Path, channel: str, side: str, kind: str) -> Path:
    return directory / f"{channel}.{side}.{kind}"


def _cannot_write(path: Path, error: OSError) -> PlatformError:
    return PlatformError(
        f"cannot write {path}: {error.strerror}; the corpus needs 4 bytes a token and 16 bytes a pair of free space"
    )
