"""What models of ours do not have is refused by name, all of it at once; so is what contradicts itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from s2s_algo.errors import ClientError
from s2s_algo.legacy.importer import import_model
from s2s_algo.legacy.tagged_yaml import Section
from tests.unit.legacy.writers import Folder

RECURRENT, LATE, CONVOLUTIONAL = "rnn_rnn_lstm_mlp_1.10.5", "rnn_rnn_lstm_bilinear_1.18.106", "cnn_cnn_glu_1.18.28"


def refusal(folder: Folder, tmp_path: Path) -> str:
    path = folder.write(tmp_path / "model")
    with pytest.raises(ClientError) as caught:
        import_model(path)
    return str(caught.value).removeprefix(f"{path}: ").removeprefix(f"{path}, ")


def section(class_name: str, **values: object) -> Section:
    made = Section(values)
    made.class_name = class_name
    return made


def put(path: str, value: object) -> Callable[[Folder], None]:
    def change(folder: Folder) -> None:
        at = folder.config
        *parents, key = path.split(".")
        for parent in parents:
            at = at[parent]
        at[key] = value

    return change


def add(name: str, *shape: int) -> Callable[[Folder], None]:
    return lambda folder: folder.arrays.update({name: np.ones(shape, np.float32)})


FEATURES = {
    "transformer encoder": (
        LATE,
        [put("config_encoder", section("TransformerConfig", num_layers=6))],
        "transformer (config_encoder is of class TransformerConfig)",
    ),
    "transformer decoder": (
        CONVOLUTIONAL,
        [put("config_decoder", section("TransformerConfig", num_layers=6))],
        "transformer (config_decoder is of class TransformerConfig)",
    ),
    "transformer by name": (
        RECURRENT,
        [add("encoder_transformer_0_att_self_i2h_weight", 3, 3)],
        "transformer (parameter encoder_transformer_0_att_self_i2h_weight)",
    ),
    "layer normalisation of the decoder": (
        RECURRENT,
        [put("config_decoder.layer_normalization", True)],
        "layer normalisation (config_decoder.layer_normalization)",
    ),
    "layer normalisation of the attention": (
        RECURRENT,
        [put("config_decoder.attention_config.layer_normalization", True)],
        "layer normalisation (config_decoder.attention_config.layer_normalization)",
    ),
    "layer normalisation of cells": (
        RECURRENT,
        [put("config_encoder.rnn_config.cell_type", "lnglstm")],
        "layer normalisation (config_encoder.rnn_config.cell_type lnglstm)",
    ),
    "layer normalisation by name": (
        RECURRENT,
        [add("decoder_rnn_hidden_norm_gamma", 12), add("decoder_rnn_hidden_norm_beta", 12)],
        "layer normalisation (parameter decoder_rnn_hidden_norm_beta, parameter decoder_rnn_hidden_norm_gamma)",
    ),
    "coverage": (
        RECURRENT,
        [put("config_decoder.attention_config.type", "coverage"), add("att_c2h_weight", 12, 1)],
        "coverage attention (config_decoder.attention_config.type coverage, parameter att_c2h_weight)",
    ),
    "coverage by name": (LATE, [add("cov_gru_i2h_weight", 3, 3)], "coverage attention (parameter cov_gru_i2h_weight)"),
    "multi-head attention": (
        RECURRENT,
        [put("config_decoder.attention_config.type", "mhdot")],
        "multi-head attention (config_decoder.attention_config.type mhdot)",
    ),
    "multi-head attention by name": (
        LATE,
        [add("decoder_rnn_att_h2o_weight", 12, 12)],
        "multi-head attention (parameter decoder_rnn_att_h2o_weight)",
    ),
    "location attention": (
        RECURRENT,
        [put("config_decoder.attention_config.type", "location"), add("att_loc_weight", 12, 12)],
        "location attention (config_decoder.attention_config.type location, parameter att_loc_weight)",
    ),
    "scaled attention until 1.17": (
        RECURRENT,
        [put("config_decoder.attention_config.type", "dot_scaled")],
        "scaled dot attention (config_decoder.attention_config.type dot_scaled)",
    ),
    "scaled attention since 1.18": (
        "rnn_rnn_gru_dot_1.18.10",
        [put("config_decoder.attention_config.is_scaled", True)],
        "scaled dot attention (config_decoder.attention_config.is_scaled)",
    ),
    "context gating": (
        RECURRENT,
        [put("config_decoder.context_gating", True), add("decoder_rnn_gate_weight", 12, 33)],
        "context gating (config_decoder.context_gating, parameter decoder_rnn_gate_weight)",
    ),
    "previous word": (
        RECURRENT,
        [put("config_decoder.attention_config.input_previous_word", True)],
        "the previous word as input of the attention (config_decoder.attention_config.input_previous_word)",
    ),
    "lexical bias": (
        RECURRENT,
        [put("lexical_bias", "table.txt"), add("lexicon", 3, 3)],
        "lexical biases (lexical_bias, parameter lexicon)",
    ),
    "lhuc": (
        LATE,
        [
            put("lhuc", True),
            put("config_encoder.rnn_config.lhuc", True),
            put("config_decoder.state_init_lhuc", True),
            add("encoder_birnn_forward_l0_lhuc", 6),
        ],
        "LHUC (lhuc, config_encoder.rnn_config.lhuc and 2 more)",
    ),
    "source factors": (
        LATE,
        [
            put("config_embed_source.factor_configs", [section("FactorConfig", num_embed=2, vocab_size=4)]),
            put("config_data.num_source_factors", 2),
            add("source_embed_factor0_weight", 4, 2),
        ],
        "source factors (config_data.num_source_factors 2, config_embed_source.factor_configs and 1 more)",
    ),
    "pointers": (LATE, [put("num_pointers", 20)], "pointers that copy source words (num_pointers 20)"),
    "convolutional embedding": (
        RECURRENT,
        [put("config_encoder.conv_config", section("ConvolutionalEmbeddingConfig", num_embed=8))],
        "convolutional embeddings of characters (config_encoder.conv_config)",
    ),
    "convolutional embedding by name": (
        RECURRENT,
        [add("encoder_char_conv_1_weight", 3, 3)],
        "convolutional embeddings of characters (parameter encoder_char_conv_1_weight)",
    ),
    "reversed sources": (
        RECURRENT,
        [put("config_encoder.reverse_input", True)],
        "reversed sources (config_encoder.reverse_input)",
    ),
    "projections": (
        CONVOLUTIONAL,
        [put("config_decoder.project_qkv", True), add("decoder_cnn_0_q2h_weight", 10, 10)],
        "projections of queries, keys and values in a convolutional decoder (config_decoder.project_qkv, parameter "
        "decoder_cnn_0_q2h_weight)",
    ),
    "images": (
        LATE,
        [
            put("config_encoder", section("ImageLoadedCnnEncoderConfig", num_embed=8)),
            put("config_embed_source", section("PassThroughEmbeddingConfig", num_embed=0)),
        ],
        "image captioning (config_encoder is of class ImageLoadedCnnEncoderConfig, config_embed_source is of class "
        "PassThroughEmbeddingConfig)",
    ),
    "last state beside the embedding": (
        LATE,
        [put("config_decoder.enc_last_hidden_concat_to_embedding", True)],
        "image captioning (config_decoder.enc_last_hidden_concat_to_embedding)",
    ),
    "no encoder": (
        LATE,
        [put("config_encoder", section("EmptyEncoderConfig", num_embed=8))],
        "a decoder without encoder (config_encoder is of class EmptyEncoderConfig)",
    ),
    "stacked bi-directional layers": (
        RECURRENT,
        [add("encoder_birnn_forward_l1_i2h_i_weight", 6, 6)],
        "several bi-directional layers, as recurrent encoders of 1.1 to 1.4 have (parameter "
        "encoder_birnn_forward_l1_i2h_i_weight)",
    ),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_is_refused_by_name(feature, tmp_path):
    golden, changes, named = FEATURES[feature]
    folder = Folder(golden)
    for change in changes:
        change(folder)
    assert refusal(folder, tmp_path) == (
        f"the Sockeye {folder.version} model cannot be imported, for it has what models of s2s do not have: {named}. "
        "Recurrent and convolutional encoders and decoders with mlp, dot, bilinear or fixed attention can be; train "
        "such a model with s2s, or keep this one with Sockeye."
    )


def test_all_features_are_refused_at_once(tmp_path):
    folder = Folder(RECURRENT)
    for feature in ("layer normalisation of the decoder", "reversed sources", "lexical bias", "coverage by name"):
        for change in FEATURES[feature][1]:
            change(folder)
    message = refusal(folder, tmp_path)
    for feature in ("layer normalisation of the decoder", "reversed sources", "lexical bias", "coverage by name"):
        assert FEATURES[feature][2] in message


def test_features_are_told_even_if_the_weights_are_damaged(tmp_path):
    folder = Folder(RECURRENT)
    folder.config["config_encoder"]["reverse_input"] = True
    path = folder.write(tmp_path / "model")
    (path / "params.best").write_bytes(b"damaged")
    with pytest.raises(ClientError, match="reversed sources"):
        import_model(path)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("encoder", "rnn-with-conv-embed", "convolutional embeddings of characters (encoder 'rnn-with-conv-embed')"),
        ("rnn_cell_type", "lnlstm", "layer normalisation (rnn_cell_type lnlstm)"),
        ("layer_normalization", True, "layer normalisation (layer_normalization)"),
        ("attention_type", "coverage", "coverage attention (attention_type coverage)"),
        ("attention_use_prev_word", True, "the previous word as input of the attention (attention_use_prev_word)"),
        ("context_gating", True, "context gating (context_gating)"),
        ("lexical_bias", "table", "lexical biases (lexical_bias)"),
    ],
)
def test_features_of_1_0_are_refused_by_name(key, value, named, tmp_path):
    folder = Folder(RECURRENT)
    folder.to_flat_1_0()
    folder.config[key] = value
    assert f": {named}. " in refusal(folder, tmp_path)


@pytest.mark.parametrize(
    ("golden", "key", "value"),
    [
        ("rnn_rnn_gru_bilinear_avg_1.10.5", "attention_config.input_previous_word", True),
        ("rnn_rnn_gru_bilinear_avg_1.10.5", "attention_config.layer_normalization", True),
        ("rnn_rnn_lstm_fixed_1.10.5", "attention_config.input_previous_word", True),
        (LATE, "attention_config.is_scaled", True),
        (RECURRENT, "attention_config.num_heads", 8),
        (RECURRENT, "rnn_config.dropout_inputs", 0.5),
        (RECURRENT, "rnn_config.forget_bias", 1.0),
        (RECURRENT, "of_some_later_version", {"a": [1]}),
    ],
)
def test_what_has_no_effect_is_no_obstacle(golden, key, value, tmp_path):
    folder = Folder(golden)
    put(f"config_decoder.{key}", value)(folder)
    import_model(folder.write(tmp_path / "model"))


# Values of the configuration

MEND = "Copy the file config again from where the model was trained."


@pytest.mark.parametrize(
    ("golden", "path", "value", "told"),
    [
        (RECURRENT, "config_encoder.rnn_config.num_layers", 0, "is 0; it must be an integer from 1 to 100"),
        (
            RECURRENT,
            "config_encoder.rnn_config.num_layers",
            10**9,
            "is 1000000000; it must be an integer from 1 to 100",
        ),
        (RECURRENT, "config_encoder.rnn_config.num_layers", True, "is True; it must be an integer from 1 to 100"),
        (RECURRENT, "config_encoder.rnn_config.num_layers", 1.0, "is 1.0; it must be an integer from 1 to 100"),
        (RECURRENT, "config_encoder.rnn_config.num_hidden", "x", "is 'x'; it must be an integer from 1 to 65536"),
        (RECURRENT, "config_encoder.rnn_config.cell_type", "rnn", "is 'rnn'; it must be lstm or gru"),
        (RECURRENT, "config_encoder.rnn_config.residual", 1, "is 1; it must be true or false"),
        (RECURRENT, "config_encoder.embed_dropout", 2.0, "is 2.0; it must be a number from 0 to 1"),
        (RECURRENT, "config_encoder.vocab_size", 3, "is 3; it must be an integer from 4 to 2147483647"),
        (RECURRENT, "config_decoder.state_init", "first", "is 'first'; it must be last or avg or zero"),
        (
            RECURRENT,
            "config_decoder.attention_config.type",
            "hard",
            "is 'hard'; it must be mlp or dot or bilinear or fixed",
        ),
        (RECURRENT, "config_decoder.attention_config", [1], "is [1]; it must be a section"),
        (RECURRENT, "config_data.length_ratio_mean", float("nan"), "is nan; it must be a number from 0 to 1000"),
        (RECURRENT, "config_data.length_ratio_mean", 1e300, "is 1e+300; it must be a number from 0 to 1000"),
        (RECURRENT, "config_data.max_observed_source_seq_len", 0, "is 0; it must be an integer from 1 to 2147483647"),
        (RECURRENT, "max_seq_len_source", None, "is missing; it must be an integer from 1 to 2147483647"),
        (CONVOLUTIONAL, "config_encoder.cnn_config.act_type", "gelu", "is 'gelu'; it must be glu or relu or softrelu"),
        (
            CONVOLUTIONAL,
            "config_encoder.positional_embedding_type",
            "relative",
            "is 'relative'; it must be learned or fixed or none",
        ),
        (CONVOLUTIONAL, "config_encoder.num_layers", None, "is missing; it must be an integer from 1 to 100"),
        (CONVOLUTIONAL, "weight_tying_type", 7, ""),
    ],
)
def test_a_wrong_value_is_told_with_its_name_and_what_is_allowed(golden, path, value, told, tmp_path):
    folder = Folder(golden)
    put(path, value)(folder)
    if not told:
        # Nothing asks for it.
        import_model(folder.write(tmp_path / "model"))
        return
    message = refusal(folder, tmp_path)
    assert message.startswith(f"file config: {path} {told}")
    assert message.endswith(MEND)


def test_all_wrong_values_are_told_at_once(tmp_path):
    folder = Folder(RECURRENT)
    put("config_encoder.rnn_config.num_layers", -1)(folder)
    put("config_decoder.rnn_config.num_hidden", None)(folder)
    put("config_data.length_ratio_std", "much")(folder)
    assert refusal(folder, tmp_path) == (
        "file config: config_encoder.rnn_config.num_layers is -1; it must be an integer from 1 to 100; "
        "config_decoder.rnn_config.num_hidden is missing; it must be an integer from 1 to 65536; "
        f"config_data.length_ratio_std is 'much'; it must be a number from 0 to 1000. {MEND}"
    )


@pytest.mark.parametrize(
    ("golden", "changes", "told"),
    [
        (
            RECURRENT,
            {"config_encoder.rnn_config.num_hidden": 11},
            "config_encoder has 11 units; two directions need an even number",
        ),
        (
            CONVOLUTIONAL,
            {"config_encoder.cnn_config.kernel_width": 4},
            "config_encoder has kernels of width 4; it must be odd",
        ),
        (
            CONVOLUTIONAL,
            {"config_decoder.cnn_config.num_hidden": 12},
            "config_decoder has 12 units and config_encoder 10; a convolutional decoder must have as many as its "
            "encoder",
        ),
        (
            CONVOLUTIONAL,
            {
                "config_encoder.positional_embedding_type": "fixed",
                "config_decoder.positional_embedding_type": "fixed",
                "config_data.data_statistics.max_observed_len_source": 2**31 - 1,
            },
            "the source side needs 2147483647 positions of 8 numbers, more than the 16777216 numbers that are "
            "computed at most",
        ),
        (
            CONVOLUTIONAL,
            {"config_decoder.positional_embedding_type": "fixed", "config_embed_target.num_embed": 7},
            "the target side has computed positions of 7 numbers; the number must be even",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(golden, changes, told, tmp_path):
    folder = Folder(golden)
    for path, value in changes.items():
        put(path, value)(folder)
    assert refusal(folder, tmp_path) == f"file config: {told}. {MEND}"


# Parameters that do not fit

TOGETHER = "Keep the files of one training job together."


def drop(name: str) -> Callable[[Folder], None]:
    return lambda folder: folder.arrays.pop(name)


def replace(name: str, array: np.ndarray) -> Callable[[Folder], None]:
    return lambda folder: folder.arrays.update({name: array})


PARAMETERS = {
    "missing": (RECURRENT, [drop("decoder_rnn_hidden_bias")], "decoder_rnn_hidden_bias is missing"),
    "missing output": (CONVOLUTIONAL, [drop("target_output_weight")], "target_output_weight is missing"),
    "missing gate": (
        RECURRENT,
        [drop("decoder_rnn_l0_i2h_f_weight")],
        "decoder_rnn_l0_i2h_weight has the gates c, i, o; lstm has i, f, c, o and gru has r, z, o",
    ),
    "gates of different shapes": (
        RECURRENT,
        [replace("decoder_rnn_l0_i2h_f_weight", np.ones((3, 3), np.float32))],
        "the gates of decoder_rnn_l0_i2h_weight have different shapes",
    ),
    "unknown": (RECURRENT, [add("decoder_extra_weight", 1)], "'decoder_extra_weight' is unknown"),
    "one layer more": (
        CONVOLUTIONAL,
        [add("encoder_cnn_2_conv_weight", 20, 10, 3)],
        "'encoder_cnn_2_conv_weight' is unknown",
    ),
    "other shape": (
        CONVOLUTIONAL,
        [replace("source_embed_weight", np.ones((35, 8), np.float32))],
        "source_embed_weight is [35, 8] instead of [34, 8]",
    ),
    "other rank": (
        CONVOLUTIONAL,
        [replace("source_embed_weight", np.ones((1,) * 9, np.float32))],
        "source_embed_weight is [1, 1, 1, 1, …] instead of [34, 8]",
    ),
    "positions": (
        CONVOLUTIONAL,
        [replace("target_pos_embed_weight", np.ones((99, 8), np.float32))],
        "target_pos_embed_weight is [99, 8] instead of [13, 8]",
    ),
    "other cells": (
        RECURRENT,
        [put("config_encoder.rnn_config.cell_type", "gru")],
        "encoder_birnn_forward_l0_h2h_weight has 4 gates, but the configuration says gru",
    ),
    "integers": (
        RECURRENT,
        [replace("decoder_rnn_hidden_bias", np.ones(12, np.int32))],
        "'decoder_rnn_hidden_bias' has numbers of type int32, not float",
    ),
    "not finite": (
        RECURRENT,
        [replace("decoder_rnn_hidden_bias", np.array([np.inf] * 12, np.float32))],
        "not all numbers of 'decoder_rnn_hidden_bias' are finite",
    ),
    "too large for float32": (
        RECURRENT,
        [replace("decoder_rnn_hidden_bias", np.full(12, 1e300))],
        "not all numbers of 'decoder_rnn_hidden_bias' are finite",
    ),
    "of two versions": (
        LATE,
        [add("target_embed_weight", 24, 8), add("%satt_s2t_weight", 12, 12)],
        "decoder_rnn_att_s2t_weight and %satt_s2t_weight are the same parameter in different versions",
    ),
    "tied embeddings that are not shared": (
        CONVOLUTIONAL,
        [put("weight_tying", True), put("weight_tying_type", "src_trg")],
        "source_target_embed_weight is missing, for the configuration ties the embeddings",
    ),
    "shared embeddings that are not tied": (
        CONVOLUTIONAL,
        [drop("source_embed_weight"), drop("target_embed_weight"), add("source_target_embed_weight", 34, 8)],
        "source_target_embed_weight is there, but the configuration ties no embeddings",
    ),
    "tied output layer with a weight": (
        CONVOLUTIONAL,
        [put("weight_tying", True), put("weight_tying_type", "trg_softmax")],
        "target_output_weight is there, but the configuration ties the output layer to the embedding",
    ),
    "scale without normalisation": (
        CONVOLUTIONAL,
        [add("encoder_cnn_0_conv_wn_scale", 20, 1, 1)],
        "'encoder_cnn_0_conv_wn_scale' is unknown",
    ),
    "normalisation without scale": (
        CONVOLUTIONAL,
        [put("weight_normalization", True)],
        "target_output_wn_scale is missing, for the configuration says that weights are normalised",
    ),
    "scale of another shape": (
        CONVOLUTIONAL,
        [put("weight_normalization", True), add("target_output_wn_scale", 5, 1)],
        "target_output_wn_scale fits no weight",
    ),
    "computed positions with a table": (
        CONVOLUTIONAL,
        [put("config_encoder.positional_embedding_type", "fixed")],
        "source_pos_embed_weight is there, but the configuration says positions are fixed",
    ),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters_that_do_not_fit_are_told(case, tmp_path):
    golden, changes, told = PARAMETERS[case]
    folder = Folder(golden)
    for change in changes:
        change(folder)
    message = refusal(folder, tmp_path)
    assert message.startswith("file params.best, parameters: ")
    assert f"{told}" in message
    assert message.endswith(f". {TOGETHER}")


def test_all_parameters_that_do_not_fit_are_told_at_once(tmp_path):
    folder = Folder(CONVOLUTIONAL)
    for case in ("missing output", "other shape", "positions", "one layer more"):
        for change in PARAMETERS[case][1]:
            change(folder)
    message = refusal(folder, tmp_path)
    for case in ("missing output", "other shape", "positions", "one layer more"):
        assert PARAMETERS[case][2] in message


def test_a_long_list_is_cut_short(tmp_path):
    folder = Folder(CONVOLUTIONAL)
    for number in range(100):
        add(f"more_{number}_weight", 1)(folder)
    message = refusal(folder, tmp_path)
    assert "; and 92 more. " in message
    assert len(message) < 1024


def test_huge_dimensions_of_the_configuration_cost_nothing(tmp_path):
    folder = Folder(CONVOLUTIONAL)
    put("config_embed_source.vocab_size", 2**31 - 1)(folder)
    put("config_encoder.num_layers", 100)(folder)
    for part in ("encoder", "decoder"):
        put(f"config_{part}.cnn_config.num_hidden", 65_536)(folder)
    message = refusal(folder, tmp_path)
    assert "source_embed_weight is [34, 8] instead of [2147483647, 8]" in message
