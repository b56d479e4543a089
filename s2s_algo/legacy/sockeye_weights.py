"""Turns the parameters of a Sockeye 1 model into those of ours.

Names changed three times; those of 1.18 are taken as the common ones:

============================ ============================== ==================================
until                        then                           since
============================ ============================== ==================================
1.7  ``decoder_l0_…``        ``decoder_rnn_l0_…``           1.8
1.12 ``decoder_rnn_cls_…``   ``target_output_…``            1.13
1.12 one matrix per gate     gates in one matrix            1.13
1.17 ``att_…``               ``decoder_rnn_att_…``          1.18
============================ ============================== ==================================

Shared matrices are copied, normalised weights are computed once, and positions that the original computed become a
table. The gates of a cell follow one another as in ours: i, f, c, o and r, z, o.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s_algo.legacy.sockeye_config import SockeyeConfig
from s2s_algo.legacy.values import Problems
from s2s_algo.model.config import AttentionType, CellType, ModelConfig, RecurrentDecoderConfig
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.wording import shown

Arrays = Mapping[str, NDArray[Any]]

_GATES: dict[CellType, str] = {"lstm": "ifco", "gru": "rzo"}
_STATES: dict[CellType, int] = {"lstm": 2, "gru": 1}

_GATE = re.compile(r"(?P<layer>.+_[ih]2h)_(?P<gate>[ifcorz])_(?P<kind>weight|bias)")
_RENAMED = (
    (r"(?:%s)?att_(?=\w+_weight$)", "decoder_rnn_att_"),  # in 1.0 s2t has a prefix that nobody filled in
    (r"decoder_(?=l\d+_|enc2decinit_|hidden_|cls_)", "decoder_rnn_"),
)
_OLD_OUTPUT = re.compile(r"decoder_(?:rnn_|cnn_)cls_")
# A task beside the translation, since 1.18.92; used only where a brevity penalty is asked for.
_WITHOUT_EFFECT = "length_ratio_layer_"

_SHARED_EMBEDDING = "source_target_embed_weight"
_SOURCE_EMBEDDING, _TARGET_EMBEDDING = "source_embed_weight", "target_embed_weight"
_OUTPUT = "target_output_"
_OUTPUT_WEIGHT = f"{_OUTPUT}weight"
_SOURCE_POSITIONS, _TARGET_POSITIONS = "source_pos_embed_weight", "target_pos_embed_weight"
# What MXNet adds under the root of a norm.
_NORM_EPSILON = 1e-10

_MEND = "Keep the files of one training job together."
_WHERE = "parameters"


def convert(config: SockeyeConfig, arrays: Arrays) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Converts the parameters.

    Args:
        config: The architecture.
        arrays: By the names of whatever version.

    Returns:
        The architecture, in which the weights decided whether the attention feeds the upper layers, and our
        parameters, float32.

    Raises:
        ClientError: The parameters do not fit the architecture or have wrong types; names all that is wrong.
    """
    problems = Problems()
    found = _Parameters(arrays, problems)
    found.check_numbers()
    problems.check(_MEND, _WHERE)
    found.stack_gates()
    _resolve_sharing(found, config)
    _fold_scales(found, config)
    _add_positions(found, config)
    problems.check(_MEND, _WHERE)
    model = _with_attention_as_found(config.model, found)
    tensors = _take(found, model)
    problems.check(_MEND, _WHERE)
    if config.cancels_states:
        for name in [name for name in tensors if name.startswith("encoder.") and ".weight_hh" in name]:
            tensors[name] = torch.zeros_like(tensors[name])
    return model, tensors


def parameter_names(config: ModelConfig) -> dict[str, str]:
    """Our name of each parameter, by its name since 1.18."""
    return dict(_names(config))


def common_name(name: str) -> str:
    """The name since 1.18 of a parameter of any version; gates keep their letter."""
    for pattern, new in _RENAMED:
        name = re.sub(f"^{pattern}", new, name)
    return _OLD_OUTPUT.sub(_OUTPUT, name)


