"""Reads the configuration of a Sockeye 1 model into our words.

1.0 wrote one flat JSON object; 1.1 and later wrote YAML in sections, whose keys moved several times. What a version did
not know yet has the value that it computed with. Source: the original's history; contract "original numerics" 14, 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.json_file import read_json_object
from s2s_algo.legacy.search_rules import LengthFacts, inference_config
from s2s_algo.legacy.sockeye_version import Version
from s2s_algo.legacy.tagged_yaml import LARGEST_TEXT, parse
from s2s_algo.legacy.unsupported import cancels_states
from s2s_algo.legacy.values import Problems, Values
from s2s_algo.model.config import (
    ActivationType,
    AttentionConfig,
    AttentionType,
    CellType,
    ConvolutionalDecoderConfig,
    ConvolutionalEncoderConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
    StateInit,
)
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.wording import shown

PositionType = Literal["learned", "fixed", "none"]

# As in our own configuration.
_LARGEST_SIZE = 65_536
_MOST_LAYERS = 100
_LARGEST_INTEGER = 2**31 - 1
# A target a thousand times as long as its source is no translation.
_LARGEST_RATIO = 1000.0
# Numbers in a table of positions that is computed, not read: 64 MiB.
_LARGEST_TABLE = 2**24

_MEND = "Copy the file config again from where the model was trained."


@dataclass(frozen=True, slots=True)
class SockeyeConfig:
    """The architecture of a Sockeye model.

    Attributes:
        model: In our words. Whether the attention feeds the upper layers is a guess, for the key was without effect
            before 1.13: the weights decide.
        source_positions, target_positions: Where a convolutional part takes its positions from.
        positions_are_scaled: Whether computed positions are scaled by E^-½.
        ties_embeddings: One matrix is source and target embedding.
        ties_output: The target embedding is the matrix of the output layer as well.
        normalizes_encoder, normalizes_decoder: Whether kernels have normalised weights.
        normalizes_output: Whether the output layer has.
        cancels_states: Whether the encoder's cells, which are LSTM then, see zeros in place of their last output.
        inference: How that version translated with it.
    """

    model: ModelConfig
    source_positions: PositionType
    target_positions: PositionType
    positions_are_scaled: bool
    ties_embeddings: bool
    ties_output: bool
    normalizes_encoder: bool
    normalizes_decoder: bool
    normalizes_output: bool
    cancels_states: bool
    inference: InferenceConfig


def read_config(path: Path) -> dict[str, Any]:
    """Reads the file ``config`` as it stands.

    Raises:
        ClientError: It is neither the JSON of 1.0 nor the YAML of later versions.
        PlatformError: It cannot be read.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST_TEXT else None
    except OSError as error:
        raise PlatformError(f"cannot be read ({error.strerror})", where="file config") from error
    try:
        if content is None:
            raise ClientError(f"larger than {LARGEST_TEXT} bytes; give the file that Sockeye wrote")
        text = content.decode("utf-8-sig")
        is_json = text.lstrip().startswith("{")
        value = read_json_object(path, "give the file that Sockeye wrote") if is_json else parse(text)
    except UnicodeDecodeError as error:
        raise ClientError(f"byte {error.start} is not UTF-8; {_MEND}", where="file config") from error
    except ClientError as error:
        error.where = ""
        raise error.at("file config") from error.__cause__
    if not isinstance(value, dict) or not ("rnn_num_layers" in value or "config_encoder" in value):
        raise ClientError(
            f"{shown(value)} is not the configuration of a Sockeye model, which has config_encoder, or in version 1.0 "
            "rnn_num_layers. Give the folder of a model that was trained with Sockeye 1.",
            where="file config",
        )
    return value


