"""BLEU in training and of a finished model: of prepared tokens as the original computes it, of text as people do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU

# What BLEU puts in place of a match count of zero.
_FLOOR = 0.01


@dataclass(frozen=True, slots=True)
class BleuScore:
    """BLEU on the scale 0 to 1 and sacreBLEU's signature of how it was computed."""

    score: float
    signature: str


def bleu_metric(plain_text: bool = False) -> BLEU:
    """Corpus BLEU-4 on whitespace tokens with floor smoothing 0.01 and effective order, as the original's.

    Args:
        plain_text: Compare text as people write it, with sacreBLEU's own tokens and smoothing.
    """
    if plain_text:
        return BLEU()
    return BLEU(tokenize="none", smooth_method="floor", smooth_value=_FLOOR, effective_order=True, force=True)


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], plain_text: bool = False) -> BleuScore:
    """Corpus BLEU.

    Args:
        hypotheses: Tokens joined by blanks, or text.
        references: One per hypothesis.
        plain_text: As for `bleu_metric`.
    """
    bleu = bleu_metric(plain_text)
    result = bleu.corpus_score(list(hypotheses), [list(references)])
    score = result.score / 100
    if not plain_text and not any(result.counts):
        # sacreBLEU answers 0 where not even a word matches; the original smooths that case like any other.
        totals = [total for total in result.totals if total]
        logs = [math.log(_FLOOR / total) for total in totals]
        score = result.bp * math.exp(sum(logs) / len(logs)) if logs else 0.0
    return BleuScore(score, str(bleu.get_signature()))