def _names(config: ModelConfig) -> Iterator[tuple[str, str]]:
    yield _SOURCE_EMBEDDING, "source_embedding.weight"
    yield _TARGET_EMBEDDING, "target_embedding.weight"
    if config.encoder.type == "rnn":
        yield from _cell("encoder_birnn_forward_l0", "encoder.forward_layer", "_l0")
        yield from _cell("encoder_birnn_reverse_l0", "encoder.backward_layer", "_l0")
        for number in range(config.encoder.num_layers - 1):
            yield from _cell(f"encoder_rnn_l{number}", f"encoder.upper_layers.{number}", "_l0")
    else:
        yield _SOURCE_POSITIONS, "encoder.positions.weight"
        yield from _convolutions("encoder", config.encoder.num_layers)
    if config.decoder.type == "rnn":
        for number in range(config.decoder.num_layers):
            yield from _cell(f"decoder_rnn_l{number}", f"decoder.layers.{number}")
        states = config.decoder.num_layers * _STATES[config.decoder.cell_type]
        for number in range(0 if config.decoder.state_init == "zero" else states):
            yield from _layer(f"decoder_rnn_enc2decinit_{number}", f"decoder.state_layers.{number}")
        yield from _layer("decoder_rnn_hidden", "decoder.hidden_layer")
        yield from _attention(config.decoder, config.encoder.output_size)
    else:
        yield _TARGET_POSITIONS, "decoder.positions.weight"
        yield from _convolutions("decoder", config.decoder.num_layers)
    yield from _layer("target_output", "output_layer")


def _cell(name: str, ours: str, number: str = "") -> Iterator[tuple[str, str]]:
    """Of one recurrent layer; torch numbers the layers of its own modules, of which each of ours has one."""
    for product, suffix in (("i2h", "ih"), ("h2h", "hh")):
        for kind in ("weight", "bias"):
            yield f"{name}_{product}_{kind}", f"{ours}.{kind}_{suffix}{number}"


def _layer(name: str, ours: str) -> Iterator[tuple[str, str]]:
    for kind in ("weight", "bias"):
        yield f"{name}_{kind}", f"{ours}.{kind}"


def _convolutions(part: str, num_layers: int) -> Iterator[tuple[str, str]]:
    yield f"{part}_cnn_i2h_weight", f"{part}.input_layer.weight"
    for number in range(num_layers):
        yield from _layer(f"{part}_cnn_{number}_conv", f"{part}.convolutions.{number}")


def _attention(decoder: RecurrentDecoderConfig, source_size: int) -> Iterator[tuple[str, str]]:
    size = decoder.attention.num_hidden
    layers: dict[AttentionType, dict[str, str]] = {
        "mlp": {"e2h": "source_layer", "q2h": "query_layer", "h2s": "score_layer"},
        "dot": {
            **({"s2h": "source_layer"} if source_size != size else {}),
            **({"t2h": "query_layer"} if decoder.num_hidden != size else {}),
        },
        "bilinear": {"s2t": "source_layer"},
        "fixed": {},
    }
    for name, ours in layers[decoder.attention.type].items():
        yield f"decoder_rnn_att_{name}_weight", f"decoder.attention.{ours}.weight"


@dataclass(slots=True)
class _Parameter:
    """An array and the name, or one of the names, under which the file has it."""

    array: NDArray[Any]
    name: str


