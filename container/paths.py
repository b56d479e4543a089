"""Every path of the container contract, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The platform's folder tree.

    Attributes:
        base: ``/opt/ml``, or another folder on machines without the platform.
        corpus_cache: Where corpora are kept for jobs to come; by default they are not.
    """

    base: Path
    corpus_cache: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Paths:
        """The tree under ``SAGEMAKER_BASE_DIR``, by default ``/opt/ml``, and the folder ``S2S_CACHE_DIR``."""
        cache = environment.get("S2S_CACHE_DIR")
        return cls(Path(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"), Path(cache) if cache else None)

    @property
    def hyperparameters(self) -> Path:
        """Hyperparameters of the job."""
        return self.base / "input/config/hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """What the channels are."""
        return self.base / "input/config/inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """Which hosts take part."""
        return self.base / "input/config/resourceconfig.json"

    @property
    def checkpoint_config(self) -> Path:
        """Where checkpoints are mirrored, if they are."""
        return self.base / "input/config/checkpointconfig.json"

    @property
    def data(self) -> Path:
        """One folder per channel."""
        return self.base / "input/data"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints that outlive the container, unless ``checkpoint_config`` names another folder."""
        return self.base / "checkpoints"

    @property
    def model(self) -> Path:
        """The artifact: written by train, read by serve."""
        return self.base / "model"

    @property
    def output_data(self) -> Path:
        """What is kept of a job beside its model: the report and the numbers behind it."""
        return self.base / "output/data"

    @property
    def tensorboard(self) -> Path:
        """Event files for TensorBoard, where the platform looks for them."""
        return self.base / "output/tensorboard"

    @property
    def failure(self) -> Path:
        """Why the job failed."""
        return self.base / "output/failure"
