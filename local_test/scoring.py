"""How good the predicted pronunciations are: the share of right words, and the phoneme error rate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_STRESS = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one prediction.

    Attributes:
        reference: The accepted answer that is closest to the prediction, the first one among equals.
        errors: Phonemes to insert, delete or replace to get from the prediction to that answer.
    """

    reference: str
    errors: int

    @property
    def right(self) -> bool:
        """Whether the prediction is one of the accepted answers."""
        return self.errors == 0


@dataclass(frozen=True, slots=True)
class Score:
    """The judgement of many predictions."""

    words: int
    right_words: int
    phonemes: int  # of the closest references
    phoneme_errors: int

    @property
    def accuracy(self) -> float:
        """Share of the words that are right as a whole."""
        return self.right_words / self.words

    @property
    def phoneme_error_rate(self) -> float:
        """Errors per phoneme of the closest references; may exceed 1."""
        return self.phoneme_errors / self.phonemes


def judge(prediction: str, references: Sequence[str]) -> Verdict:
    """Compares phonemes, stress ignored, with the closest of the accepted answers."""
    tokens = _phonemes(prediction)
    return min(
        (Verdict(reference, edit_distance(tokens, _phonemes(reference))) for reference in references),
        key=lambda verdict: verdict.errors,
    )


def score(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Score:
    """Judges a prediction for every word of `references`.

    Raises:
        KeyError: A word has no prediction; leaving it out would flatter the score.
    """
    verdicts = [judge(predictions[word], accepted) for word, accepted in references.items()]
    return Score(
        words=len(verdicts),
        right_words=sum(verdict.right for verdict in verdicts),
        phonemes=sum(len(_phonemes(verdict.reference)) for verdict in verdicts),
        phoneme_errors=sum(verdict.errors for verdict in verdicts),
    )


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns the least number of insertions, deletions and replacements between two sequences (Levenshtein)."""
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def _phonemes(pronunciation: str) -> list[str]:
    """Splits a pronunciation and drops the stress digits."""
    return _STRESS.sub("", pronunciation).split()
