"""What a training job leaves in ``/opt/ml/model``: everything that serving needs, readable without this project.

| file                | content                                                                 |
|---------------------|-------------------------------------------------------------------------|
| `config.json`       | format version, shape of the model, limits, search defaults, training   |
| `model.safetensors` | the weights                                                             |
| `vocab.src.json`    | source token → id                                                       |
| `vocab.trg.json`    | target token → id                                                       |
| `spm.src.model`     | how source text is cut into tokens; missing if at white space           |
| `spm.trg.model`     | the same of the target, whose tokens it makes text again                |
| `metrics.json`      | one object per checkpoint of the training job                           |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from s2s_algo.checkpoints.atomic import TEMPORARY_SUFFIX, writing
from s2s_algo.checkpoints.tensors import fill, load_tensors, save_tensors
from s2s_algo.data.channels import (
    SOURCE_SUBWORDS,
    SOURCE_VOCABULARY,
    TARGET_SUBWORDS,
    TARGET_VOCABULARY,
    VocabularyFiles,
)
from s2s_algo.data.segmentation import Subwords
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError
from s2s_algo.model.config import ModelConfig
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.seq2seq import Seq2Seq

FORMAT_VERSION = 1

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
METRICS_FILE = "metrics.json"

# Without which an artifact cannot be loaded.
FILES = (CONFIG_FILE, WEIGHTS_FILE, SOURCE_VOCABULARY, TARGET_VOCABULARY)
# Which belong to it if they are there.
OPTIONAL_FILES = (SOURCE_SUBWORDS, TARGET_SUBWORDS)


class _Config(BaseModel):
    """The file config.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["s2s"] = "s2s"
    format_version: Literal[1] = 1
    model: ModelConfig
    inference: InferenceConfig
    training: dict[str, Any]

    @model_validator(mode="after")
    def _positions_suffice(self) -> Self:
        """No search may leave the positions that a convolutional part has learned."""
        limits = self.inference.limits
        for part, longest, name in (
            (self.model.encoder, limits.max_input_length, "max_input_length"),
            (self.model.decoder, limits.max_output_length, "max_output_length"),
        ):
            if part.type == "cnn" and longest > part.max_length:
                raise ValueError(f"{name} {longest} exceeds the {part.max_length} positions of the model")
        return self


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model with all that belongs to it.

    Attributes:
        training: What the training job wants to be remembered: hyperparameters, counts, the best checkpoint.
        metrics: One entry per checkpoint; written for people, so not read back.
    """

    model: Seq2Seq
    inference: InferenceConfig
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()


def save_artifact(artifact: Artifact, folder: Path) -> None:
    """Writes an artifact into a folder that may be a mount point, so file by file; config.json comes last.

    Raises:
        PlatformError: The disk refuses.
    """
    config = _Config(model=artifact.model.config, inference=artifact.inference, training=dict(artifact.training))
    writers: dict[str, Callable[[Path], object]] = {
        WEIGHTS_FILE: lambda path: save_tensors(dict(artifact.model.named_parameters()), path),
        SOURCE_VOCABULARY: artifact.source_vocabulary.save,
        TARGET_VOCABULARY: artifact.target_vocabulary.save,
        METRICS_FILE: lambda path: path.write_text(json.dumps(list(artifact.metrics), indent=1), encoding="utf-8"),
    }
    for name, vocabulary in (
        (SOURCE_SUBWORDS, artifact.source_vocabulary),
        (TARGET_SUBWORDS, artifact.target_vocabulary),
    ):
        if isinstance(vocabulary.segmentation, Subwords):
            writers[name] = vocabulary.segmentation.save
    writers[CONFIG_FILE] = lambda path: path.write_text(config.model_dump_json(indent=2), encoding="utf-8")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # All under temporary names first: a full disk leaves no artifact rather than half of one.
        temporary = {name: folder / (name + TEMPORARY_SUFFIX) for name in writers}
        try:
            for name, write in writers.items():
                write(temporary[name])
            for name in writers:
                temporary[name].replace(folder / name)
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)


def load_artifact(folder: Path) -> Artifact:
    """Reads an artifact; foreign files beside it are ignored.

    Raises:
        ClientError: The folder holds no artifact, a newer one, or a damaged one.
    """
    config = _read_config(folder / CONFIG_FILE)
    vocabularies = VocabularyFiles.of(folder)
    source_vocabulary, target_vocabulary = vocabularies.load_source(), vocabularies.load_target()
    for vocabulary, embedding, name in (
        (source_vocabulary, config.model.source_embedding, SOURCE_VOCABULARY),
        (target_vocabulary, config.model.target_embedding, TARGET_VOCABULARY),
    ):
        if len(vocabulary) != embedding.vocabulary_size:
            raise ClientError(
                f"{len(vocabulary)} entries, but the model knows {embedding.vocabulary_size}. "
                "Keep the files of one training job together.",
                where=str(folder / name),
            )
    # On the meta device a model has shapes but no memory: whatever config.json claims, nothing is allocated for it.
    with torch.device("meta"):
        model = Seq2Seq(config.model)
    weights = load_tensors(folder / WEIGHTS_FILE)
    fill(model, weights, where=str(folder / WEIGHTS_FILE))
    if broken := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise ClientError(
            f"not all numbers of {', '.join(broken[:3])} are finite. Train again, or take an older model.",
            where=str(folder / WEIGHTS_FILE),
        )
    return Artifact(model, config.inference, source_vocabulary, target_vocabulary, config.training)


def _read_config(path: Path) -> _Config:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ClientError(
            "the file is missing, so the folder holds no model. Give the folder into which model.tar.gz was unpacked.",
            where=str(path),
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"not readable ({error}). Copy it again.", where=str(path)) from error
    try:
        version = json.loads(text).get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ClientError(
                f"format_version {version} is newer than {FORMAT_VERSION}, the newest this version reads. Update s2s.",
                where=str(path),
            )
        return _Config.model_validate_json(text)
    except (ValueError, AttributeError, RecursionError, ValidationError) as error:
        raise ClientError(f"not the configuration of a model ({error}). Copy it again.", where=str(path)) from error
