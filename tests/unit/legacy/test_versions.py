"""Folders of all versions: the same weights under other names give the same model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.legacy.importer import import_model
from s2s_algo.legacy.sockeye_version import determine_version
from tests.unit.legacy.writers import MODELS, Folder, golden_copy, params_bytes

NAMES = sorted(folder.name for folder in MODELS.iterdir())


@torch.inference_mode()
def logits(artifact: Artifact, longest: int = 5) -> torch.Tensor:
    """What the model says to fixed sentences of tokens that every model has."""
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(4, 20, (3, longest), generator=generator)
    target = torch.randint(4, 20, (3, longest), generator=generator)
    model = artifact.model
    return model.output_layer(model(source, torch.tensor([longest, 3, 1]), target))


def shape(artifact: Artifact) -> dict[str, Any]:
    """The configuration without what has no effect."""
    config = artifact.model.config.model_dump()
    for part in (config["encoder"], config["decoder"]):
        if not part.get("residual"):
            part.pop("first_residual_layer", None)
    return config


def same(one: Artifact, other: Artifact) -> None:
    assert shape(one) == shape(other)
    for (name, ours), (other_name, theirs) in zip(
        one.model.state_dict().items(), other.model.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(logits(one), logits(other))


def close(one: Artifact, other: Artifact) -> None:
    torch.testing.assert_close(logits(one), logits(other), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_folder_is_imported_with_its_version(name, tmp_path):
    artifact = import_model(golden_copy(name, tmp_path / "model"))
    assert artifact.training == {
        "imported_from": f"Sockeye {(MODELS / name / 'version').read_text()}",
        "parameters": "params.best",
    }
    assert not artifact.model.training
    assert all(parameter.dtype == torch.float32 for parameter in artifact.model.parameters())
    assert not any(parameter.is_meta for parameter in artifact.model.parameters())


@pytest.mark.parametrize("params_format", ["V0", "V1", "V2"])
def test_every_format_of_parameter_files_is_read(params_format, tmp_path):
    folder = Folder("rnn_rnn_lstm_mlp_1.10.5")
    folder.params_format = params_format
    same(import_model(folder.write(tmp_path / "model")), import_model(folder.golden))


@pytest.mark.parametrize(
    "name", ["rnn_rnn_lstm_mlp_1.10.5", "rnn_rnn_gru_bilinear_avg_1.10.5", "rnn_rnn_lstm_fixed_1.10.5"]
)
def test_the_decoder_prefix_until_1_7_is_known(name, tmp_path):
    folder = Folder(name)
    folder.rename("^decoder_rnn_", "decoder_")
    folder.version = "1.7.1"
    for key in [key for key in folder.config["config_data"] if key.startswith("max_observed")]:
        del folder.config["config_data"][key]
    folder.config["config_loss"].pop("normalization_type")
    imported = import_model(folder.write(tmp_path / "model"))
    same(imported, import_model(folder.golden))
    assert imported.training["imported_from"] == "Sockeye 1.7.1"


def test_sections_of_1_2(tmp_path):
    folder = Folder("rnn_rnn_lstm_mlp_1.10.5")
    folder.config["config_loss"].pop("normalization_type")
    folder.to_sections_of_1_2()
    imported = import_model(folder.write(tmp_path / "model"))
    same(imported, import_model(folder.golden))
    # Ratios were not measured yet.
    assert (imported.inference.limits.ratio_mean, imported.inference.limits.ratio_std) == (2.0, 0.0)
    assert imported.inference.limits.max_input_length == folder.config["max_seq_len_source"]


@pytest.mark.parametrize("has_version", [True, False])
def test_sections_of_1_1_even_without_version(has_version, tmp_path):
    folder = Folder("rnn_rnn_lstm_mlp_1.10.5")
    folder.config["config_loss"].pop("normalization_type")
    folder.to_sections_of_1_1()
    if not has_version:
        folder.version = None
    imported = import_model(folder.write(tmp_path / "model"))
    same(imported, import_model(folder.golden))
    assert imported.training["imported_from"] == ("Sockeye 1.1.0" if has_version else "Sockeye 1.1.0 or so")


def test_1_1_may_share_the_description_of_cells(tmp_path):
    folder = Folder("rnn_rnn_lstm_mlp_1.10.5")
    folder.config["config_loss"].pop("normalization_type")
    folder.to_sections_of_1_1()
    text = folder.config_text()
    cells = text[text.index("  rnn_config: !RNNConfig") : text.index("  vocab_size:")]
    assert text.count(cells) == 2
    text = text.replace(cells, cells.replace("rnn_config: !", "rnn_config: &id001 !"), 1)
    first_end = text.index("&id001") + len(cells)
    text = text[:first_end] + text[first_end:].replace(cells, "  rnn_config: *id001\n")
    path = folder.write(tmp_path / "model")
    (path / "config").write_text(text)
    same(import_model(path), import_model(folder.golden))


def test_1_4_leaves_one_class_to_python(tmp_path):
    folder = Folder("rnn_rnn_lstm_mlp_1.10.5")
    folder.config["config_loss"].pop("normalization_type")
    folder.to_sections_of_1_2()
    folder.version = "1.4.1"
    path = folder.write(tmp_path / "model")
    text = (path / "config").read_text()
    (path / "config").write_text(
        text.replace("!RecurrentEncoderConfig", "!!python/object:sockeye.encoder.RecurrentEncoderConfig")
    )
    same(import_model(path), import_model(folder.golden))


@pytest.mark.parametrize("name", ["rnn_rnn_lstm_mlp_1.10.5", "rnn_rnn_lstm_mlp_long_1.10.5"])
def test_the_flat_configuration_of_1_0(name, tmp_path):
    folder = Folder(name)
    folder.to_flat_1_0()
    imported = import_model(folder.write(tmp_path / "model"))
    golden = import_model(folder.golden)
    # 1.0 knew no average and no zero states, and its residual connections began in layer 3 of the encoder.
    assert imported.model.config.encoder.first_residual_layer == 3
    assert imported.model.config.decoder.first_residual_layer == 2
    torch.testing.assert_close(logits(imported), logits(golden))
    assert imported.training["imported_from"] == "Sockeye 1.0.3"
    assert imported.inference.limits.max_input_length == folder.config["max_seq_len"]


def test_1_0_has_a_bilinear_weight_whose_name_was_never_filled_in(tmp_path):
    folder = Folder("rnn_rnn_gru_bilinear_avg_1.10.5")
    folder.to_flat_1_0()
    folder.rename("^att_s2t", "%satt_s2t")
    assert "%satt_s2t_weight" in folder.arrays
    imported, golden = import_model(folder.write(tmp_path / "model")), import_model(folder.golden)
    assert torch.equal(
        imported.model.decoder.attention.source_layer.weight, golden.model.decoder.attention.source_layer.weight
    )


def test_1_0_ties_the_output_layer_to_the_target_embedding(tmp_path):
    folder = Folder("rnn_rnn_lstm_mlp_1.10.5")
    _widen_target(folder, 12, "decoder_rnn_l0_i2h_{}_weight", "ifco")
    folder.to_flat_1_0()
    folder.config["num_embed_target"] = 12
    embedding = folder.arrays["target_embed_weight"]
    folder.arrays["decoder_cls_weight"] = embedding
    explicit = import_model(folder.write(tmp_path / "explicit"))
    folder.config["weight_tying"] = True
    del folder.arrays["decoder_cls_weight"]
    same(import_model(folder.write(tmp_path / "tied")), explicit)


def _widen_target(folder: Folder, size: int, first_layer: str, gates: str) -> None:
    """Gives the target embedding of a recurrent model another size."""
    generator = np.random.default_rng(2)
    old = folder.arrays["target_embed_weight"]
    folder.arrays["target_embed_weight"] = generator.normal(size=(len(old), size)).astype(np.float32)
    for gate in gates:
        name = first_layer.format(gate)
        weight = folder.arrays[name]
        columns = generator.normal(size=(len(weight), size - old.shape[1])).astype(np.float32)
        folder.arrays[name] = np.concatenate([columns, weight], axis=1)


def test_gates_are_stacked_in_the_order_of_the_cells(tmp_path):
    for name, gates in (("rnn_rnn_gru_3layer_encoder_1.10.5", "rzo"), ("rnn_rnn_lstm_dot_zero_1.10.5", "ifco")):
        folder = Folder(name)
        per_gate = import_model(folder.golden)
        folder.stack(gates)
        # The first commit of 1.13.0 stacked gates, but still knew the embeddings by their parts.
        folder.rename(r"^decoder_rnn_cls_", "target_output_")
        folder.version = "1.13.0"
        same(import_model(folder.write(tmp_path / name)), per_gate)


def test_1_13_0_also_has_one_matrix_per_gate(tmp_path):
    folder = Folder("rnn_rnn_lstm_residual_upper_1.13.0")
    packed = import_model(folder.golden)
    folder.unstack("ifco")
    imported = import_model(folder.write(tmp_path / "model"))
    same(imported, packed)
    assert imported.model.config.decoder.feeds_upper_layers


def test_the_attention_prefix_since_1_18(tmp_path):
    folder = Folder("rnn_rnn_lstm_upper_1.18.1")
    folder.rename("^decoder_rnn_att_", "att_")
    folder.version = "1.17.5"
    folder.vocabulary_names = {"src": "vocab.src.0.json", "trg": "vocab.trg.json"}
    same(import_model(folder.write(tmp_path / "model")), import_model(folder.golden))


@pytest.mark.parametrize(("flag", "version"), [(True, "1.12.2"), (False, "1.12.2"), (True, "1.10.5")])
def test_shapes_say_whether_the_attention_feeds_the_upper_layers(flag, version, tmp_path):
    folder = Folder("rnn_rnn_lstm_upperflag_noop_1.10.5")
    folder.version = version
    folder.config["config_decoder"]["attention_in_upper_layers"] = flag
    imported = import_model(folder.write(tmp_path / "model"))
    assert not imported.model.config.decoder.feeds_upper_layers
    same(imported, import_model(folder.golden))


@pytest.mark.parametrize(
    ("version", "key", "state_init"),
    [
        ("1.5.1", {"zero_state_init": True}, "zero"),
        ("1.5.1", {"zero_state_init": False}, "last"),
        ("1.4.1", {}, "last"),
    ],
)
def test_the_initial_state_has_the_words_of_its_version(version, key, state_init, tmp_path):
    folder = Folder("rnn_rnn_lstm_mlp_1.10.5")
    folder.config["config_loss"].pop("normalization_type")
    folder.to_sections_of_1_2()
    folder.version = version
    folder.config["config_decoder"].update(key)
    if state_init == "zero":
        folder.arrays = {name: array for name, array in folder.arrays.items() if "enc2decinit" not in name}
    imported = import_model(folder.write(tmp_path / "model"))
    assert imported.model.config.decoder.state_init == state_init


@pytest.mark.parametrize(
    ("version", "dropout", "cancels"),
    [("1.8.1", 0.1, True), ("1.8.2", 0.1, False), ("1.8.1", 0.0, False), ("1.4.1", 0.1, True), ("1.2.1", 0.1, False)],
)
def test_dropout_of_states_cancelled_the_states_of_encoders_from_1_4_to_1_8_1(version, dropout, cancels, tmp_path):
    folder = Folder("rnn_rnn_lstm_mlp_1.8.3")
    if version < "1.6":
        folder.to_sections_of_1_2()
        folder.config["config_encoder"]["rnn_config"]["dropout"] = dropout
    else:
        folder.config["config_encoder"]["rnn_config"]["dropout_states"] = dropout
    folder.version = version
    imported, golden = import_model(folder.write(tmp_path / "model")), import_model(folder.golden)
    for (name, ours), theirs in zip(
        imported.model.state_dict().items(), golden.model.state_dict().values(), strict=True
    ):
        is_recurrent = name.startswith("encoder.") and ".weight_hh" in name
        assert torch.equal(ours, torch.zeros_like(theirs) if cancels and is_recurrent else theirs), name


def test_dropout_of_states_cannot_be_imported_with_gru_encoders_of_these_versions(tmp_path):
    folder = Folder("rnn_rnn_gru_bilinear_avg_1.10.5")
    folder.config["config_encoder"]["rnn_config"]["dropout_states"] = 0.5
    same(import_model(folder.write(tmp_path / "later")), import_model(folder.golden))
    folder.version = "1.8.1"
    folder.config["config_loss"].pop("normalization_type")
    with pytest.raises(ClientError) as caught:
        import_model(folder.write(tmp_path / "model"))
    assert (
        "dropout of the states of GRU encoders as 1.4 to 1.8.1 computed it (config_encoder.rnn_config)."
        in caught.value.message
    )


def test_auxiliary_arrays_and_predictors_of_lengths_change_nothing(tmp_path):
    folder = Folder("rnn_rnn_lstm_bilinear_1.18.106")
    golden = import_model(folder.golden)
    folder.config["config_length_task"] = {"num_layers": 1, "weight": 1.0}
    folder.arrays["length_ratio_layer_dense0_weight"] = np.ones((1, 12), np.float32)
    folder.arrays["length_ratio_layer_dense0_bias"] = np.ones(1, np.float32)
    path = folder.write(tmp_path / "model")
    (path / "params.best").write_bytes(params_bytes(folder.arrays, aux={"mean": np.zeros(3, np.float32)}))
    same(import_model(path), golden)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_float32(dtype, tmp_path):
    folder = Folder("cnn_cnn_tanh_1.10.5")
    golden = import_model(folder.golden)
    folder.arrays = {name: array.astype(dtype) for name, array in folder.arrays.items()}
    imported = import_model(folder.write(tmp_path / "model"))
    assert {parameter.dtype for parameter in imported.model.parameters()} == {torch.float32}
    torch.testing.assert_close(logits(imported), logits(golden), rtol=0.02, atol=0.05)
    if dtype is np.float64:
        same(imported, golden)


# Positions


def sinusoids(length: int, size: int) -> np.ndarray:
    table = np.zeros((length, size))
    for position in range(length):
        for channel in range(size // 2):
            angle = position / 10_000 ** (2 * channel / size)
            table[position, channel], table[position, size // 2 + channel] = np.sin(angle), np.cos(angle)
    return table


@pytest.mark.parametrize(
    ("name", "version", "scale"),
    [
        ("cnn_cnn_glu_1.8.3", "1.8.3", 1.0),
        ("cnn_cnn_relu_1.13.0", "1.13.2", 1.0),
        ("cnn_cnn_relu_1.13.0", "1.14.0", None),
        ("cnn_cnn_glu_1.18.28", "1.18.28", None),
    ],
)
def test_computed_positions_become_a_table_scaled_since_1_14(name, version, scale, tmp_path):
    folder = Folder(name)
    folder.version = version
    for part in ("config_encoder", "config_decoder"):
        folder.config[part]["positional_embedding_type"] = "fixed"
    for side in ("source", "target"):
        del folder.arrays[f"{side}_pos_embed_weight"]
    imported = import_model(folder.write(tmp_path / "model"))
    config, limits = imported.model.config, imported.inference.limits
    for part, embedding in (
        (imported.model.encoder, config.source_embedding),
        (imported.model.decoder, config.target_embedding),
    ):
        table = part.positions.weight.detach().numpy()
        expected = sinusoids(len(table), embedding.size) * (embedding.size**-0.5 if scale is None else scale)
        np.testing.assert_allclose(table, expected, atol=1e-6)
    # Nothing but training limits the source, and nothing but the ratio the target.
    data = folder.config["config_data"]
    observed = data.get("data_statistics", {}).get("max_observed_len_source") or data["max_observed_source_seq_len"]
    assert len(imported.model.encoder.positions.weight) == limits.max_input_length == observed
    assert len(imported.model.decoder.positions.weight) == limits.output_limit(limits.max_input_length)
    translator = Translator.from_artifact(imported, torch.device("cpu"))
    source = list(range(4, 4 + observed - imported.inference.source_eos))
    assert translator.translate([source], replace(translator.options, beam_size=2))[0].tokens is not None


def test_no_positions_are_a_table_of_zeros(tmp_path):
    folder = Folder("cnn_cnn_glu_1.10.5")
    folder.config["config_encoder"]["positional_embedding_type"] = "none"
    del folder.arrays["source_pos_embed_weight"]
    imported = import_model(folder.write(tmp_path / "model"))
    assert not imported.model.encoder.positions.weight.any()
    assert imported.model.decoder.positions.weight.any()


# Shared matrices


def _convolutional_with_wide_target(**sizes: int) -> Folder:
    """A convolutional model whose target embedding is as wide as its output."""
    folder = Folder("cnn_cnn_glu_1.8.3")
    generator = np.random.default_rng(3)
    for name, shape in {
        "target_embed_weight": (32, 10),
        "target_pos_embed_weight": (12, 10),
        "decoder_cnn_i2h_weight": (10, 10),
        "decoder_cnn_cls_weight": (32, 10),
    }.items():
        folder.arrays[name] = generator.normal(size=shape, scale=0.3).astype(np.float32)
    folder.config["config_decoder"]["num_embed"] = 10
    return folder


def test_a_tied_output_layer_is_a_copy_of_the_target_embedding(tmp_path):
    folder = _convolutional_with_wide_target()
    folder.arrays["decoder_cnn_cls_weight"] = folder.arrays["target_embed_weight"]
    explicit = import_model(folder.write(tmp_path / "explicit"))
    del folder.arrays["decoder_cnn_cls_weight"]
    folder.config["weight_tying"], folder.config["weight_tying_type"] = True, "trg_softmax"
    folder.config["config_decoder"]["weight_tying"] = True
    tied = import_model(folder.write(tmp_path / "tied"))
    same(tied, explicit)
    assert tied.model.output_layer.weight.data_ptr() != tied.model.target_embedding.weight.data_ptr()


def test_tied_embeddings_are_two_copies(tmp_path):
    folder = Folder("cnn_cnn_relu_1.13.0")
    generator = np.random.default_rng(4)
    shared = generator.normal(size=(44, 10)).astype(np.float32)
    folder.arrays |= {
        "source_embed_weight": shared,
        "target_embed_weight": shared,
        "target_pos_embed_weight": generator.normal(size=(18, 10)).astype(np.float32),
        "decoder_cnn_i2h_weight": generator.normal(size=(12, 10)).astype(np.float32),
        "target_output_weight": generator.normal(size=(44, 12)).astype(np.float32),
        "target_output_bias": generator.normal(size=44).astype(np.float32),
    }
    folder.config["config_decoder"]["num_embed"] = 10
    folder.config["config_embed_target"].update(num_embed=10, vocab_size=44)
    folder.vocabularies["trg"] = folder.vocabularies["src"]
    explicit = import_model(folder.write(tmp_path / "explicit"))
    folder.arrays["source_target_embed_weight"] = shared
    del folder.arrays["source_embed_weight"], folder.arrays["target_embed_weight"]
    folder.config["weight_tying"], folder.config["weight_tying_type"] = True, "src_trg"
    same(import_model(folder.write(tmp_path / "tied")), explicit)


def test_all_three_matrices_can_be_one(tmp_path):
    folder = Folder("cnn_cnn_relu_1.13.0")
    generator = np.random.default_rng(5)
    shared = generator.normal(size=(44, 12), scale=0.3).astype(np.float32)
    folder.arrays |= {
        "source_target_embed_weight": shared,
        "source_pos_embed_weight": generator.normal(size=(14, 12)).astype(np.float32),
        "target_pos_embed_weight": generator.normal(size=(18, 12)).astype(np.float32),
        "encoder_cnn_i2h_weight": generator.normal(size=(12, 12)).astype(np.float32),
        "decoder_cnn_i2h_weight": generator.normal(size=(12, 12)).astype(np.float32),
        "target_output_bias": generator.normal(size=44).astype(np.float32),
    }
    for name in ("source_embed_weight", "target_embed_weight", "target_output_weight"):
        del folder.arrays[name]
    for part in ("config_encoder", "config_decoder"):
        folder.config[part]["num_embed"] = 12
    for side in ("source", "target"):
        folder.config[f"config_embed_{side}"].update(num_embed=12, vocab_size=44)
    folder.vocabularies["trg"] = folder.vocabularies["src"]
    folder.config["weight_tying"], folder.config["weight_tying_type"] = True, "src_trg_softmax"
    model = import_model(folder.write(tmp_path / "model")).model
    for parameter in (model.source_embedding.weight, model.target_embedding.weight, model.output_layer.weight):
        assert torch.equal(parameter, torch.tensor(shared))


# Normalised weights


def normalized(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    rows = rows / np.sqrt((rows**2).sum(1, keepdims=True) + 1e-10) * scale.reshape(-1, 1)
    return rows.reshape(weight.shape).astype(np.float32)


@pytest.mark.parametrize("name", ["cnn_cnn_glu_1.10.5", "cnn_cnn_relu_1.13.0"])
def test_scales_of_normalised_weights_are_folded_in(name, tmp_path):
    folder = Folder(name)
    generator = np.random.default_rng(6)
    for part in ("config_encoder", "config_decoder"):
        folder.config[part]["cnn_config"]["weight_normalization"] = True
    # Until 1.12 the decoder's own key told about its output layer.
    (folder.config["config_decoder"] if "1.10" in name else folder.config)["weight_normalization"] = True
    folded = Folder(name)
    scales = {}
    for weight_name in folder.arrays:
        if weight_name.endswith(("conv_weight", "cls_weight", "output_weight")):
            weight = folder.arrays[weight_name]
            scale = generator.uniform(0.5, 2, size=(len(weight),) + (1,) * (weight.ndim - 1)).astype(np.float32)
            scales[weight_name.removesuffix("weight") + "wn_scale"] = scale
            folded.arrays[weight_name] = normalized(weight, scale)
    assert len(scales) > 3
    folder.arrays |= scales
    close(import_model(folder.write(tmp_path / "model")), import_model(folded.write(tmp_path / "folded")))


def test_a_tied_output_layer_may_be_normalised_but_its_embedding_is_not(tmp_path):
    folder = _convolutional_with_wide_target()
    folder.version = "1.10.5"
    folder.config["config_decoder"]["weight_normalization"] = True
    embedding = folder.arrays["target_embed_weight"]
    scale = np.linspace(0.5, 2, 32, dtype=np.float32)[:, None]
    folder.arrays["decoder_cnn_cls_wn_scale"] = scale
    explicit_weight = normalized(embedding, scale)
    del folder.arrays["decoder_cnn_cls_weight"]
    folder.config["weight_tying"], folder.config["weight_tying_type"] = True, "trg_softmax"
    folder.config["config_decoder"]["weight_tying"] = True
    model = import_model(folder.write(tmp_path / "model")).model
    np.testing.assert_allclose(model.output_layer.weight.detach().numpy(), explicit_weight, rtol=1e-6)
    assert torch.equal(model.target_embedding.weight, torch.tensor(embedding))


def test_until_1_9_a_tied_output_layer_was_not_normalised(tmp_path):
    folder = _convolutional_with_wide_target()
    folder.config["config_decoder"]["weight_normalization"] = True
    folder.config["weight_tying"], folder.config["weight_tying_type"] = True, "trg_softmax"
    folder.config["config_decoder"]["weight_tying"] = True
    del folder.arrays["decoder_cnn_cls_weight"]
    model = import_model(folder.write(tmp_path / "model")).model
    assert torch.equal(model.output_layer.weight, model.target_embedding.weight)


# Versions


def version_error(text: str | None, config: object, names: list[str]) -> str:
    with pytest.raises(ClientError) as caught:
        determine_version(text, config, names)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.10.5", (1, 10, 5)), ("1.18.106\n", (1, 18, 106)), ("1.9", (1, 9, 0)), (" 1.0.0 ", (1, 0, 0))],
)
def test_versions_are_read(text, numbers):
    assert determine_version(text, {}, []).numbers == numbers


@pytest.mark.parametrize(
    "text", ["", "one", "1", "1.2.3.4", "-1.2.3", "1." + "9" * 50, "1.10.5rc1", "\u0661.\u0662.\u0663"]
)
def test_what_is_no_version_is_refused(text):
    assert version_error(text, {}, []).endswith("is not a version; it must be one such as 1.10.5")


@pytest.mark.parametrize("text", ["2.0.0", "2.3.24", "3.1.10", "0.9.0", "1.19.0"])
def test_other_releases_are_refused(text):
    assert version_error(text, {}, []) == (
        f"file version: the model is of Sockeye {text}; only models of 1.0 to 1.18 can be imported, for 2 and 3 have "
        "neither recurrent nor convolutional models. Train one with s2s."
    )


@pytest.mark.parametrize(
    ("text", "config", "names", "numbers"),
    [
        ("1.10.5", {"config_encoder": {}}, ["decoder_rnn_l0_i2h_weight"], (1, 13, 0)),
        ("1.18.106", {"config_encoder": {}}, ["decoder_rnn_l0_i2h_i_weight"], (1, 13, 0)),
        ("1.18.3", {"config_encoder": {}, "config_data": {"source_with_eos": True}}, [], (1, 18, 12)),
    ],
)
def test_what_a_folder_shows_counts_for_more_than_the_version_it_says(text, config, names, numbers):
    found = determine_version(text, config, names)
    assert (found.numbers, found.is_certain) == (numbers, False)


def test_the_log_tells_of_a_version_that_contradicts_the_folder(caplog):
    names = ["decoder_rnn_l0_i2h_weight", "target_output_weight"]
    assert str(determine_version("1.10.5", {"config_encoder": {}}, names)) == "Sockeye 1.13.0 or so"
    assert caplog.messages == [
        "The file version says 1.10.5, but the folder has gates in one matrix of 1.13.0 and later; parameters "
        "target_output_* of 1.13.0 and later: it is taken for one of 1.13.0"
    ]


@pytest.mark.parametrize(
    ("config", "names", "text"),
    [
        ({"config_encoder": {}}, [], "Sockeye 1.1.0 or so"),
        ({"rnn_num_layers": 1}, [], "Sockeye 1.0.3"),
        ({"config_encoder": {}}, ["target_output_weight"], "Sockeye 1.13.0 or so"),
        ({"config_encoder": {}, "config_data": {"source_with_eos": True}}, [], "Sockeye 1.18.12 or so"),
        ({"config_encoder": {}}, ["decoder_rnn_att_e2h_weight"], "Sockeye 1.18.0 or so"),
    ],
)
def test_without_version_the_oldest_that_shows_the_same_is_taken(config, names, text):
    assert str(determine_version(None, config, names)) == text


@pytest.mark.parametrize("text", [None, "1.10.5"])
def test_signs_of_different_versions_are_refused(text):
    assert version_error(text, {"config_encoder": {}}, ["target_output_bias", "decoder_l0_i2h_i_weight"]) == (
        "the folder has signs of different versions: parameters decoder_* of 1.8.0 and earlier; parameters "
        "target_output_* of 1.13.0 and later. Keep the files of one training job together."
    )
