"""Convolutional models: which are built, by comparison with their formulas, and what they learn."""

import math

import numpy as np
import pytest
import torch

from s2s_algo.checkpoints.artifact import load_artifact, save_artifact
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import validate
from s2s_algo.model.initialization import is_weight
from tests.effects.reference import Reference, Settings
from tests.plain_convolution import ACTIVATIONS, PlainConvolution
from tests.tiny_job import copies, differing, draw_pairs, train_job, weights_of

SOURCES = [[4, 5, 6, 7, 8], [9], [5, 10, 11]]
TARGETS = [[4, 5, 6], [7, 8, 9, 4], [5]]

# All sizes differ from one another and from those of every tiny job.
CNN = {
    "encoder_type": "cnn",
    "decoder_type": "cnn",
    "cnn_num_hidden": "9",
    "cnn_kernel_width_encoder": "3",
    "cnn_kernel_width_decoder": "2",
    "max_seq_len_source": "14",
    "max_seq_len_target": "13",
}
MIXES = [("rnn", "rnn"), ("cnn", "rnn"), ("rnn", "cnn"), ("cnn", "cnn")]

OTHERS = {
    "cnn_kernel_width_encoder": "5",
    "cnn_kernel_width_decoder": "4",
    "cnn_num_hidden": "7",
    "cnn_activation_type": "softrelu",
    "cnn_hidden_dropout": "0.25",
}


@pytest.fixture
def build(jobs):
    """Builds the model of some hyperparameters, with weights and biases that make every part of it matter."""

    def build(raw):
        model = jobs.assemble(raw).job.model.double()
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for weight in model.parameters():
                weight.uniform_(-0.5, 0.5, generator=generator)
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
        found.append((outputs.numpy(), torch.stack(attention).numpy()))
    return found


def expected_answers(model, encoder, decoder, activation):
    """The same by the formulas."""
    plain = PlainConvolution(model, activation)
    found = []
    for source, target in zip(SOURCES, TARGETS, strict=True):
        recurrent = Reference(model, Settings())
        encoded = plain.encode(source) if encoder == "cnn" else recurrent.encode(source).numpy()
        if decoder == "cnn":
            found.append(plain.decode(encoded, [2, *target]))
        else:
            recurrent.encode = lambda _, encoded=encoded: torch.from_numpy(encoded)
            found.append(tuple(tensor.numpy() for tensor in recurrent.answers(source, [2, *target])))
    return found


def difference(model, encoder="cnn", decoder="cnn", activation="glu"):
    """The largest difference between a model and the formulas of some settings."""
    most = 0.0
    pairs = zip(answers(model), expected_answers(model, encoder, decoder, activation), strict=True)
    for ours, theirs in pairs:
        for mine, expected in zip(ours, theirs, strict=True):
            assert mine.shape == expected.shape
            most = max(most, np.abs(mine - expected).max())
    return most


def shapes(model):
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def stored(assembled, folder):
    """The hyperparameters in an artifact on disk."""
    save_artifact(assembled.artifact(), folder)
    return load_artifact(folder).training["hyperparameters"]


# Which model is built


@pytest.mark.effect_of("encoder_type", "decoder_type")
@pytest.mark.parametrize(("encoder", "decoder"), MIXES)
def test_encoder_and_decoder_are_each_of_their_type(build, encoder, decoder):
    model = build(CNN | {"encoder_type": encoder, "decoder_type": decoder})
    assert (model.config.encoder.type, model.config.decoder.type) == (encoder, decoder)
    assert difference(model, encoder, decoder) < 1e-9


@pytest.mark.effect_of("encoder_type", "decoder_type")
def test_recurrent_parts_are_what_is_built_without_a_word(jobs, tmp_path):
    passed = jobs.train({"encoder_type": "rnn", "decoder_type": "rnn"})
    assert differing(weights_of(passed), weights_of(jobs.train({}))) == []
    values = stored(passed, tmp_path / "model")
    assert (values["encoder_type"], values["decoder_type"]) == ("rnn", "rnn")
    assert passed.artifact().model.config.encoder.type == "rnn"
    assert passed.artifact().model.config.decoder.type == "rnn"


