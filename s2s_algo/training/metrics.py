"""The metrics of training: names, directions and the log lines by which people and tuning jobs find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricName = Literal["perplexity", "accuracy", "bleu"]


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
