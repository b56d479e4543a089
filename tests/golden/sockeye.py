"""Loads the Sockeye models of this folder through the product's importer, and the data that lie beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.legacy.importer import import_model
from s2s_algo.legacy.mxnet_params import read_params
from s2s_algo.legacy.sockeye_config import SockeyeConfig, describe, read_config
from s2s_algo.legacy.sockeye_version import Version, parse_version
from s2s_algo.legacy.sockeye_weights import common_name, convert, parameter_names
from s2s_algo.model.config import (
    AttentionConfig,
    ConvolutionalDecoderConfig,
    ConvolutionalEncoderConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.seq2seq import Seq2Seq

GOLDEN = Path(__file__).parent
MODELS = GOLDEN / "models"
TRAINING = GOLDEN / "training"

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SockeyeFolder:
    """A folder that Sockeye wrote."""

    path: Path
    version: Version
    raw: Mapping[str, Any]
    described: SockeyeConfig

    @property
    def config(self) -> ModelConfig:
        """The architecture in our words."""
        return convert(self.described, read_params(self.path / "params.best"))[0]

    @property
    def inference(self) -> InferenceConfig:
        """How that version translated with the model."""
        return self.described.inference

    @property
    def source_with_eos(self) -> bool:
        """Whether ``</s>`` ends every source."""
        return self.inference.source_eos

    @property
    def length_ratio(self) -> tuple[float, float]:
        """Mean and standard deviation of target length to source length."""
        return self.inference.limits.ratio_mean, self.inference.limits.ratio_std

    def parameters(self, arrays: Arrays) -> dict[str, torch.Tensor]:
        """Arrays named as in this version, as tensors named as in our model."""
        return convert(self.described, arrays)[1]

    def model(self, arrays: Arrays | None = None) -> Seq2Seq:
        """Our model with these weights, or those of ``params.best``, in evaluation mode."""
        if arrays is None:
            return import_model(self.path).model
        config, parameters = convert(self.described, arrays)
        model = Seq2Seq(config)
        model.load_state_dict(parameters)
        return model.eval()

    def vocabulary(self, side: str) -> Vocabulary:
        """The vocabulary of the ``src`` or ``trg`` side."""
        (path,) = self.path.glob(f"vocab.{side}*.json")
        return Vocabulary.load(path)

    def read_json(self, name: str) -> Any:
        """A JSON file of the folder."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """An npz file of the folder."""
        return read_arrays(self.path / name)


@cache
def load_folder(path: Path) -> SockeyeFolder:
    """Reads version and configuration of a folder."""
    version, raw = parse_version((path / "version").read_text()), read_config(path / "config")
    return SockeyeFolder(path, version, raw, describe(raw, version))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """An npz file, read at once."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def unflatten(vector: NDArray[Any], like: Arrays) -> dict[str, NDArray[Any]]:
    """Cuts a vector into the arrays that were joined in the order of their sorted names."""
    names = sorted(like)
    pieces = np.split(vector, np.cumsum([like[name].size for name in names])[:-1])
    return {name: piece.reshape(like[name].shape) for name, piece in zip(names, pieces, strict=True)}


def our_name(name: str) -> str:
    """The name in our model of a parameter of Sockeye, gates stacked."""
    return _our_names()[common_name(name)]


@cache
def _our_names() -> dict[str, str]:
    """Of models large enough to have every parameter of the golden ones."""
    return {name: ours for config in _configs() for name, ours in parameter_names(config).items()}


def _configs() -> Iterator[ModelConfig]:
    embedding = EmbeddingConfig(vocabulary_size=4, size=1)
    cells: dict[str, Any] = {"cell_type": "lstm", "num_layers": 4, "num_hidden": 2}
    kernels: dict[str, Any] = {
        "num_layers": 4,
        "num_hidden": 2,
        "kernel_width": 1,
        "activation": "glu",
        "max_length": 1,
    }
    for attention in ("mlp", "dot", "bilinear"):
        yield ModelConfig(
            source_embedding=embedding,
            target_embedding=embedding,
            encoder=RecurrentEncoderConfig(**cells),
            decoder=RecurrentDecoderConfig(**cells, attention=AttentionConfig(type=attention, num_hidden=1)),
        )
    yield ModelConfig(
        source_embedding=embedding,
        target_embedding=embedding,
        encoder=ConvolutionalEncoderConfig(**kernels),
        decoder=ConvolutionalDecoderConfig(**kernels),
    )