@pytest.mark.effect_of("cnn_activation_type")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("encoder", "decoder"), MIXES[1:])
def test_the_activation_is_of_its_type_in_encoder_and_decoder(build, activation, encoder, decoder):
    model = build(CNN | {"cnn_activation_type": activation, "encoder_type": encoder, "decoder_type": decoder})
    assert difference(model, encoder, decoder, activation) < 1e-9
    if activation != "glu":
        for other in {*ACTIVATIONS} - {activation, "glu"}:
            assert difference(model, encoder, decoder, other) > 1e-3
    outputs = 18 if activation == "glu" else 9
    kernels = {shape[:2] for name, shape in shapes(model).items() if "convolutions" in name and len(shape) == 3}
    assert kernels == {(outputs, 9)}


@pytest.mark.effect_of("cnn_num_hidden")
@pytest.mark.parametrize("size", [1, 2, 6, 11])
def test_states_are_so_wide(build, size):
    model = build(CNN | {"cnn_num_hidden": str(size)})
    assert difference(model) < 1e-9
    encoded = model.encode(torch.tensor([[4, 5]]), torch.tensor([2]))
    assert encoded.states.shape == (1, 2, size)
    assert model(torch.tensor([[4, 5]]), torch.tensor([2]), torch.tensor([[2, 4, 5]])).shape == (1, 3, size)
    found = shapes(model)
    assert found["encoder.convolutions.0.weight"] == (2 * size, size, 3)
    assert found["decoder.convolutions.0.weight"] == (2 * size, size, 2)
    assert found["output_layer.weight"] == (10, size)
    assert not any("source_layer" in name for name in found)


@pytest.mark.effect_of("num_embed_source", "num_embed_target")
def test_embeddings_and_positions_are_so_wide(build):
    model = build(CNN | {"num_embed_source": "3", "num_embed_target": "11"})
    assert difference(model) < 1e-9
    found = shapes(model)
    assert found["encoder.positions.weight"] == (14, 3)
    assert found["decoder.positions.weight"] == (13 + 1, 11)
    assert found["encoder.input_layer.weight"] == (9, 3)
    assert found["decoder.input_layer.weight"] == (9, 11)


@torch.no_grad()
def changed_states(model):
    """How far from a token that was exchanged the encoder's states differ."""
    one, other = (model.encode(torch.tensor([[4] * 6 + [token] + [4] * 6]), torch.tensor([13])) for token in (5, 6))
    return ((one.states != other.states).any(-1)[0].nonzero().flatten() - 6).tolist()


@torch.no_grad()
def changed_answers(model):
    """How far from a target token that was exchanged the answers differ."""
    source = torch.tensor([[4, 5, 6]]), torch.tensor([3])
    one, other = (model(*source, torch.tensor([[4] * 2 + [token] + [4] * 8])) for token in (5, 6))
    return ((one != other).any(-1)[0].nonzero().flatten() - 2).tolist()


@pytest.mark.effect_of("cnn_kernel_width_encoder", "num_layers_encoder")
@pytest.mark.parametrize(("width", "layers", "reach"), [(1, 3, 0), (3, 1, 1), (3, 4, 4), (5, 1, 2), (5, 2, 4)])
def test_the_encoder_sees_so_many_neighbours_in_every_layer(build, width, layers, reach):
    model = build(CNN | {"cnn_kernel_width_encoder": str(width), "num_layers_encoder": str(layers)})
    assert changed_states(model) == list(range(-reach, reach + 1))
    assert difference(model) < 1e-9
    blocks = {name.split(".")[2] for name in shapes(model) if name.startswith("encoder.convolutions.")}
    assert blocks == {str(number) for number in range(layers)}
    assert {shapes(model)[f"encoder.convolutions.{number}.weight"] for number in blocks} == {(18, 9, width)}
    # The decoder is left alone.
    assert changed_answers(model) == [0, 1]


@pytest.mark.effect_of("cnn_kernel_width_decoder", "num_layers_decoder")
@pytest.mark.parametrize(("width", "layers", "reach"), [(1, 3, 0), (2, 1, 1), (2, 4, 4), (4, 2, 6), (5, 1, 4)])
def test_the_decoder_sees_so_many_tokens_before_in_every_layer(build, width, layers, reach):
    model = build(CNN | {"cnn_kernel_width_decoder": str(width), "num_layers_decoder": str(layers)})
    assert changed_answers(model) == list(range(reach + 1))
    assert difference(model) < 1e-9
    blocks = {name.split(".")[2] for name in shapes(model) if name.startswith("decoder.convolutions.")}
    assert blocks == {str(number) for number in range(layers)}
    assert {shapes(model)[f"decoder.convolutions.{number}.weight"] for number in blocks} == {(18, 9, width)}
    # The encoder is left alone.
    assert changed_states(model) == [-1, 0, 1]


