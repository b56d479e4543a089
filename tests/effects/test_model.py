"""Which model is built, by comparison with its formulas."""

import dataclasses

import pytest
import torch

from tests.effects.reference import Reference, Settings

SOURCES = [[4, 5, 6, 7, 8], [9], [5, 10, 11]]
TARGETS = [[4, 5, 6], [7, 8, 9, 4], [5]]

DEEP = {"num_layers_encoder": "3", "num_layers_decoder": "3"}
RESIDUAL = {"rnn_residual_connections": "true", "rnn_first_residual_layer": "2"}


@pytest.fixture
def build(jobs):
    """Builds the model of some hyperparameters, with weights and biases that make every part of it matter."""

    def build(raw):
        model = jobs.assemble(raw).job.model
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for weight in model.parameters():
                weight.uniform_(-0.8, 0.8, generator=generator)
        return model.eval()

    return build


@torch.no_grad()
def answers(model):
    """What the output layer sees in training, and the attention weights of a search, sentence by sentence."""
    found = []
    for source, target in zip(SOURCES, TARGETS, strict=True):
        ids, length, target_in = torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([[2, *target]])
        outputs = model(ids, length, target_in)[0]
        state, memory = model.decoder.start(model.encode(ids, length))
        attention = []
        for token in target_in[0]:
            _, state, weights = model.decoder.step(model.target_embedding(token[None]), state, memory)
            attention.append(weights[0])
        found.append((outputs, torch.stack(attention)))
    return found


def difference(model, settings):
    """The largest difference between a model and the formulas of some settings."""
    reference = Reference(model, settings)
    most = 0.0
    for source, target, ours in zip(SOURCES, TARGETS, answers(model), strict=True):
        for mine, expected in zip(ours, reference.answers(source, [2, *target]), strict=True):
            assert mine.shape == expected.shape
            most = max(most, (mine - expected).abs().max().item())
    return most


def assert_is(model, settings, *others):
    """The model follows the formulas of its settings, and those of no others."""
    assert difference(model, settings) < 1e-5
    for other in others:
        assert difference(model, other) > 1e-3


def shapes(model):
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def test_the_reference_is_sensitive_to_all_that_it_knows(build):
    # One setting at a time cannot be mistaken for another.
    settings = Settings(first_residual_layer=2)
    model = build(DEEP | RESIDUAL)
    assert_is(
        model,
        settings,
        dataclasses.replace(settings, state_init="avg"),
        dataclasses.replace(settings, first_residual_layer=3),
        dataclasses.replace(settings, first_residual_layer=None),
    )


@pytest.mark.effect_of("rnn_cell_type")
@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_the_cell_is_of_its_type_in_encoder_and_decoder(build, cell, gates):
    model = build({"rnn_cell_type": cell, "num_layers_encoder": "2", "num_layers_decoder": "2"})
    assert_is(model, Settings(cell=cell))
    assert shapes(model)["encoder.forward_layer.weight_ih_l0"][0] == gates * 8 / 2
    assert shapes(model)["encoder.upper_layers.0.weight_ih_l0"][0] == gates * 8
    assert shapes(model)["decoder.layers.1.weight_ih"][0] == gates * 8


@pytest.mark.effect_of("num_layers_encoder")
@pytest.mark.parametrize("depth", ["1", "2", "4"])
def test_the_encoder_has_so_many_layers_of_which_the_first_reads_both_ways(build, depth):
    model = build({"num_layers_encoder": depth})
    assert_is(model, Settings())
    recurrent = {name.rsplit(".", 1)[0] for name in shapes(model) if name.startswith("encoder.")}
    upper = {f"encoder.upper_layers.{number}" for number in range(int(depth) - 1)}
    assert recurrent == {"encoder.forward_layer", "encoder.backward_layer", *upper}


@pytest.mark.effect_of("num_layers_decoder")
@pytest.mark.parametrize("depth", ["1", "2", "4"])
def test_the_decoder_has_so_many_layers(build, depth):
    model = build({"num_layers_decoder": depth})
    assert_is(model, Settings())
    recurrent = {name.rsplit(".", 1)[0] for name in shapes(model) if name.startswith("decoder.layers.")}
    assert recurrent == {f"decoder.layers.{number}" for number in range(int(depth))}