def describe(config: dict[str, Any], version: Version) -> SockeyeConfig:
    """Puts a configuration without unsupported features into our words.

    Raises:
        ClientError: Values are missing, wrong or contradict each other; names all of them.
    """
    problems = Problems()
    values = Values(config, "", problems)
    parts = _describe_flat(values) if "rnn_num_layers" in config else _describe_sections(values, version)
    problems.check(_MEND, "file config")
    parts.check(problems)
    problems.check(_MEND, "file config")
    described = parts.build(version, problems)
    problems.check(_MEND, "file config")
    return described


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the sections of a configuration say, as arguments of our own classes."""

    source_embedding: dict[str, Any]
    target_embedding: dict[str, Any]
    encoder: dict[str, Any]
    decoder: dict[str, Any]
    facts: dict[str, Any]
    rest: dict[str, Any]

    def check(self, problems: Problems) -> None:
        """Finds contradictions between values that are right on their own."""
        encoder, decoder = self.encoder, self.decoder
        if encoder["type"] == "rnn" and encoder["num_hidden"] % 2:
            problems.add(f"config_encoder has {encoder['num_hidden']} units; two directions need an even number")
        if encoder["type"] == "cnn" and encoder["kernel_width"] % 2 == 0:
            problems.add(f"config_encoder has kernels of width {encoder['kernel_width']}; it must be odd")
        if decoder["type"] == "cnn" and decoder["num_hidden"] != encoder["num_hidden"]:
            problems.add(
                f"config_decoder has {decoder['num_hidden']} units and config_encoder {encoder['num_hidden']}; "
                "a convolutional decoder must have as many as its encoder"
            )

    def build(self, version: Version, problems: Problems) -> SockeyeConfig:
        """The description."""
        inference = inference_config(version, LengthFacts(**self.facts))
        limits = inference.limits
        # Computed positions limit nothing, so there are as many as the limits of that version ask for.
        if self.encoder["type"] == "cnn" and self.rest["source_positions"] != "learned":
            self.encoder["max_length"] = limits.max_input_length
            self._check_table("source", self.source_embedding["size"], self.encoder["max_length"], problems)
        if self.decoder["type"] == "cnn" and self.rest["target_positions"] != "learned":
            self.decoder["max_length"] = limits.output_limit(limits.max_input_length)
            self._check_table("target", self.target_embedding["size"], self.decoder["max_length"], problems)
            limits = limits.model_copy(update={"max_output_length": self.decoder["max_length"]})
            inference = inference.model_copy(update={"limits": limits})
        if self.encoder["type"] == "cnn" and self.encoder["max_length"] < limits.max_input_length:
            problems.add(f"config_encoder has {self.encoder['max_length']} positions, too few for any source")
        encoder = RecurrentEncoderConfig if self.encoder["type"] == "rnn" else ConvolutionalEncoderConfig
        decoder = RecurrentDecoderConfig if self.decoder["type"] == "rnn" else ConvolutionalDecoderConfig
        model = ModelConfig(
            source_embedding=EmbeddingConfig(**self.source_embedding),
            target_embedding=EmbeddingConfig(**self.target_embedding),
            encoder=encoder(**self.encoder),
            decoder=decoder(**self.decoder),
        )
        return SockeyeConfig(model=model, inference=inference, **self.rest)

    def _check_table(self, side: str, size: int, length: int, problems: Problems) -> None:
        if length * size > _LARGEST_TABLE:
            problems.add(
                f"the {side} side needs {length} positions of {size} numbers, more than the {_LARGEST_TABLE} numbers "
                "that are computed at most"
            )
        if self.rest[f"{side}_positions"] == "fixed" and size % 2:
            problems.add(f"the {side} side has computed positions of {size} numbers; the number must be even")


def _describe_flat(values: Values) -> _Parts:
    """Of 1.0: both sides have the same number of layers; residual connections begin in layer 3 of the encoder."""
    cells = {
        "type": "rnn",
        "cell_type": values.choice("rnn_cell_type", get_args(CellType)),
        "num_layers": values.integer("rnn_num_layers", 1, _MOST_LAYERS),
        "num_hidden": values.integer("rnn_num_hidden", 1, _LARGEST_SIZE),
        "residual": values.flag("rnn_residual_connections"),
    }
    return _Parts(
        source_embedding=_embedding(values, "vocab_source_size", "num_embed_source", "dropout"),
        target_embedding=_embedding(values, "vocab_target_size", "num_embed_target"),
        encoder={**cells, "first_residual_layer": 3},
        decoder={
            **cells,
            "first_residual_layer": 2,
            "attention": AttentionConfig(
                type=values.choice("attention_type", get_args(AttentionType)),
                num_hidden=values.integer("attention_num_hidden", 1, _LARGEST_SIZE),
            ),
            "attention_in_upper_layers": False,
        },
        rest={
            "source_positions": "none",
            "target_positions": "none",
            "positions_are_scaled": False,
            "ties_embeddings": False,
            "ties_output": values.flag("weight_tying"),
            "normalizes_encoder": False,
            "normalizes_decoder": False,
            "normalizes_output": False,
            "cancels_states": False,
        },
        facts={
            "ratio_mean": None,
            "ratio_std": None,
            "longest_source": values.integer("max_seq_len", 1, _LARGEST_INTEGER),
            "source_positions": None,
            "target_positions": None,
            "source_with_eos": False,
            "has_data_statistics": False,
        },
    )


def _describe_sections(values: Values, version: Version) -> _Parts:
    encoder, decoder = values.section("config_encoder"), values.section("config_decoder")
    encoder_part, decoder_part = _encoder(encoder, version), _decoder(values, decoder, version)
    # Whatever the type, for a recurrent part knows no positions.
    positions = [_positions(part) if "cnn_config" in part else "none" for part in (encoder, decoder)]
    return _Parts(
        source_embedding=_embedding_of(values, "config_embed_source", encoder),
        target_embedding=_embedding_of(values, "config_embed_target", decoder),
        encoder=encoder_part,
        decoder=decoder_part,
        facts={
            **_lengths(values),
            "source_positions": encoder_part["max_length"] if positions[0] == "learned" else None,
            "target_positions": decoder_part["max_length"] if positions[1] == "learned" else None,
        },
        rest={
            "source_positions": positions[0],
            "target_positions": positions[1],
            "positions_are_scaled": version >= (1, 14, 0),
            **_tying(values, decoder),
            "normalizes_encoder": encoder.section("cnn_config").flag("weight_normalization"),
            "normalizes_decoder": decoder.section("cnn_config").flag("weight_normalization"),
            "normalizes_output": values.flag("weight_normalization") or decoder.flag("weight_normalization"),
            "cancels_states": cancels_states(encoder.section("rnn_config"), version),
        },
    )


def _embedding_of(values: Values, key: str, part: Values) -> dict[str, Any]:
    """Of one side; before 1.13 the encoder or decoder knew it."""
    if key in values:
        return _embedding(values.section(key), "vocab_size", "num_embed", "dropout")
    return _embedding(part, "vocab_size", "num_embed", "embed_dropout")


def _tying(values: Values, decoder: Values) -> dict[str, bool]:
    """Which matrices are one; until 1.12 the decoder's own key tells about its output layer."""
    kinds = ("src_trg", "trg_softmax", "src_trg_softmax")
    kind = values.choice("weight_tying_type", kinds, "trg_softmax") if values.flag("weight_tying") else ""
    return {
        "ties_embeddings": kind.startswith("src_trg"),
        "ties_output": decoder.flag("weight_tying") if "weight_tying" in decoder else kind.endswith("softmax"),
    }


