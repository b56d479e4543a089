"""BLEU as the original computes it: in training, and of a finished model."""

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


def bleu_metric() -> BLEU:
    """Corpus BLEU-4 on whitespace tokens with floor smoothing 0.01 and effective order, as the original's."""
    return BLEU(tokenize="none", smooth_method="floor", smooth_value=_FLOOR, effective_order=True, force=True)


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> BleuScore:
    """Corpus BLEU as the original computes it.

    Args:
        hypotheses: Tokens joined by blanks.
        references: One per hypothesis.
    """
    bleu = bleu_metric()
    result = bleu.corpus_score(list(hypotheses), [list(references)])
    score = result.score / 100
    if not any(result.counts):
        # sacreBLEU answers 0 where not even a word matches; the original smooths that case like any other.
        totals = [total for total in result.totals if total]
        logs = [math.log(_FLOOR / total) for total in totals]
        score = result.bp * math.exp(sum(logs) / len(logs)) if logs else 0.0
    return BleuScore(score, str(bleu.get_signature()))
