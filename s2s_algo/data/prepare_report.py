"""What preparing tells people: how much of the text is in the channels, and how well tokens cover it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s2s_algo.data.pair_filter import Skipped
from s2s_algo.data.segmentation import Subwords
from s2s_algo.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of one side of the pairs that were written.

    Attributes:
        all: How many.
        unknown: How many of them are ``<unk>``.
    """

    all: int
    unknown: int


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """The pairs of a channel.

    Attributes:
        written: How many are in its records.
        skipped: How many are not, for each reason that there could be.
        source: Tokens of the source side.
        target: Tokens of the target side.
    """

    written: int
    skipped: Mapping[Skipped, int]
    source: TokenCounts
    target: TokenCounts

    def lines(self, name: str) -> Iterator[str]:
        """The report as text."""
        skipped = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
        yield f"{name}: {self.written} pairs written; skipped: {skipped}"
        source, target = (f"{side.all / self.written:.1f}" for side in (self.source, self.target))
        unknown = (f"{side.unknown / side.all:.2%}" for side in (self.source, self.target))
        yield f"{name}: {source} source and {target} target tokens a pair, {' and '.join(unknown)} of them <unk>"


@dataclass(frozen=True, slots=True)
class VocabularyReport:
    """The tokens of a side.

    Attributes:
        size: Of the vocabulary, special symbols included.
        pieces: Of the model of sub-words, if there is one.
        pieces_wanted: How many the user asked for, unless the model was given.
    """

    size: int
    pieces: int | None = None
    pieces_wanted: int | None = None

    @classmethod
    def of(cls, vocabulary: Vocabulary, pieces_wanted: int | None) -> VocabularyReport:
        """The report on a vocabulary."""
        if isinstance(vocabulary.segmentation, Subwords):
            return cls(len(vocabulary), len(vocabulary.segmentation.pieces), pieces_wanted)
        return cls(len(vocabulary))

    def line(self, name: str) -> str:
        """The report as text."""
        if self.pieces is None:
            return f"{name} vocabulary: {self.size} entries, of words"
        less = self.pieces_wanted is not None and self.pieces < self.pieces_wanted
        note = f" ({self.pieces_wanted} were asked for; the text has no more)" if less else ""
        return f"{name} vocabulary: {self.size} entries, of {self.pieces} pieces{note}"


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What was written.

    Attributes:
        train: The pairs to train on.
        validation: The pairs to validate on, none of which is left out but for an empty side.
        source: The source vocabulary.
        target: The target vocabulary.
        files: All of them.
    """

    train: ChannelReport
    validation: ChannelReport
    source: VocabularyReport
    target: VocabularyReport
    files: Sequence[Path]

    @property
    def source_vocabulary_size(self) -> int:
        """Tokens of the source vocabulary, special symbols included."""
        return self.source.size

    @property
    def target_vocabulary_size(self) -> int:
        """Tokens of the target vocabulary, special symbols included."""
        return self.target.size

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield from self.train.lines("train")
        yield from self.validation.lines("validation")
        yield self.source.line("source")
        yield self.target.line("target")
        yield from map(str, self.files)