def _lengths(values: Values) -> dict[str, Any]:
    data = values.section("config_data")
    # Since 1.15.6 the statistics have a section of their own and other names.
    has_statistics = "data_statistics" in data
    statistics = data.section("data_statistics") if has_statistics else data
    observed = statistics.optional_integer(
        "max_observed_len_source" if has_statistics else "max_observed_source_seq_len", 1, _LARGEST_INTEGER
    )
    if "max_seq_len_source" in data:
        limit = data.integer("max_seq_len_source", 1, _LARGEST_INTEGER)
    else:
        key = "max_seq_len" if "max_seq_len" in values else "max_seq_len_source"
        limit = values.integer(key, 1, _LARGEST_INTEGER)
    return {
        "ratio_mean": statistics.optional_number("length_ratio_mean", _LARGEST_RATIO),
        "ratio_std": statistics.optional_number("length_ratio_std", _LARGEST_RATIO),
        "longest_source": limit if observed is None else observed,
        "source_with_eos": data.flag("source_with_eos"),
        "has_data_statistics": has_statistics,
    }


def _embedding(values: Values, vocabulary_size: str, size: str, dropout: str = "") -> dict[str, Any]:
    return {
        "vocabulary_size": values.integer(vocabulary_size, 4, _LARGEST_INTEGER),
        "size": values.integer(size, 1, _LARGEST_SIZE),
        "dropout": values.number(dropout, 1.0) if dropout else 0.0,
    }