@pytest.mark.effect_of("encoder_type", "decoder_type", "cnn_num_hidden", "rnn_num_hidden")
@pytest.mark.parametrize(("recurrent", "convolutional"), [("8", "8"), ("6", "9"), ("10", "5")])
def test_a_recurrent_encoder_is_projected_to_a_convolutional_decoder_of_another_width(
    build, jobs, recurrent, convolutional
):
    raw = CNN | {"encoder_type": "rnn", "rnn_num_hidden": recurrent, "cnn_num_hidden": convolutional}
    model = build(raw)
    assert difference(model, encoder="rnn") < 1e-9
    expected = {"decoder.source_layer.weight": (int(convolutional), int(recurrent))}
    found = {name: shape for name, shape in shapes(model).items() if "source_layer" in name}
    assert found == ({} if recurrent == convolutional else expected)
    # It learns like any other weight.
    trained, begun = weights_of(jobs.train(raw)), weights_of(jobs.assemble(raw))
    assert {*found} <= {*differing(trained, begun)}


@pytest.mark.effect_of("encoder_type", "decoder_type", "cnn_num_hidden", "rnn_num_hidden")
def test_a_recurrent_decoder_reads_a_convolutional_encoder_of_any_width(build):
    model = build(CNN | {"decoder_type": "rnn", "rnn_num_hidden": "6", "cnn_num_hidden": "9"})
    assert difference(model, decoder="rnn") < 1e-9
    assert shapes(model)["decoder.hidden_layer.weight"] == (6, 6 + 9)


# How long a sentence may be


@pytest.mark.effect_of("max_seq_len_source", "max_seq_len_target")
@pytest.mark.parametrize(("source", "target"), [(4, 6), (9, 3), (1, 1)])
def test_positions_are_learned_for_the_longest_source_and_for_the_longest_target_and_its_beginning(
    jobs, source, target
):
    raw = CNN | {"max_seq_len_source": str(source), "max_seq_len_target": str(target)}
    raw |= {"optimizer_type": "sgd", "learning_rate": "0.5", "weight_decay": "0"}
    # Longer than both, so that every position occurs.
    pairs = draw_pairs(9, seed=1, shortest=11, longest=12)
    before = weights_of(jobs.assemble(raw, train_pairs=pairs))
    after = weights_of(jobs.train(raw, train_pairs=pairs))
    for name, rows in {"encoder.positions.weight": source, "decoder.positions.weight": target + 1}.items():
        assert before[name].shape[0] == rows
        assert (before[name] != after[name]).any(-1).all()


@pytest.mark.effect_of("max_seq_len_source", "max_seq_len_target")
@pytest.mark.parametrize("search", [SearchOptions(beam_size=1), SearchOptions(beam_size=3, max_output_length=10**6)])
@pytest.mark.parametrize(("source", "target"), [(4, 6), (9, 3), (1, 1)])
def test_translations_never_need_a_position_that_was_not_learned(jobs, source, target, search):
    raw = CNN | {"max_seq_len_source": str(source), "max_seq_len_target": str(target)}
    # Targets three times as long as their sources, so that no limit but the table's is in the way.
    pairs = [(long, long * 3) for long, _ in draw_pairs(9, seed=1, shortest=1, longest=4)]
    pairs = [(words, [4 + word % 6 for word in tripled]) for words, tripled in pairs]
    artifact = jobs.assemble(raw, train_pairs=pairs).artifact()
    with torch.no_grad():
        artifact.model.output_layer.bias[:4] -= 1000  # Never ends by itself.
    translator, limits = Translator.from_artifact(artifact, torch.device("cpu")), artifact.inference.limits
    for length in range(1, 2 * source + 2):
        (found,) = translator.translate([[5] * length], search)
        pieces = math.ceil(length / limits.max_input_length)
        assert 0 < len(found.tokens) <= pieces * (target + 1)