@pytest.mark.effect_of("rnn_num_hidden")
@pytest.mark.parametrize("size", [2, 6, 10])
def test_hidden_states_are_so_wide(build, size):
    model = build({"rnn_num_hidden": str(size), "num_layers_encoder": "2", "num_layers_decoder": "2"})
    assert_is(model, Settings())
    encoded = model.encode(torch.tensor([[4, 5]]), torch.tensor([2]))
    assert encoded.states.shape == (1, 2, size)
    assert model.encoder.forward_layer.hidden_size == model.encoder.backward_layer.hidden_size == size // 2
    state, _ = model.decoder.start(encoded)
    assert [part.shape for layer in state.layers for part in layer] == [(1, size)] * 4
    assert shapes(model)["output_layer.weight"] == (10, size)


@pytest.mark.effect_of("num_embed_source", "num_embed_target")
def test_embeddings_are_so_wide(build):
    found = shapes(build({"num_embed_source": "3", "num_embed_target": "9"}))
    assert found["source_embedding.weight"] == (12, 3)
    assert found["target_embedding.weight"] == (10, 9)
    assert found["encoder.forward_layer.weight_ih_l0"] == found["encoder.backward_layer.weight_ih_l0"] == (16, 3)
    # Beside the embedding, layer 1 reads the last answer.
    assert found["decoder.layers.0.weight_ih"] == (32, 9 + 8)


@pytest.mark.effect_of("rnn_decoder_state_init")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("init", ["last", "avg", "zero"])
def test_the_decoder_starts_where_it_is_told_to(build, init, cell):
    model = build({"rnn_decoder_state_init": init, "rnn_cell_type": cell, "num_layers_decoder": "2"})
    wrong = [Settings(cell=cell, state_init=other) for other in {"last", "avg"} - {init} if init != "zero"]
    assert_is(model, Settings(cell=cell, state_init=init), *wrong)
    layers = {name.split(".")[2] for name in shapes(model) if name.startswith("decoder.state_layers.")}
    assert len(layers) == (0 if init == "zero" else 2 * {"lstm": 2, "gru": 1}[cell])


@pytest.mark.effect_of("rnn_attention_type")
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("mlp", {"source_layer.weight": (7, 8), "query_layer.weight": (7, 8), "score_layer.weight": (1, 7)}),
        ("dot", {"source_layer.weight": (7, 8), "query_layer.weight": (7, 8)}),
        ("bilinear", {"source_layer.weight": (8, 8)}),
        ("fixed", {}),
    ],
)
def test_attention_is_of_its_type(build, kind, parameters):
    model = build({"rnn_attention_type": kind})
    assert_is(model, Settings(attention=kind))
    prefix = "decoder.attention."
    assert {name.removeprefix(prefix): shape for name, shape in shapes(model).items() if prefix in name} == parameters


@pytest.mark.effect_of("rnn_attention_type")
@pytest.mark.parametrize("kind", ["mlp", "dot", "bilinear", "fixed"])
def test_all_attention_but_the_fixed_one_changes_with_what_was_said(build, kind):
    for _, attention in answers(build({"rnn_attention_type": kind})):
        torch.testing.assert_close(attention.sum(1), torch.ones(len(attention)))
        if attention.shape[1] > 1:
            assert torch.equal(attention[0], attention[1]) == (kind == "fixed")
        if kind == "fixed":
            assert attention[:, -1].eq(1).all()