class _Parameters:
    """The parameters by their common names."""

    def __init__(self, arrays: Arrays, problems: Problems) -> None:
        self.problems = problems
        self._found: dict[str, _Parameter] = {}
        for name, array in arrays.items():
            if not name.startswith(_WITHOUT_EFFECT):
                self.add(common_name(name), array, name)

    def add(self, common: str, array: NDArray[Any], name: str) -> None:
        """Adds a parameter; there must be none of this name."""
        if common in self._found:
            self.problems.add(f"{self._found[common].name} and {name} are the same parameter in different versions")
        else:
            self._found[common] = _Parameter(array, name)

    def pop(self, common: str) -> _Parameter | None:
        """Takes a parameter out."""
        return self._found.pop(common, None)

    def get(self, common: str) -> NDArray[Any] | None:
        """An array."""
        return self._found[common].array if common in self._found else None

    def __contains__(self, common: str) -> bool:
        return common in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._found))

    def name(self, common: str) -> str:
        """The name in the file."""
        return self._found[common].name

    def replace(self, common: str, array: NDArray[Any]) -> None:
        """Puts another array in the place of one."""
        self._found[common].array = array

    def check_numbers(self) -> None:
        """Makes all arrays float32; there must be nothing but finite floating-point numbers."""
        for parameter in self._found.values():
            if parameter.array.dtype.kind != "f":
                self.problems.add(f"{shown(parameter.name)} has numbers of type {parameter.array.dtype}, not float")
                continue
            with np.errstate(over="ignore"):
                parameter.array = np.ascontiguousarray(parameter.array, dtype=np.float32)
            if not np.isfinite(parameter.array).all():
                self.problems.add(f"not all numbers of {shown(parameter.name)} are finite")

    def stack_gates(self) -> None:
        """Joins the matrices of the gates of each layer."""
        layers: dict[str, dict[str, _Parameter]] = {}
        for common in self:
            if gate := _GATE.fullmatch(common):
                layers.setdefault(f"{gate['layer']}_{gate['kind']}", {})[gate["gate"]] = self._found.pop(common)
        for common, gates in layers.items():
            order = _GATES["gru"] if "r" in gates or "z" in gates else _GATES["lstm"]
            first = next(iter(gates.values()))
            shapes = {gate.array.shape for gate in gates.values()}
            if gates.keys() != set(order):
                self.problems.add(
                    f"{common} has the gates {', '.join(sorted(gates))}; lstm has i, f, c, o and gru has r, z, o"
                )
            elif len(shapes) > 1 or first.array.ndim == 0:
                self.problems.add(f"the gates of {common} have different shapes")
            else:
                stacked = np.concatenate([gates[gate].array for gate in order])
                gates.clear()
                self.add(common, stacked, first.name)


def _resolve_sharing(found: _Parameters, config: SockeyeConfig) -> None:
    """Gives each use of a shared matrix its own copy."""
    if shared := found.pop(_SHARED_EMBEDDING):
        if not config.ties_embeddings:
            found.problems.add(f"{shared.name} is there, but the configuration ties no embeddings")
        found.add(_SOURCE_EMBEDDING, shared.array, shared.name)
        found.add(_TARGET_EMBEDDING, shared.array.copy(), shared.name)
    elif config.ties_embeddings:
        found.problems.add(f"{_SHARED_EMBEDDING} is missing, for the configuration ties the embeddings")
    target = found.get(_TARGET_EMBEDDING)
    if config.ties_output and target is not None:
        if _OUTPUT_WEIGHT in found:
            found.problems.add(
                f"{found.name(_OUTPUT_WEIGHT)} is there, but the configuration ties the output layer to the embedding"
            )
        else:
            found.add(_OUTPUT_WEIGHT, target.copy(), found.name(_TARGET_EMBEDDING))


def _fold_scales(found: _Parameters, config: SockeyeConfig) -> None:
    """Replaces each weight that has a scale per row by scale · w / ‖w‖, as the original does in every step."""
    for stem in _normalized(config):
        scale = found.pop(f"{stem}wn_scale")
        if scale is None:
            # Until 1.9 an output layer that was tied was not normalised, whatever the configuration says.
            if not (stem == _OUTPUT and config.ties_output):
                found.problems.add(f"{stem}wn_scale is missing, for the configuration says that weights are normalised")
            continue
        weight = found.get(f"{stem}weight")
        if weight is None or weight.ndim < 2 or scale.array.size != len(weight):
            found.problems.add(f"{scale.name} fits no weight")
            continue
        axes = tuple(range(1, weight.ndim))
        norm = np.sqrt(np.square(weight).sum(axes, dtype=np.float64, keepdims=True) + _NORM_EPSILON)
        found.replace(f"{stem}weight", weight * (scale.array.reshape(norm.shape) / norm).astype(np.float32))


