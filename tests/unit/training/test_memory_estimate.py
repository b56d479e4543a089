"""The estimate, compared with the tensors of real updates and with the resident memory of a process."""

import sys
import time

import pytest
import torch

from benchmarks import memory as benchmark
from s2s_algo.data.batches import Batch
from s2s_algo.hyperparameters import validate
from s2s_algo.model.memory import LiveMemory, empty_model
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.loss import batch_loss
from s2s_algo.training.memory_estimate import _measure_activations, _with_positions, activations, estimate_training
from s2s_algo.training.optimizers import build_optimizer
from s2s_algo.training.settings import model_config, optimizer_config

BATCH, SOURCE, TARGET, VOCABULARY = 8, 20, 24, 300
SMALL = {
    "num_embed_source": "24",
    "num_embed_target": "20",
    "rnn_num_hidden": "32",
    "cnn_num_hidden": "32",
    "optimizer_type": "sgd",
    "max_seq_len_source": str(SOURCE),
    "max_seq_len_target": str(TARGET - 1),
}
CHOICES = {
    "defaults": {},
    "dot": {"rnn_attention_type": "dot"},
    "bilinear": {"rnn_attention_type": "bilinear"},
    "fixed": {"rnn_attention_type": "fixed"},
    "gru": {"rnn_cell_type": "gru"},
    "deep": {"num_layers_encoder": "3", "num_layers_decoder": "3", "rnn_residual_connections": "true"},
    "dropout": {"embed_dropout_source": "0.1", "embed_dropout_target": "0.1", "rnn_decoder_hidden_dropout": "0.1"},
    "average": {"rnn_decoder_state_init": "avg", "rnn_attention_in_upper_layers": "false", "num_layers_decoder": "2"},
    "cnn": {"encoder_type": "cnn", "decoder_type": "cnn"},
    "deep cnn": {
        "encoder_type": "cnn",
        "decoder_type": "cnn",
        "cnn_activation_type": "relu",
        "cnn_hidden_dropout": "0.1",
        "num_layers_encoder": "4",
        "num_layers_decoder": "4",
    },
    "rnn, cnn": {"decoder_type": "cnn", "cnn_num_hidden": "24"},
    "cnn, rnn": {"encoder_type": "cnn"},
    "wide kernels": {
        "encoder_type": "cnn",
        "decoder_type": "cnn",
        "cnn_kernel_width_encoder": "9",
        "cnn_kernel_width_decoder": "11",
    },
    "adam": {"optimizer_type": "adam"},
    "rmsprop": {"optimizer_type": "rmsprop"},
    "momentum": {"optimizer_type": "sgd", "momentum": "0.5"},
}


def hyperparameters(name):
    return validate({**SMALL, **CHOICES[name]}).hyperparameters


def real_peak(h, vocabulary=VOCABULARY):
    """Bytes of the tensors of one update, at most at one time."""
    torch.manual_seed(0)
    with LiveMemory() as live:
        model = Seq2Seq(model_config(h, vocabulary, vocabulary)).train()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.1, 0.1)
        optimizer = build_optimizer(model, optimizer_config(h))
        source, target = (torch.randint(4, vocabulary, (BATCH, length)) for length in (SOURCE, TARGET))
        lengths = [torch.full((BATCH,), length) for length in (SOURCE, TARGET)]
        loss, _ = batch_loss(model, Batch(source, lengths[0], target, target, lengths[1]))
        loss.backward()
        optimizer.step(0.1)
    return live.peak


def estimate(h, vocabulary=VOCABULARY):
    return estimate_training(model_config(h, vocabulary, vocabulary), optimizer_config(h), BATCH, SOURCE, TARGET)


@pytest.mark.parametrize("name", CHOICES)
def test_the_estimate_is_what_the_tensors_of_a_real_update_take(name):
    h = hyperparameters(name)
    assert real_peak(h) == pytest.approx(estimate(h).peak, rel=0.1)


@pytest.mark.parametrize("name", CHOICES)
def test_with_few_words_the_sum_is_enough(name):
    """Then the gradients that are on their way through a layer count as well, which are not estimated."""
    h = hyperparameters(name)
    found = estimate(h, vocabulary=10)
    assert 0.9 * found.peak < real_peak(h, vocabulary=10) < 1.2 * found.total


@pytest.mark.parametrize("name", ["adam", "rmsprop", "momentum", "defaults"])
def test_with_many_weights_the_update_needs_most(name):
    """Without numbers of the update itself, the gradients that are being added up need their place."""
    h = validate({**SMALL, **CHOICES[name], "rnn_num_hidden": "512", "rnn_attention_type": "dot"}).hyperparameters
    found = estimate(h)
    update = sum(found[item] for item in ("weights", "optimizer_state", "gradients", "update"))
    if name == "rmsprop":
        assert found.peak == update
        assert real_peak(h) == pytest.approx(found.peak, rel=0.1)
    else:
        assert real_peak(h) < 1.2 * found.total


@pytest.mark.parametrize(
    ("name", "state", "update"), [("adam", 2, 0), ("rmsprop", 1, 1), ("momentum", 1, 0), ("defaults", 0, 0)]
)
def test_optimizers_have_so_many_numbers_per_weight(name, state, update):
    found = estimate(hyperparameters(name))
    assert found["optimizer_state"] == state * found["weights"]
    assert found["update"] == pytest.approx(update * found["weights"], abs=4)
    assert found["gradients"] == found["weights"]


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize(("batch", "source", "target"), [(1, 1, 2), (3, 9, 5), (8, 20, 24)])
def test_activations_of_long_sentences_follow_exactly_from_short_ones(name, batch, source, target):
    config = model_config(hyperparameters(name), VOCABULARY, VOCABULARY)
    measured = _measure_activations(empty_model(_with_positions(config)).train(), batch, source, target)
    # A sentence of one token has no gaps between tokens, which some tensors are then views of.
    tolerance = 0 if min(source, target) > 1 else measured // 4
    assert abs(activations(config, batch, source, target) - measured) <= tolerance


def test_sizes_beyond_any_machine_are_told_at_once():
    values = {"batch_size": str(2**31 - 1), "max_seq_len_source": "100000", "max_seq_len_target": "100000"}
    h = validate({**values, "rnn_num_hidden": "65536", "cnn_num_hidden": "65536"}).hyperparameters
    config = model_config(h, 2**31 - 1, 2**31 - 1)
    began = time.monotonic()
    found = estimate_training(config, optimizer_config(h), h.batch_size, 100_000, 100_001)
    assert time.monotonic() - began < 30
    assert found["activations"] > 4 * 2**31 * 100_000 * 100_000 * 65_536 * 0.99


def test_items_have_descriptions_and_the_task_its_sizes():
    found = estimate(hyperparameters("defaults"))
    assert found.task == "training with 8 pairs of 20 source and 24 target positions"
    assert [item.description for item in found.items] == [
        "weights",
        "optimizer state (sgd)",
        "gradients",
        "numbers of the update itself",
        "activations kept for the backward pass",
        "weights laid out for the loops of recurrent layers",
        "logits, 2 x 192 x 300, and the output layer's gradient",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="measures with Linux's /proc")
@pytest.mark.parametrize("name", ["rnn, lstm, mlp", "cnn, glu, 4 layers"])
def test_the_resident_memory_of_a_process_grows_by_what_is_estimated(name):
    grown = benchmark.resident("training", name, benchmark.GIVE_BACK)
    assert grown == pytest.approx(benchmark.estimate("training", name).peak, rel=0.25)