def _encoder(encoder: Values, version: Version) -> dict[str, Any]:
    if "cnn_config" in encoder:
        longest = encoder.integer("max_seq_len_source", 1, _LARGEST_INTEGER)
        return {**_convolutional(encoder), "max_length": longest}
    # Before 1.5 residual connections began in the second of the layers above the bi-directional one.
    return _recurrent(encoder, first_residual_layer=2 if version >= (1, 5, 0) else 3)


def _decoder(values: Values, decoder: Values, version: Version) -> dict[str, Any]:
    dropout = decoder.number("hidden_dropout", 1.0)
    if "cnn_config" in decoder:
        longest = decoder.integer("max_seq_len_target", 1, _LARGEST_INTEGER)
        return {**_convolutional(decoder), "max_length": longest, "hidden_dropout": dropout}
    # In 1.1 at the top.
    attention = (decoder if "attention_config" in decoder else values).section(
        "attention_config" if "attention_config" in decoder else "config_attention"
    )
    default = "zero" if decoder.flag("zero_state_init") else "last"
    attention_type = attention.choice("type", get_args(AttentionType))
    # Elsewhere the size means nothing.
    needs_size = attention_type in ("mlp", "dot")
    return {
        **_recurrent(decoder, first_residual_layer=2),
        "attention": AttentionConfig(
            type=attention_type,
            num_hidden=attention.integer("num_hidden", 1, _LARGEST_SIZE, default=None if needs_size else 1),
        ),
        "attention_in_upper_layers": decoder.flag("attention_in_upper_layers") and version >= (1, 13, 0),
        "state_init": decoder.choice("state_init", get_args(StateInit), default),
        "hidden_dropout": dropout,
    }


def _recurrent(part: Values, *, first_residual_layer: int) -> dict[str, Any]:
    if "rnn_config" not in part:
        part.problems.add(
            f"{part.name('rnn_config')} and {part.name('cnn_config')} are missing; one of them must be there"
        )
    cells = part.section("rnn_config")
    return {
        "type": "rnn",
        "cell_type": cells.choice("cell_type", get_args(CellType)),
        "num_layers": cells.integer("num_layers", 1, _MOST_LAYERS),
        "num_hidden": cells.integer("num_hidden", 1, _LARGEST_SIZE),
        "residual": cells.flag("residual"),
        # In layer 1 of either part the original allows none.
        "first_residual_layer": cells.integer("first_residual_layer", 2, _LARGEST_INTEGER, first_residual_layer),
    }


def _convolutional(part: Values) -> dict[str, Any]:
    kernels = part.section("cnn_config")
    return {
        "type": "cnn",
        "num_layers": part.integer("num_layers", 1, _MOST_LAYERS),
        "num_hidden": kernels.integer("num_hidden", 1, _LARGEST_SIZE),
        "kernel_width": kernels.integer("kernel_width", 1, _LARGEST_SIZE),
        "activation": kernels.choice("act_type", get_args(ActivationType), "glu"),
    }


def _positions(part: Values) -> PositionType:
    return part.choice("positional_embedding_type", get_args(PositionType))