def _normalized(config: SockeyeConfig) -> Iterator[str]:
    """The names, up to their last word, of the weights that are normalised."""
    for prefix, part, is_normalized in (
        ("encoder_cnn", config.model.encoder, config.normalizes_encoder),
        ("decoder_cnn", config.model.decoder, config.normalizes_decoder),
    ):
        for number in range(part.num_layers if is_normalized else 0):
            yield f"{prefix}_{number}_conv_"
    if config.normalizes_output:
        yield _OUTPUT


def _add_positions(found: _Parameters, config: SockeyeConfig) -> None:
    for common, part, size, kind in (
        (_SOURCE_POSITIONS, config.model.encoder, config.model.source_embedding.size, config.source_positions),
        (_TARGET_POSITIONS, config.model.decoder, config.model.target_embedding.size, config.target_positions),
    ):
        if part.type != "cnn" or kind == "learned":
            continue
        if common in found:
            found.problems.add(f"{found.name(common)} is there, but the configuration says positions are {kind}")
        elif kind == "none":
            found.add(common, np.zeros((part.max_length, size), np.float32), common)
        else:
            scale = size**-0.5 if config.positions_are_scaled else 1.0
            found.add(common, _computed_positions(part.max_length, size, scale), common)


def _computed_positions(length: int, size: int, scale: float) -> NDArray[np.float32]:
    """Sines, then cosines, of the position divided by 10000^(2i/E): float32 [M, E]."""
    channels = np.arange(size // 2)
    angles = np.arange(length)[:, None] / np.power(10_000, 2 * channels / size)
    return np.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=1) * scale, dtype=np.float32)


def _with_attention_as_found(config: ModelConfig, found: _Parameters) -> ModelConfig:
    """The attention feeds the upper layers if layer 2 reads as much; before 1.13 the key did nothing."""
    if config.decoder.type != "rnn" or config.decoder.num_layers == 1:
        return config
    weight = found.get("decoder_rnn_l1_i2h_weight")
    width = config.decoder.num_hidden + config.encoder.output_size
    feeds = weight is not None and weight.ndim == 2 and weight.shape[1] == width
    decoder = config.decoder.model_copy(update={"attention_in_upper_layers": feeds})
    return config.model_copy(update={"decoder": decoder})


def _take(found: _Parameters, config: ModelConfig) -> dict[str, Tensor]:
    """The parameters under our names, which must be all that our model has."""
    # On the meta device a model has shapes but no memory, whatever the configuration claims.
    with torch.device("meta"):
        expected = dict(Seq2Seq(config).named_parameters())
    _check_cells(found, config)
    tensors = {}
    for common, ours in _names(config):
        parameter, shape = found.pop(common), tuple(expected[ours].shape)
        if parameter is None:
            found.problems.add(f"{common} is missing")
        elif parameter.array.shape != shape:
            found.problems.add(f"{parameter.name} is {_form(parameter.array.shape)} instead of {_form(shape)}")
        else:
            tensors[ours] = torch.from_numpy(parameter.array)
    for common in found:
        found.problems.add(f"{shown(found.name(common))} is unknown")
    return tensors


def _check_cells(found: _Parameters, config: ModelConfig) -> None:
    """A wrong type of cells would otherwise show as wrong shapes everywhere."""
    for common in found:
        array = found.get(common)
        if array is None or not common.endswith("_h2h_weight") or array.ndim != 2:
            continue
        part = config.encoder if common.startswith("encoder") else config.decoder
        gates, rest = divmod(len(array), max(1, array.shape[1]))
        if part.type == "rnn" and rest == 0 and gates in (3, 4) and gates != len(_GATES[part.cell_type]):
            found.problems.add(f"{common} has {gates} gates, but the configuration says {part.cell_type}")
            return


def _form(shape: tuple[int, ...]) -> str:
    # A hostile file can claim many dimensions.
    return f"[{', '.join(map(str, shape[:4]))}{', …' if len(shape) > 4 else ''}]"
