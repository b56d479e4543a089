"""What to prepare and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from s2s_algo.data.parallel_text import ParallelText
from s2s_algo.data.subword_training import SubwordType
from s2s_algo.errors import ClientError

Side = Literal["source", "target"]
SIDES: tuple[Side, Side] = ("source", "target")

NUM_WORDS, WORD_MIN_COUNT = 50_000, 1
MOST_SUBWORDS = 1_000_000  # with many more, SentencePiece counts for hours whatever the text

# Where the tokens of a side may come from, and what words may be limited by: with sub-words, there is one of all these.
_SUBWORDS = ("subwords", "subword_model")
_WORDS = ("vocabulary", "num_words", "word_min_count")


@dataclass(frozen=True, slots=True)
class SideOptions:
    """The tokens of one side; see `PrepareOptions`."""

    num_words: int
    word_min_count: int
    vocabulary: Path | None
    subwords: int | None
    subword_model: Path | None
    subwords_option: str  # as a user writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """What to prepare and how.

    Attributes:
        train: Text to train on.
        validation: Text to validate on.
        output: Folder to write into; made if it does not exist.
        num_words_source: Most words of the source vocabulary, the special symbols not counted; by default 50,000.
        num_words_target: Most words of the target vocabulary, the special symbols not counted; by default 50,000.
        word_min_count_source: Occurrences a source word needs to be in the vocabulary; by default 1.
        word_min_count_target: Occurrences a target word needs to be in the vocabulary; by default 1.
        single_vocabulary: One vocabulary of both sides, as the options of the source side say.
        vocabulary_source: Vocabulary file to use instead of building one; the target side must not be built of words.
        vocabulary_target: Vocabulary file to use instead of building one; the source side must not be built of words.
        subwords_source: Pieces of sub-words to learn from the source text.
        subwords_target: Pieces of sub-words to learn from the target text.
        subword_model_source: SentencePiece model that cuts the source text.
        subword_model_target: SentencePiece model that cuts the target text.
        subword_type: How pieces are learnt; by default ``unigram``.
        max_length: Most tokens of a side of a training pair.
        max_ratio: Most tokens of a side of a training pair per token of its other side.
        drop_duplicates: Leave out training pairs that are equal to an earlier one.
        channels: Write into the folders ``train``, ``validation`` and ``vocab`` below `output`, not into `output`.
    """

    train: ParallelText
    validation: ParallelText
    output: Path
    num_words_source: int | None = None
    num_words_target: int | None = None
    word_min_count_source: int | None = None
    word_min_count_target: int | None = None
    single_vocabulary: bool = False
    vocabulary_source: Path | None = None
    vocabulary_target: Path | None = None
    subwords_source: int | None = None
    subwords_target: int | None = None
    subword_model_source: Path | None = None
    subword_model_target: Path | None = None
    subword_type: SubwordType | None = None
    max_length: int | None = None
    max_ratio: float | None = None
    drop_duplicates: bool = False
    channels: bool = False

    def side(self, side: Side) -> SideOptions:
        """The tokens of a side."""
        return SideOptions(
            num_words=self._of(side, "num_words") or NUM_WORDS,
            word_min_count=self._of(side, "word_min_count") or WORD_MIN_COUNT,
            vocabulary=self._of(side, "vocabulary"),
            subwords=self._of(side, "subwords"),
            subword_model=self._of(side, "subword_model"),
            subwords_option=_option(f"subwords_{side}"),
        )

    def check(self) -> None:
        """Raises a ClientError if options contradict each other or make no sense."""
        self._check_numbers()
        for side in SIDES:
            self._check_side(side)
        self._check_given_vocabularies()
        if self.single_vocabulary:
            self._check_single_vocabulary()
        if self.subword_type and not (self.subwords_source or self.subwords_target):
            raise ClientError(
                "--subword-type says how pieces are learnt, but none are; add --subwords-source or --subwords-target, "
                "or drop it"
            )
        if self.output.exists() and not self.output.is_dir():
            raise ClientError(f"the output {self.output} is a file; name a folder")

    def _check_numbers(self) -> None:
        names = [f"{name}_{side}" for name in ("num_words", "word_min_count", "subwords") for side in SIDES]
        for name in (*names, "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ClientError(f"{name} is {value}; it must be 1 or more")
            if value is not None and name.startswith("subwords") and value > MOST_SUBWORDS:
                raise ClientError(f"{name} is {value}; it must be {MOST_SUBWORDS} or less")
        if self.max_ratio is not None and not self.max_ratio >= 1:
            raise ClientError(
                f"max_ratio is {self.max_ratio}; it is the longer side's tokens per token of the shorter, "
                "so it must be 1 or more"
            )

    def _check_side(self, side: Side) -> None:
        given = [f"{name}_{side}" for name in (*_SUBWORDS, *_WORDS) if self._of(side, name) is not None]
        if self._has_subwords(side) and len(given) > 1:
            raise ClientError(
                f"{_option(given[0])} and {_option(given[1])} exclude each other: the tokens of the {side} side are "
                "the pieces of one model, or words; drop one of the two"
            )

    def _check_given_vocabularies(self) -> None:
        for side, other in (SIDES, SIDES[::-1]):
            is_settled = self._has_subwords(other) or self._of(other, "vocabulary") is not None
            if self._of(side, "vocabulary") is not None and not is_settled:
                raise ClientError(
                    f"a {side} vocabulary is given without a {other} vocabulary; give both to use them, or none to "
                    "build both"
                )

    def _check_single_vocabulary(self) -> None:
        if self.vocabulary_source is not None or self.vocabulary_target is not None:
            raise ClientError(
                "a single vocabulary cannot be built when vocabulary files are given; drop one of the two"
            )
        limits = _SUBWORDS if not self._has_subwords("source") else (*_SUBWORDS, *_WORDS)
        for name in limits:
            if self._of("target", name) is not None:
                raise ClientError(
                    f"{_option(f'{name}_target')} and --single-vocabulary exclude each other: the options of the "
                    "source side say what the one model of both sides is; drop one of the two"
                )

    def _has_subwords(self, side: Side) -> bool:
        return any(self._of(side, name) is not None for name in _SUBWORDS)

    def _of(self, side: Side, name: str) -> Any:
        return getattr(self, f"{name}_{side}")


def _option(name: str) -> str:
    """A field as the command line calls it."""
    return "--" + name.replace("_", "-")
