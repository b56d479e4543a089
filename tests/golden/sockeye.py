"""Loads the Sockeye models of this folder into our `Seq2Seq`, so that tests can compare what both compute.

Knows the parameter names of all versions that lie here: one matrix per gate up to 1.12, stacked gates from 1.13 on,
where the output layer changes its name too, and another prefix of the attention from 1.18 on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.legacy.mxnet_params import read_params
from s2s_algo.model.config import (
    AttentionConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.seq2seq import Seq2Seq

GOLDEN = Path(__file__).parent
MODELS = GOLDEN / "models"
TRAINING = GOLDEN / "training"

Arrays = Mapping[str, NDArray[Any]]

GATES = {"lstm": "ifco", "gru": "rzo"}

_GATE = re.compile(r"(?P<layer>.+_l\d+_[ih]2h)_(?P<gate>[a-z])_(?P<kind>weight|bias)")
_LAYER = re.compile(r"(?P<layer>.+)_(?P<product>i2h|h2h)_(?P<kind>weight|bias)")
_SUFFIXES = {"i2h": "ih", "h2h": "hh"}
_MODULES = (
    (r"source_embed", "source_embedding"),
    (r"target_embed", "target_embedding"),
    (r"encoder_birnn_forward_l0", "encoder.forward_layer"),
    (r"encoder_birnn_reverse_l0", "encoder.backward_layer"),
    (r"encoder_rnn_l(\d+)", r"encoder.upper_layers.\1"),
    (r"decoder_rnn_l(\d+)", r"decoder.layers.\1"),
    (r"decoder_rnn_enc2decinit_(\d+)", r"decoder.state_layers.\1"),
    (r"decoder_rnn_hidden", "decoder.hidden_layer"),
    (r"decoder_rnn_cls|target_output", "output_layer"),
    (r"(?:decoder_rnn_)?att_(?:e2h|s2h|s2t)", "decoder.attention.source_layer"),
    (r"(?:decoder_rnn_)?att_(?:q2h|t2h)", "decoder.attention.query_layer"),
    (r"(?:decoder_rnn_)?att_h2s", "decoder.attention.score_layer"),
)


class _Loader(yaml.SafeLoader):
    """Reads every tagged mapping as a dict and every tagged sequence as a list; builds no objects."""


def _untagged(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _untagged)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _untagged)


@dataclass(frozen=True)
class SockeyeFolder:
    """A folder that Sockeye wrote."""

    path: Path
    version: tuple[int, ...]
    yaml: Mapping[str, Any]

    @property
    def config(self) -> ModelConfig:
        """The same architecture in our words."""
        encoder, decoder = self.yaml["config_encoder"], self.yaml["config_decoder"]
        encoder_cells, decoder_cells = encoder["rnn_config"], decoder["rnn_config"]
        attention = decoder["attention_config"]
        return ModelConfig(
            source_embedding=self._embedding("source", encoder),
            target_embedding=self._embedding("target", decoder),
            encoder=RecurrentEncoderConfig(
                cell_type=encoder_cells["cell_type"],
                num_layers=encoder_cells["num_layers"],
                num_hidden=encoder_cells["num_hidden"],
                residual=encoder_cells["residual"],
                first_residual_layer=encoder_cells["first_residual_layer"],
            ),
            decoder=RecurrentDecoderConfig(
                cell_type=decoder_cells["cell_type"],
                num_layers=decoder_cells["num_layers"],
                num_hidden=decoder_cells["num_hidden"],
                attention=AttentionConfig(type=attention["type"], num_hidden=attention["num_hidden"]),
                # Before 1.13 nothing read the flag.
                attention_in_upper_layers=decoder["attention_in_upper_layers"] and self.version >= (1, 13),
                state_init=decoder["state_init"],
                residual=decoder_cells["residual"],
                first_residual_layer=decoder_cells["first_residual_layer"],
            ),
        )

    def _embedding(self, side: str, part: Mapping[str, Any]) -> EmbeddingConfig:
        own = self.yaml.get(f"config_embed_{side}", part)
        return EmbeddingConfig(vocabulary_size=own["vocab_size"], size=own["num_embed"])

    @property
    def source_with_eos(self) -> bool:
        """Whether ``</s>`` ends every source."""
        return self.yaml["config_data"].get("source_with_eos", False)

    @property
    def length_ratio(self) -> tuple[float, float]:
        """Mean and standard deviation of target length to source length."""
        data = self.yaml["config_data"]
        data = data.get("data_statistics", data)
        return data["length_ratio_mean"], data["length_ratio_std"]

    def parameters(self, arrays: Arrays) -> dict[str, torch.Tensor]:
        """Arrays named as in this version, as tensors named as in our model."""
        stacked = _stack_gates(arrays, GATES[self.config.decoder.cell_type])
        return {our_name(name): torch.tensor(array) for name, array in stacked.items()}

    def model(self, arrays: Arrays | None = None) -> Seq2Seq:
        """Our model with these weights, or those of ``params.best``, in evaluation mode."""
        model = Seq2Seq(self.config)
        model.load_state_dict(self.parameters(read_params(self.path / "params.best") if arrays is None else arrays))
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
    version = tuple(int(part) for part in (path / "version").read_text().split("."))
    return SockeyeFolder(path, version, yaml.load((path / "config").read_text(encoding="utf-8"), Loader=_Loader))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """An npz file, read at once."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def unflatten(vector: NDArray[Any], like: Arrays) -> dict[str, NDArray[Any]]:
    """Cuts a vector into the arrays that were joined in the order of their sorted names."""
    names = sorted(like)
    pieces = np.split(vector, np.cumsum([like[name].size for name in names])[:-1])
    return {name: piece.reshape(like[name].shape) for name, piece in zip(names, pieces, strict=True)}


def _stack_gates(arrays: Arrays, gates: str) -> dict[str, NDArray[Any]]:
    stacked = {}
    for name, array in arrays.items():
        found = _GATE.fullmatch(name)
        if not found:
            stacked[name] = array
        elif found["gate"] == gates[0]:
            layer, kind = found["layer"], found["kind"]
            stacked[f"{layer}_{kind}"] = np.concatenate([arrays[f"{layer}_{gate}_{kind}"] for gate in gates])
    return stacked


def our_name(name: str) -> str:
    """The name in our model of a parameter of Sockeye, gates stacked."""
    found = _LAYER.fullmatch(name)
    if found:
        # torch numbers the layers inside its own recurrent modules; ours hold one each.
        number = "" if found["layer"].startswith("decoder") else "_l0"
        return f"{_our_module(found['layer'])}.{found['kind']}_{_SUFFIXES[found['product']]}{number}"
    module, kind = name.rsplit("_", 1)
    return f"{_our_module(module)}.{kind}"


def _our_module(name: str) -> str:
    for pattern, module in _MODULES:
        if found := re.fullmatch(pattern, name):
            return found.expand(module)
    raise AssertionError(f"no module of ours is called {name} in Sockeye")
