"""What ``s2s describe model`` tells of a model, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s2s_algo.commands.table import Table
from s2s_algo.decoding.memory_estimate import estimate_serving
from s2s_algo.hyperparameters import Hyperparameters
from s2s_algo.model.memory import MemoryEstimate, empty_model
from s2s_algo.model.summary import PartSummary, model_file_size, summarize
from s2s_algo.training.memory_estimate import estimate_training
from s2s_algo.training.settings import model_config, optimizer_config


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """The parameters of a model and the memory that it needs.

    Attributes:
        hyperparameters: Of the job that would train it.
        source_size, target_size: Of the vocabularies.
        parts: In the order in which data flows.
        estimates: By name, ``training`` and ``serving``.
    """

    hyperparameters: Hyperparameters
    source_size: int
    target_size: int
    parts: Sequence[PartSummary]
    estimates: Mapping[str, MemoryEstimate]

    @property
    def count(self) -> int:
        """How many numbers the model has."""
        return sum(part.count for part in self.parts)

    @property
    def file_size(self) -> int:
        """Bytes of model.safetensors."""
        return model_file_size(self.parts)

    def values(self) -> dict[str, Any]:
        """Everything, with sizes in bytes."""
        return {
            "hyperparameters": self.hyperparameters.model_dump(mode="json"),
            "vocabulary_sizes": {"source": self.source_size, "target": self.target_size},
            "parts": [
                {
                    "name": part.name,
                    "count": part.count,
                    "parameters": [{"name": p.name, "shape": p.shape, "count": p.count} for p in part.parameters],
                }
                for part in self.parts
            ],
            "count": self.count,
            "model_file": self.file_size,
            "memory": {
                name: {
                    "task": estimate.task,
                    "items": {item.name: item.size for item in estimate.items},
                    "total": estimate.total,
                    "peak": estimate.peak,
                }
                for name, estimate in self.estimates.items()
            },
        }

    def tables(self) -> Iterator[Table]:
        """The parameters, then the memory of each task."""
        yield Table(("layer", "parameter", "shape", "count"), list(self._parameter_rows()))
        for estimate in self.estimates.values():
            sizes = [*((item.description, item.size) for item in estimate.items), ("sum", estimate.total)]
            sizes.append(("most at one time", estimate.peak))
            yield Table((estimate.task, "MiB"), [(description, mebibytes(size)) for description, size in sizes])

    def _parameter_rows(self) -> Iterator[Sequence[str]]:
        for part in self.parts:
            yield part.name, "", "", f"{part.count:,}"
            for parameter in part.parameters:
                shape = " x ".join(f"{size:,}" for size in parameter.shape)
                yield f"  {parameter.layer}", parameter.name.rpartition(".")[2], shape, f"{parameter.count:,}"
        yield "total", "", "", f"{self.count:,}"


def describe_model(hyperparameters: Hyperparameters, source_size: int, target_size: int) -> ModelDescription:
    """Describes the model of a job; no data is read and no model made.

    Args:
        hyperparameters: Of the job.
        source_size: Entries of the source vocabulary.
        target_size: Entries of the target vocabulary.
    """
    config = model_config(hyperparameters, source_size, target_size)
    source, target = hyperparameters.max_seq_len_source, hyperparameters.max_seq_len_target + 1
    optimizer = optimizer_config(hyperparameters)
    estimates = {
        "training": estimate_training(config, optimizer, hyperparameters.batch_size, source, target),
        "serving": estimate_serving(config, source, target, hyperparameters.beam_size),
    }
    return ModelDescription(hyperparameters, source_size, target_size, summarize(empty_model(config)), estimates)


def mebibytes(size: int) -> str:
    """A number of bytes in MiB."""
    return f"{size / 2**20:,.1f}"
