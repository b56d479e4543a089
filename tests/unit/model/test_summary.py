"""Counts by part, compared with formulas worked out by hand."""

import itertools

import pytest

from s2s_algo.checkpoints.tensors import save_tensors
from s2s_algo.hyperparameters import validate
from s2s_algo.model.memory import empty_model
from s2s_algo.model.summary import model_file_size, summarize
from s2s_algo.training.settings import model_config
from tests.unit.small_model import small_config, small_model

SOURCE_SIZE, TARGET_SIZE = 13, 11
SIZES = {
    "num_embed_source": "3",
    "num_embed_target": "5",
    "rnn_num_hidden": "8",
    "cnn_num_hidden": "7",
    "cnn_kernel_width_encoder": "5",
    "cnn_kernel_width_decoder": "2",
    "max_seq_len_source": "17",
    "max_seq_len_target": "18",
}


def built(**raw):
    """The number of parameters of each part of a model."""
    h = validate({**SIZES, **raw}).hyperparameters
    parts = summarize(empty_model(model_config(h, SOURCE_SIZE, TARGET_SIZE)))
    return {part.name: part.count for part in parts}


def cell(kind, inputs, units):
    return {"lstm": 4, "gru": 3}[kind] * units * (inputs + units + 2)


def stack(positions, embedding, width, layers, kernel, activation):
    outputs = width * (2 if activation == "glu" else 1)
    return positions * embedding + width * embedding + layers * outputs * (width * kernel + 1)


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_recurrent_encoder(kind, layers):
    expected = 2 * cell(kind, 3, 4) + (layers - 1) * cell(kind, 8, 8)
    assert built(rnn_cell_type=kind, num_layers_encoder=str(layers))["encoder"] == expected


@pytest.mark.parametrize(
    ("kind", "layers", "upper", "init", "encoder"),
    list(itertools.product(["lstm", "gru"], [1, 3], [True, False], ["last", "avg", "zero"], ["rnn", "cnn"])),
)
def test_recurrent_decoder(kind, layers, upper, init, encoder):
    source = {"rnn": 8, "cnn": 7}[encoder]
    states = {"lstm": 2, "gru": 1}[kind] * (init != "zero")
    expected = (
        cell(kind, 5 + 8, 8)
        + (layers - 1) * cell(kind, 8 + upper * source, 8)
        + 8 * (8 + source + 1)
        + layers * states * 8 * (source + 1)
    )
    found = built(
        rnn_cell_type=kind,
        num_layers_decoder=str(layers),
        rnn_attention_in_upper_layers=str(upper),
        rnn_decoder_state_init=init,
        encoder_type=encoder,
    )
    assert found["decoder"] == expected


@pytest.mark.parametrize(
    ("attention", "encoder", "width", "expected"),
    [
        ("mlp", "rnn", "6", 6 * (8 + 8 + 1)),
        ("mlp", "cnn", "6", 6 * (7 + 8 + 1)),
        ("dot", "rnn", "6", 6 * 8 + 6 * 8),
        ("dot", "rnn", "8", 0),
        ("dot", "cnn", "8", 8 * 7),
        ("dot", "cnn", "7", 7 * 8),
        ("bilinear", "cnn", "6", 8 * 7),
        ("fixed", "cnn", "6", 0),
    ],
)
def test_attention(attention, encoder, width, expected):
    found = built(rnn_attention_type=attention, encoder_type=encoder, rnn_attention_num_hidden=width)
    assert found["attention"] == expected


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("activation", ["glu", "relu", "softrelu", "sigmoid", "tanh"])
def test_convolutional_parts(activation, layers):
    common = {"encoder_type": "cnn", "decoder_type": "cnn", "cnn_activation_type": activation}
    found = built(**common, num_layers_encoder=str(layers), num_layers_decoder=str(layers + 1))
    assert found["encoder"] == stack(17, 3, 7, layers, 5, activation)
    assert found["decoder"] == stack(18 + 1, 5, 7, layers + 1, 2, activation)
    assert found["attention"] == 0


def test_a_projection_joins_an_encoder_and_a_convolutional_decoder_of_different_widths():
    assert built(decoder_type="cnn")["decoder"] == stack(19, 5, 7, 1, 2, "glu") + 7 * 8
    assert built(decoder_type="cnn", cnn_num_hidden="8")["decoder"] == stack(19, 5, 8, 1, 2, "glu")


@pytest.mark.parametrize(("decoder", "width"), [("rnn", 8), ("cnn", 7)])
def test_embeddings_and_output_layer(decoder, width):
    found = built(decoder_type=decoder)
    assert found["source embedding"] == SOURCE_SIZE * 3
    assert found["target embedding"] == TARGET_SIZE * 5
    assert found["output layer"] == TARGET_SIZE * (width + 1)


def test_every_parameter_is_in_one_part_with_its_own_name_and_shape():
    model = small_model(small_config(encoder_layers=2, decoder_layers=3))
    found = [parameter for part in summarize(model) for parameter in part.parameters]
    assert {parameter.name: parameter.shape for parameter in found} == {
        name: tuple(parameter.shape) for name, parameter in model.named_parameters()
    }
    assert len(found) == len(list(model.parameters()))


def test_layers_are_named_as_in_the_code():
    parts = {part.name: part for part in summarize(small_model(small_config(decoder_layers=2)))}
    assert [(p.layer, p.name) for p in parts["output layer"].parameters] == [
        ("", "output_layer.weight"),
        ("", "output_layer.bias"),
    ]
    assert {p.layer for p in parts["decoder"].parameters} >= {"layers.0", "layers.1", "hidden_layer", "state_layers.0"}
    assert {p.layer for p in parts["attention"].parameters} == {"source_layer", "query_layer", "score_layer"}


@pytest.mark.parametrize("layers", [1, 2, 12])
def test_the_size_of_the_file_is_known_to_the_byte(tmp_path, layers):
    model = small_model(small_config(encoder_layers=layers, decoder_layers=layers))
    save_tensors(dict(model.named_parameters()), tmp_path / "model.safetensors")
    assert model_file_size(summarize(model)) == (tmp_path / "model.safetensors").stat().st_size