@pytest.mark.effect_of("max_seq_len_source", "max_seq_len_target")
@pytest.mark.parametrize(
    ("encoder", "decoder", "source", "target", "longest"),
    [
        # Targets and their ends are exactly 1.5 times as long as their sources.
        ("cnn", "cnn", 10, 14, 10),
        ("cnn", "cnn", 10, 13, 9),
        ("rnn", "cnn", 10, 9, 6),
        ("cnn", "cnn", 10, 1, 1),
        ("cnn", "rnn", 10, 9, 10),
        ("rnn", "rnn", 10, 9, 10),
    ],
)
def test_a_convolutional_decoder_is_given_no_more_at_once_than_it_has_positions_to_translate(
    jobs, encoder, decoder, source, target, longest
):
    raw = CNN | {"encoder_type": encoder, "decoder_type": decoder}
    raw |= {"max_seq_len_source": str(source), "max_seq_len_target": str(target)}
    pairs = [([4, 5, 6, 7][:length], [5] * (3 * length // 2 - 1)) for length in (2, 4)]
    limits = jobs.assemble(raw, train_pairs=pairs).job.inference.limits
    assert limits.max_input_length == longest
    assert limits.max_output_length == target + 1


# Dropout


class Look:
    """What every convolution reads of each position, as one forward pass computes it."""

    def __init__(self, job, training):
        model = job.model.train(training)
        self.read = {"encoder": [], "decoder": []}
        hooks = []
        for side, blocks in self.read.items():
            for block in getattr(getattr(model, side), "convolutions", []):
                hooks.append(block.register_forward_pre_hook(lambda _, args, blocks=blocks: blocks.append(args[0])))
        (planned,) = job.train_data.plan(0)
        batch = job.train_data.collate(planned)
        with torch.no_grad():
            self.outputs = model(batch.source, batch.source_length, batch.target_in)
        for hook in hooks:
            hook.remove()

    def __getitem__(self, side):
        """What the blocks of a side read, [L, B, T, H]: the middle of an encoder's windows, the end of a decoder's."""
        return torch.stack([windows[..., 1 if side == "encoder" else -1] for windows in self.read[side]])


LARGE = {
    "cnn_num_hidden": "32",
    "num_layers_encoder": "2",
    "num_layers_decoder": "2",
    "cnn_activation_type": "sigmoid",
    "batch_size": "64",
    "bucketing_enabled": "false",
    "max_seq_len_source": "6",
    "max_seq_len_target": "6",
}
ONE_BATCH = {"train_pairs": draw_pairs(64, seed=3, shortest=6, longest=6)}


@pytest.mark.effect_of("cnn_hidden_dropout")
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_what_every_convolution_reads_is_dropped_from(jobs, share):
    job = jobs.assemble(CNN | LARGE | {"cnn_hidden_dropout": str(share)}, **ONE_BATCH).job
    before = Look(job, training=False)
    torch.manual_seed(3)
    training = Look(job, training=True)
    # Evaluation is left alone.
    assert torch.equal(before.outputs, Look(job, training=False).outputs)
    assert not torch.equal(before.outputs, training.outputs)
    for side in ("encoder", "decoder"):
        real = before[side] != 0
        dropped = (training[side] == 0) & real
        for block in range(2):
            assert dropped[block].sum() / real[block].sum() == pytest.approx(share, abs=0.03)
        # The rest is scaled up; before the first block nothing else has been dropped.
        kept = ~dropped[0]
        torch.testing.assert_close(training[side][0][kept], before[side][0][kept] / (1 - share))
        assert not torch.equal(dropped[0], dropped[1])
        # Another mask at every pass.
        assert not torch.equal(Look(job, training=True)[side] == 0, training[side] == 0)


@pytest.mark.effect_of("cnn_hidden_dropout")
def test_without_dropout_training_computes_what_evaluation_does(jobs):
    job = jobs.assemble(CNN | LARGE | {"cnn_hidden_dropout": "0"}, **ONE_BATCH).job
    assert torch.equal(Look(job, training=True).outputs, Look(job, training=False).outputs)


@pytest.mark.effect_of("cnn_hidden_dropout")
@pytest.mark.parametrize(("encoder", "decoder"), MIXES[1:])
def test_dropout_of_1_drops_everything_and_training_goes_on(jobs, encoder, decoder):
    raw = CNN | {"cnn_hidden_dropout": "1", "encoder_type": encoder, "decoder_type": decoder}
    look = Look(jobs.assemble(raw | LARGE, **ONE_BATCH).job, training=True)
    for side, kind in (("encoder", encoder), ("decoder", decoder)):
        assert len(look.read[side]) == (2 if kind == "cnn" else 0)
        assert not any(windows.any() for windows in look.read[side])
    trained = jobs.train(raw)
    assert all(weight.isfinite().all() for weight in trained.job.model.parameters())
    assert math.isfinite(trained.state.best_score)


@pytest.mark.effect_of("cnn_hidden_dropout")
def test_translations_for_bleu_are_not_dropped_from(jobs, monkeypatch):
    translate, scores = Translator.translate, []

    def spy(self, sources, options=None):
        found = translate(self, sources, options)
        if options is None or options.max_output_length is None:  # otherwise it is the trial before training
            scores.append([translation.score for translation in found])
        return found

    monkeypatch.setattr(Translator, "translate", spy)
    assembled = jobs.train(CNN | {"cnn_hidden_dropout": "0.5", "bleu_sample_size": "-1"})
    assembled.job.model.train()
    assembled.job.bleu.score(assembled.job.workers, lambda *_: None)
    assert len(scores) == 2
    assert scores[0] == scores[1]


@pytest.mark.effect_of("embed_dropout_source", "embed_dropout_target")
def test_dropped_embeddings_keep_their_positions(jobs):
    raw = CNN | {"embed_dropout_source": "1", "embed_dropout_target": "1"}
    model = jobs.assemble(raw).job.model.train()
    one, other = (
        model(torch.tensor([[word, word]]), torch.tensor([2]), torch.tensor([[word, word]])) for word in (4, 5)
    )
    assert torch.equal(one, other)
    assert not torch.allclose(one[0, 0], one[0, 1])


# Weights before the first update


def check_bounds(weights, bound_of):
    """Every weight of a convolutional model is drawn between -bound and bound, and comes near both; biases are 0."""
    assert sum(weight.dim() == 3 for weight in weights.values()) == 4
    for name, weight in weights.items():
        if not is_weight(name):
            assert not weight.any(), name
            continue
        bound = bound_of(weight.shape)
        assert weight.abs().max() <= bound, name
        near = 0.9 if weight.numel() > 200 else 0.6
        assert weight.max() > near * bound, name
        assert weight.min() < -near * bound, name
        assert abs(weight.mean().item()) < 0.3 * bound, name


WIDE = {
    "cnn_num_hidden": "24",
    "num_embed_source": "20",
    "num_embed_target": "14",
    "num_layers_encoder": "2",
    "num_layers_decoder": "2",
    "cnn_kernel_width_encoder": "5",
    "cnn_kernel_width_decoder": "2",
}


@pytest.mark.effect_of("weight_init_type", "weight_init_scale", "xavier_factor_type")
@pytest.mark.parametrize("factor", ["in", "out", "avg"])
@pytest.mark.parametrize("activation", ["glu", "relu"])
def test_xavier_counts_every_connection_of_a_kernel(jobs, factor, activation):
    raw = {"weight_init_type": "xavier", "weight_init_scale": "2.34", "xavier_factor_type": factor}
    raw |= {"cnn_activation_type": activation}

    def bound(shape):
        outputs, inputs, width = (*shape, 1)[:3]
        fan = {"in": inputs * width, "out": outputs * width, "avg": (inputs + outputs) * width / 2}[factor]
        return math.sqrt(2.34 / fan)

    check_bounds(weights_of(jobs.assemble(CNN | WIDE | raw)), bound)


@pytest.mark.effect_of("weight_init_type", "weight_init_scale")
def test_uniform_draws_kernels_between_the_scale_and_its_negative(jobs):
    raw = {"weight_init_type": "uniform", "weight_init_scale": "0.3"}
    check_bounds(weights_of(jobs.assemble(CNN | WIDE | raw)), lambda shape: 0.3)


# Jobs


@pytest.mark.effect_of("encoder_type", "decoder_type")
@pytest.mark.parametrize(("encoder", "decoder"), MIXES[1:])
def test_a_job_learns_and_its_artifact_translates_as_it_did(jobs, tmp_path, encoder, decoder):
    raw = CNN | {"encoder_type": encoder, "decoder_type": decoder}
    raw |= {"max_num_batches": "150", "checkpoint_frequency_num_batches": "50", "learning_rate": "0.02"}
    # With room for the translation of every source in one piece.
    raw |= {"max_seq_len_target": "40", "bleu_sample_size": "-1", "batch_size": "14"}
    pairs = draw_pairs(14, seed=1)
    assembled = jobs.train(raw, train_pairs=pairs, validation_pairs=pairs)
    perplexity = [entry["train_perplexity"] for entry in assembled.state.history]
    assert len(perplexity) == 3
    assert perplexity == sorted(perplexity, reverse=True)
    assert perplexity[-1] < 2 < perplexity[0]
    assert assembled.state.history[-1]["validation_bleu"] > 0.5

    artifact = assembled.artifact()
    save_artifact(artifact, tmp_path / "model")
    loaded = load_artifact(tmp_path / "model")
    assert loaded.model.config == artifact.model.config
    assert differing(copies(loaded.model.state_dict()), copies(artifact.model.state_dict())) == []
    values = loaded.training["hyperparameters"]
    assert (values["encoder_type"], values["decoder_type"]) == (encoder, decoder)

    sources = [source for source, _ in pairs]
    device = torch.device("cpu")
    before = Translator.from_artifact(artifact, device).translate(sources)
    after = Translator.load(tmp_path / "model", device).translate(sources)
    right = 0
    for one, other, (source, target) in zip(before, after, pairs, strict=True):
        assert one.token_ids == other.token_ids
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.attention.shape == (len(one.tokens), len(source))
        np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)
        np.testing.assert_allclose(one.attention.sum(1), 1, atol=1e-5)
        right += list(one.token_ids) == list(target)
    assert right > len(pairs) / 2


def test_a_job_that_goes_on_from_a_checkpoint_ends_as_if_it_had_never_been_interrupted(tmp_path):
    raw = CNN | OTHERS | {"checkpoint_frequency_num_batches": "2"}
    short, long = raw | {"max_num_batches": "4"}, raw | {"max_num_batches": "8"}
    train_job(tmp_path / "resumed", short)
    resumed = train_job(tmp_path / "resumed", long)
    assert resumed.state.updates == 8
    assert differing(weights_of(resumed), weights_of(train_job(tmp_path / "whole", long))) == []


@pytest.mark.effect_of(*OTHERS)
def test_convolutional_values_are_stored_and_change_no_recurrent_model(jobs, tmp_path):
    passed = jobs.train(OTHERS)
    assert differing(weights_of(passed), weights_of(jobs.train({}))) == []
    values = stored(passed, tmp_path / "model")
    assert {name: str(values[name]) for name in OTHERS} == OTHERS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, marks=pytest.mark.effect_of(name))
        for name, value in {
            "rnn_num_hidden": "10",
            "rnn_cell_type": "gru",
            "rnn_attention_type": "dot",
            "rnn_attention_num_hidden": "5",
            "rnn_decoder_state_init": "avg",
            "rnn_decoder_hidden_dropout": "0.9",
            "rnn_residual_connections": "true",
            "rnn_attention_in_upper_layers": "false",
        }.items()
    ],
)
def test_recurrent_values_change_no_convolutional_model(jobs, name, value):
    assert differing(weights_of(jobs.train(CNN | {name: value})), weights_of(jobs.train(CNN))) == []


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.effect_of(name)) for name in OTHERS])
def test_every_convolutional_value_changes_what_is_learned(jobs, name):
    one, other = (weights_of(jobs.train(CNN | more)) for more in ({}, {name: OTHERS[name]}))
    assert differing(one, other)


WRONG = {
    "cnn_kernel_width_encoder": "4",
    "cnn_kernel_width_decoder": "0",
    "cnn_num_hidden": "-1",
    "cnn_activation_type": "gelu",
    "cnn_hidden_dropout": "1.1",
}


@pytest.mark.parametrize("name", WRONG)
def test_convolutional_values_are_checked_even_if_unused(name):
    for used in ({}, CNN):
        with pytest.raises(ClientError, match=rf"^{name}: '{WRONG[name]}' is not "):
            validate({**used, name: WRONG[name]})