@pytest.mark.effect_of("rnn_attention_num_hidden")
@pytest.mark.parametrize(("passed", "size"), [("3", 3), ("12", 12), ("8", 8), ("None", 8)])
def test_mlp_and_dot_attention_are_so_wide(build, passed, size):
    mlp = build({"rnn_attention_num_hidden": passed, "rnn_attention_type": "mlp"})
    assert shapes(mlp)["decoder.attention.source_layer.weight"] == (size, 8)
    assert shapes(mlp)["decoder.attention.query_layer.weight"] == (size, 8)
    assert_is(mlp, Settings(attention="mlp"))
    dot = build({"rnn_attention_num_hidden": passed, "rnn_attention_type": "dot"})
    # Where nothing needs to be made as wide as the attention, nothing is projected.
    assert ("decoder.attention.source_layer.weight" in shapes(dot)) == (size != 8)
    assert ("decoder.attention.query_layer.weight" in shapes(dot)) == (size != 8)
    assert_is(dot, Settings(attention="dot"))


@pytest.mark.effect_of("rnn_attention_num_hidden")
@pytest.mark.parametrize("kind", ["bilinear", "fixed"])
def test_other_attention_has_no_width_of_its_own(build, kind):
    small, large = (build({"rnn_attention_num_hidden": size, "rnn_attention_type": kind}) for size in ("3", "12"))
    assert shapes(small) == shapes(large)
    assert_is(small, Settings(attention=kind))


@pytest.mark.effect_of("rnn_attention_in_upper_layers")
@pytest.mark.parametrize("depth", [2, 3])
def test_attention_in_upper_layers_is_asked_by_layer_1_and_read_by_those_above(build, depth):
    raw = {"num_layers_decoder": str(depth)}
    fed, plain = (build(raw | {"rnn_attention_in_upper_layers": flag}) for flag in ("true", "false"))
    # The weights of layers that read the attention's answer have room for it, so one cannot pass for the other.
    assert_is(fed, Settings(attention_in_upper_layers=True))
    assert_is(plain, Settings(attention_in_upper_layers=False))
    for number in range(1, depth):
        assert shapes(fed)[f"decoder.layers.{number}.weight_ih"] == (32, 8 + 8)
        assert shapes(plain)[f"decoder.layers.{number}.weight_ih"] == (32, 8)


@pytest.mark.effect_of("rnn_attention_in_upper_layers")
def test_attention_in_upper_layers_makes_no_difference_to_one_layer(build):
    fed, plain = (build({"rnn_attention_in_upper_layers": flag}) for flag in ("true", "false"))
    assert shapes(fed) == shapes(plain)
    for ours, others in zip(answers(fed), answers(plain), strict=True):
        assert torch.equal(ours[0], others[0])


@pytest.mark.effect_of("rnn_residual_connections")
@pytest.mark.parametrize("upper", ["true", "false"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_residual_connections_add_the_input_of_upper_layers_to_their_output(build, upper, cell):
    raw = DEEP | {"rnn_attention_in_upper_layers": upper, "rnn_cell_type": cell}
    settings = Settings(cell=cell, attention_in_upper_layers=upper == "true")
    residual = dataclasses.replace(settings, first_residual_layer=2)
    assert_is(build(raw | {"rnn_residual_connections": "true"}), residual, settings)
    assert_is(build(raw | {"rnn_residual_connections": "false"}), settings, residual)


@pytest.mark.effect_of("rnn_first_residual_layer")
@pytest.mark.parametrize("first", [2, 3, 4])
@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_residual_connections_begin_at_their_first_layer(build, first, side):
    raw = RESIDUAL | {f"num_layers_{side}": "4", "rnn_first_residual_layer": str(first)}
    settings = [Settings(first_residual_layer=layer) for layer in (2, 3, 4)]
    right = settings.pop(first - 2)
    assert_is(build(raw), right, *settings)


@pytest.mark.effect_of("rnn_first_residual_layer")
def test_a_first_residual_layer_says_nothing_without_residual_connections(build):
    one, other = (build(DEEP | {"rnn_first_residual_layer": layer}) for layer in ("2", "3"))
    for ours, others in zip(answers(one), answers(other), strict=True):
        assert torch.equal(ours[0], others[0])


@pytest.mark.effect_of("rnn_first_residual_layer")
def test_a_first_residual_layer_above_all_layers_means_none(build):
    assert_is(build(DEEP | RESIDUAL | {"rnn_first_residual_layer": "4"}), Settings(), Settings(first_residual_layer=3))
