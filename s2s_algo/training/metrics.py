"""The metrics of training: names, directions and the log lines by which people and tuning jobs find them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sacrebleu.metrics.bleu import BLEU

MetricName = Literal["perplexity", "accuracy", "bleu"]

# What BLEU puts in place of a match count of zero.
_FLOOR = 0.01


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that training can optimise.

    Attributes:
        name: As in the hyperparameter ``optimized_metric``.
        higher_is_better: Its direction.
        tag: How the log line marks it.
    """

    name: MetricName
    higher_is_better: bool
    tag: str

    def improves(self, score: float, best: float | None) -> bool:
        """Whether a score is strictly better than the best so far; the first score always is."""
        if best is None:
            return True
        return score > best if self.higher_is_better else score < best

    def cost(self, score: float) -> float:
        """The score, turned so that lower is better."""
        return -score if self.higher_is_better else score

    @property
    def regex(self) -> str:
        """What to give as ``MetricDefinitions`` regex for ``validation:NAME``."""
        return rf"#quality_metric: host=\S+, epoch=\S+, validation {self.name} <{self.tag}>=(\S+)"

    @property
    def definition(self) -> dict[str, str]:
        """One of the ``MetricDefinitions`` of a tuning job."""
        return {"Name": f"validation:{self.name}", "Regex": self.regex}

    def line(self, host: str, epoch: int, score: float) -> str:
        """The log line that ``regex`` finds."""
        return f"#quality_metric: host={host}, epoch={epoch}, validation {self.name} <{self.tag}>={score:.6f}"


METRICS: dict[MetricName, Metric] = {
    "perplexity": Metric("perplexity", higher_is_better=False, tag="loss"),
    "accuracy": Metric("accuracy", higher_is_better=True, tag="score"),
    "bleu": Metric("bleu", higher_is_better=True, tag="score"),
}


# The log lines that have them begin with a tab, which the platform's log shows as #011.
_TRAINING_DEFINITIONS = [
    {"Name": f"train:{name}", "Regex": rf"Checkpoint \[\d+\](?:\s|#011)+Train-{name}=(\S+)"}
    for name in ("perplexity", "accuracy")
]


def metric_definitions() -> list[dict[str, str]]:
    """The ``MetricDefinitions`` of a training or tuning job: what a job can be judged by first."""
    return [*(metric.definition for metric in METRICS.values()), *_TRAINING_DEFINITIONS]


@dataclass(frozen=True, slots=True)
class BleuScore:
    """BLEU on the scale 0 to 1 and sacreBLEU's signature of how it was computed."""

    score: float
    signature: str


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> BleuScore:
    """Corpus BLEU-4 on whitespace tokens with floor smoothing 0.01 and effective order, as the original's.

    Args:
        hypotheses: Tokens joined by blanks.
        references: One per hypothesis.
    """
    bleu = BLEU(tokenize="none", smooth_method="floor", smooth_value=_FLOOR, effective_order=True, force=True)
    result = bleu.corpus_score(list(hypotheses), [list(references)])
    score = result.score / 100
    if not any(result.counts):
        # sacreBLEU answers 0 where not even a word matches; the original smooths that case like any other.
        totals = [total for total in result.totals if total]
        logs = [math.log(_FLOOR / total) for total in totals]
        score = result.bp * math.exp(sum(logs) / len(logs)) if logs else 0.0
    return BleuScore(score, str(bleu.get_signature()))
