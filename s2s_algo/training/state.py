"""The counters of a training job: everything that changes while it runs, beside weights and moments."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pydantic import TypeAdapter

from s2s_algo.training.loss import Totals


@dataclass(slots=True)
class TrainState:
    """Where a job stands.

    Attributes:
        updates: Updates made.
        epoch: Whole epochs behind us.
        position: Batches of the running epoch behind us.
        samples: Pairs trained on, counted as often as they were.
        seconds: Time spent in training, over all runs of the job.
        totals: Over the training batches since the last checkpoint.
        checkpoint: Checkpoints evaluated.
        evaluated_updates: ``updates`` at the last one.
        saved_updates: ``updates`` when the job was last saved.
        skipped: Updates that were left out since their loss or gradient was not finite.
        best_checkpoint: Number of the best one, 0 before the first.
        best_updates: ``updates`` at the best one.
        best_score: Its score, ``None`` before the first.
        not_improved: Checkpoints since the best one.
        history: One entry per checkpoint.
    """

    updates: int = 0
    epoch: int = 0
    position: int = 0
    samples: int = 0
    seconds: float = 0.0
    totals: Totals = field(default_factory=Totals)
    checkpoint: int = 0
    evaluated_updates: int = 0
    saved_updates: int = 0
    skipped: int = 0
    best_checkpoint: int = 0
    best_updates: int = 0
    best_score: float | None = None
    not_improved: int = 0
    history: list[dict[str, float | int | bool]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Takes over what ``to_json`` gave; raises ValueError for anything else."""
        state = TypeAdapter(cls).validate_python(values)
        # What is missing has silently become its default, and what is foreign was left out.
        if state.to_json() != values:
            raise ValueError("counters are missing or unknown")
        return state
