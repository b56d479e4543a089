"""What models of Sockeye 1 may have that ours do not, found in their configuration and in the names of parameters.

Each is refused by name, and all of them at once. What is switched on but has no effect on a translation (dropout,
label smoothing, the previous word for attentions that have no query, a task that predicts lengths) is no obstacle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from s2s_algo.errors import ClientError
from s2s_algo.legacy.sockeye_version import Version
from s2s_algo.legacy.values import Problems, Values
from s2s_algo.wording import shown

# What was found, and the keys and parameters that show it.
Found = dict[str, list[str]]

_MOST_PLACES = 2

_TRANSFORMER = "transformer"
_LAYER_NORMALIZATION = "layer normalisation"
_COVERAGE = "coverage attention"
_MULTI_HEAD = "multi-head attention"
_LOCATION = "location attention"
_SCALED = "scaled dot attention"
_CONTEXT_GATING = "context gating"
_PREVIOUS_WORD = "the previous word as input of the attention"
_LEXICAL_BIAS = "lexical biases"
_LHUC = "LHUC"
_FACTORS = "source factors"
_POINTERS = "pointers that copy source words"
_CONVOLUTIONAL_EMBEDDING = "convolutional embeddings of characters"
_REVERSED = "reversed sources"
_PROJECTIONS = "projections of queries, keys and values in a convolutional decoder"
_IMAGES = "image captioning"
_NO_ENCODER = "a decoder without encoder"
_STACKED = "several bi-directional layers, as recurrent encoders of 1.1 to 1.4 have"

_CANCELLED = "dropout of the states of GRU encoders as 1.4 to 1.8.1 computed it"

_CLASSES = {
    "TransformerConfig": _TRANSFORMER,
    "EmptyEncoderConfig": _NO_ENCODER,
    "ImageLoadedCnnEncoderConfig": _IMAGES,
    "PassThroughEmbeddingConfig": _IMAGES,
}
_ATTENTIONS = {
    "coverage": _COVERAGE,
    "mhdot": _MULTI_HEAD,
    "location": _LOCATION,
    "dot_scaled": _SCALED,
}
_LAYER_NORMALIZED_CELLS = ("lnlstm", "lnglstm", "lngru", "lnggru")

_NAMES = {
    r".*transformer.*": _TRANSFORMER,
    r".*_(gamma|beta)": _LAYER_NORMALIZATION,
    r"(.*_)?cov_.*|.*att_c2h_weight": _COVERAGE,
    r".*att_h2o_.*|.*att_[st]2h_bias": _MULTI_HEAD,
    r".*att_loc_.*": _LOCATION,
    r"decoder_(rnn_)?(gate|mapped_rnn_output|mapped_context)_.*": _CONTEXT_GATING,
    r"lexicon": _LEXICAL_BIAS,
    r".*lhuc": _LHUC,
    r"source_embed_factor\d+_.*": _FACTORS,
    r"encoder_char_.*": _CONVOLUTIONAL_EMBEDDING,
    r"decoder_cnn_\d+_(q|kv|k|v)2h_.*": _PROJECTIONS,
    r"encoder_birnn_(forward|reverse)_l[1-9]\d*_.*": _STACKED,
}


def refuse(found: Found, version: str) -> None:
    """Raises if anything was found.

    Raises:
        ClientError: Names everything.
    """
    if not found:
        return
    features = "; ".join(f"{feature} ({_places(places)})" for feature, places in found.items())
    raise ClientError(
        f"the {version} model cannot be imported, for it has what models of s2s do not have: {features}. Recurrent and "
        "convolutional encoders and decoders with mlp, dot, bilinear or fixed attention can be; train such a model "
        "with s2s, or keep this one with Sockeye."
    )


def _places(places: list[str]) -> str:
    left = len(places) - _MOST_PLACES
    return ", ".join(places[:_MOST_PLACES]) + (f" and {left} more" if left > 0 else "")


def merge(*findings: Found) -> Found:
    """All of several findings."""
    merged: Found = {}
    for found in findings:
        for feature, places in found.items():
            merged.setdefault(feature, []).extend(places)
    return merged


def in_names(names: Iterable[str]) -> Found:
    """What the names of the parameters show."""
    found: Found = {}
    for name in sorted(names):
        for pattern, feature in _NAMES.items():
            if re.fullmatch(pattern, name):
                found.setdefault(feature, []).append(f"parameter {name}")
                break
    return found


def in_config(config: Mapping[str, Any], version: Version | None = None) -> Found:
    """What the configuration shows; some of it only together with the version."""
    # A value of the wrong type is told by whoever reads the configuration; here it only must not look switched on.
    values = Values(config, "", Problems())
    found: Found = {}
    for feature, place in _flat(values) if "rnn_num_layers" in config else _sections(values):
        found.setdefault(feature, []).append(place)
    cells = values.section("config_encoder").section("rnn_config")
    if version is not None and cells.raw("cell_type") == "gru" and cancels_states(cells, version):
        found[_CANCELLED] = ["config_encoder.rnn_config"]
    return found


def cancels_states(cells: Values, version: Version) -> bool:
    """Whether the recurrent product of an encoder's cells is that of zeros, in training and after it.

    From 1.4 to 1.8.1 dropout of states drew its mask from the first state, and kept it for the sentence: what is zero
    there is zero for ever, and an encoder begins with zeros.
    """
    dropout = cells.raw("dropout_states" if "dropout_states" in cells else "dropout")
    return (1, 4, 0) <= version < (1, 8, 2) and isinstance(dropout, int | float) and dropout > 0


def _flat(config: Values) -> Iterator[tuple[str, str]]:
    """Of 1.0."""
    if config.raw("encoder") not in (None, "rnn"):
        yield _CONVOLUTIONAL_EMBEDDING, f"encoder {shown(config.raw('encoder'))}"
    yield from _cells(config, "rnn_cell_type")
    kind = config.raw("attention_type")
    yield from _attention(config, "attention_type")
    yield from _switched_on(
        config,
        {
            "layer_normalization": _LAYER_NORMALIZATION,
            "context_gating": _CONTEXT_GATING,
            "lexical_bias": _LEXICAL_BIAS,
        },
    )
    if kind in ("mlp", "dot"):
        yield from _switched_on(config, {"attention_use_prev_word": _PREVIOUS_WORD})


def _sections(config: Values) -> Iterator[tuple[str, str]]:
    """Of 1.1 and later."""
    yield from _switched_on(config, {"lexical_bias": _LEXICAL_BIAS, "lhuc": _LHUC})
    yield from _more_than(config, "num_pointers", 0, _POINTERS)
    yield from _more_than(config.section("config_data"), "num_source_factors", 1, _FACTORS)
    for key in ("config_encoder", "config_decoder", "config_embed_source", "config_embed_target"):
        name = config.class_name(key)
        if name in _CLASSES:
            yield _CLASSES[name], f"{key} is of class {name}"
    for key in ("config_embed_source", "config_embed_target"):
        embedding = config.section(key)
        yield from _switched_on(embedding, {"factor_configs": _FACTORS})
        yield from _more_than(embedding, "num_factors", 1, _FACTORS)
    for key in ("config_encoder", "config_decoder"):
        cells = config.section(key).section("rnn_config")
        yield from _cells(cells, "cell_type")
        yield from _switched_on(cells, {"lhuc": _LHUC})
    encoder, decoder = config.section("config_encoder"), config.section("config_decoder")
    yield from _switched_on(encoder, {"conv_config": _CONVOLUTIONAL_EMBEDDING, "reverse_input": _REVERSED})
    yield from _switched_on(
        decoder,
        {
            "layer_normalization": _LAYER_NORMALIZATION,
            "context_gating": _CONTEXT_GATING,
            "state_init_lhuc": _LHUC,
            "project_qkv": _PROJECTIONS,
            "enc_last_hidden_concat_to_embedding": _IMAGES,
        },
    )
    attention = (
        decoder.section("attention_config") if "attention_config" in decoder else config.section("config_attention")
    )
    kind = attention.raw("type")
    yield from _attention(attention, "type")
    if kind in ("mlp", "coverage"):
        yield from _switched_on(attention, {"layer_normalization": _LAYER_NORMALIZATION})
    if kind in ("mlp", "dot"):
        yield from _switched_on(attention, {"input_previous_word": _PREVIOUS_WORD})
    if kind == "dot":
        yield from _switched_on(attention, {"is_scaled": _SCALED})


def _cells(section: Values, key: str) -> Iterator[tuple[str, str]]:
    if section.raw(key) in _LAYER_NORMALIZED_CELLS:
        yield _LAYER_NORMALIZATION, f"{section.name(key)} {section.raw(key)}"


def _attention(section: Values, key: str) -> Iterator[tuple[str, str]]:
    kind = section.raw(key)
    if isinstance(kind, str) and kind in _ATTENTIONS:
        yield _ATTENTIONS[kind], f"{section.name(key)} {kind}"


def _switched_on(section: Values, features: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, feature in features.items():
        if section.raw(key):
            yield feature, section.name(key)


def _more_than(section: Values, key: str, usual: int, feature: str) -> Iterator[tuple[str, str]]:
    value = section.raw(key)
    if isinstance(value, int) and value > usual:
        yield feature, f"{section.name(key)} {shown(value)}"
