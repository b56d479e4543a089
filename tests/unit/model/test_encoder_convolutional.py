"""The convolutional encoder, compared with a plain one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from pydantic import ValidationError

from s2s_algo.model.config import ConvolutionalDecoderConfig, ConvolutionalEncoderConfig
from tests.plain_convolution import PlainConvolution
from tests.unit.small_model import (
    ACTIVATIONS,
    SOURCE_POSITIONS,
    configs_of,
    padded,
    seeds,
    small_config,
    small_model,
    source_batches,
)

SENTENCES = [[5, 6, 7, 8], [9], [4, 4, 12, 11, 10, 1]]


def cnn_config(**options):
    return small_config(encoder="cnn", **options)


def cnn_model(seed=0, **options):
    return small_model(cnn_config(**options), seed).double()


def inside(source, length):
    return torch.arange(source.shape[1]) < length[:, None]


def check_against_plain(model, sentences, width=0):
    source, length = padded(sentences, width)
    with torch.no_grad():
        ours = model.encode(source, length)
    assert torch.equal(ours.length, length)
    assert ours.states.shape == (*source.shape, model.config.encoder.num_hidden)
    plain = PlainConvolution(model, model.config.encoder.activation)
    for row, sentence in enumerate(sentences):
        np.testing.assert_allclose(ours.states[row, : len(sentence)].numpy(), plain.encode(sentence), atol=1e-9)


@settings(max_examples=80, deadline=None)
@given(config=configs_of(encoders=["cnn"]), sentences=source_batches, seed=seeds)
def test_the_encoder_equals_the_plain_one(config, sentences, seed):
    check_against_plain(small_model(config, seed).double(), sentences, width=9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_activation_and_kernel_equals_the_plain_encoder(activation, kernel, layers):
    model = cnn_model(encoder_activation=activation, encoder_kernel=kernel, encoder_layers=layers)
    check_against_plain(model, SENTENCES)


@torch.no_grad()
def test_poison_in_the_padding_changes_no_token():
    model = cnn_model(encoder_layers=3, encoder_kernel=5)
    source, length = padded(SENTENCES)
    tokens = inside(source, length)
    embedded = model.source_embedding(source)
    clean = model.encoder(embedded, length).states
    for poison in (1e4, float("inf"), float("nan")):
        poisoned = embedded.masked_fill(~tokens[:, :, None], poison)
        assert torch.equal(model.encoder(poisoned, length).states[tokens], clean[tokens])


@settings(max_examples=30, deadline=None)
@given(config=configs_of(encoders=["cnn"]), sentences=source_batches, seed=seeds)
@torch.no_grad()
def test_a_sentence_is_encoded_alike_alone_and_in_a_wide_batch(config, sentences, seed):
    model = small_model(config, seed)
    batched = model.encode(*padded(sentences, SOURCE_POSITIONS)).states
    for row, sentence in enumerate(sentences):
        alone = model.encode(*padded([sentence])).states[0]
        torch.testing.assert_close(batched[row, : len(sentence)], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kernel", "layers", "reach"), [(1, 3, 0), (3, 1, 1), (3, 2, 2), (5, 1, 2), (5, 2, 4)])
@torch.no_grad()
def test_a_token_is_seen_as_far_to_the_left_as_to_the_right(kernel, layers, reach):
    model = cnn_model(encoder_kernel=kernel, encoder_layers=layers, encoder_activation="tanh")
    one, other = (model.encode(*padded([[4] * 5 + [token] + [4] * 5])).states[0] for token in (5, 6))
    changed = (one != other).any(-1)
    assert changed.nonzero().flatten().tolist() == list(range(5 - reach, 5 + reach + 1))


@torch.no_grad()
def test_the_same_word_differs_by_where_it_stands():
    states = cnn_model(encoder_kernel=1).encode(*padded([[5, 5, 5]])).states[0]
    assert not torch.allclose(states[0], states[1])
    assert not torch.allclose(states[1], states[2])


@torch.no_grad()
def test_a_sentence_may_have_as_many_tokens_as_there_are_positions_and_no_more():
    model = cnn_model()
    check_against_plain(model, [[5] * SOURCE_POSITIONS])
    with pytest.raises(RuntimeError):
        model.encode(*padded([[5] * (SOURCE_POSITIONS + 1)]))


def test_an_even_kernel_is_refused_in_the_encoder_alone():
    common = {"num_layers": 1, "num_hidden": 4, "activation": "relu", "max_length": 9}
    for width in (2, 4, 100):
        with pytest.raises(ValidationError, match="must be odd"):
            ConvolutionalEncoderConfig(kernel_width=width, **common)
        assert ConvolutionalDecoderConfig(kernel_width=width, **common).kernel_width == width
    for width in (1, 3, 5):
        assert ConvolutionalEncoderConfig(kernel_width=width, **common).kernel_width == width


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel_width": 0},
        {"kernel_width": -1},
        {"max_length": 0},
        {"num_hidden": 0},
        {"num_layers": 0},
        {"activation": "gelu"},
        {"hidden_dropout": 1.5},
        {"cell_type": "lstm"},
    ],
)
def test_impossible_shapes_are_refused_on_both_sides(wrong):
    right = {"num_layers": 1, "num_hidden": 4, "activation": "relu", "max_length": 9, "kernel_width": 3}
    for config in (ConvolutionalEncoderConfig, ConvolutionalDecoderConfig):
        config(**right)
        with pytest.raises(ValidationError):
            config(**right | wrong)


# Dropout


class Look:
    """What the convolutions of an encoder see and say in one pass."""

    def __init__(self, model, source, length):
        self.windows, self.outputs = [], []
        self.sentences = len(source)
        for block in model.encoder.convolutions:
            block.register_forward_hook(self.keep)
        with torch.no_grad():
            self.states = model.encode(source, length).states
            self.read = model.encoder.read(model.source_embedding(source))

    def keep(self, _, inputs, output):
        # In so small a batch the padding that follows the tokens is all there is.
        self.windows.append(inputs[0].unflatten(0, (self.sentences, -1)).clone())
        self.outputs.append(output.unflatten(0, (self.sentences, -1)).clone())

    def seen(self, block):
        """What the convolution of a block sees of every position: the middle of the windows."""
        windows = self.windows[block]
        return windows[..., windows.shape[-1] // 2]


@pytest.fixture
def dropping():
    """A batch that is dropped half of, with enough numbers to measure shares."""
    torch.manual_seed(13)
    model = cnn_model(encoder_hidden=60, encoder_layers=3, encoder_dropout=0.5, encoder_activation="sigmoid")
    source, length = padded([[5, 6, 7, 8, 9, 10], [11, 12, 4]])
    return Look(model.train(), source, length), inside(source, length)


def test_dropout_acts_on_what_every_block_reads(dropping):
    look, tokens = dropping
    stream = look.read
    for block in range(3):
        seen = look.seen(block)[tokens]
        kept = seen != 0
        assert 0.4 < kept.double().mean() < 0.6
        torch.testing.assert_close(seen[kept], 2 * stream[tokens][kept])
        stream = stream + look.outputs[block]


def test_the_residual_stream_is_not_dropped_from(dropping):
    look, _ = dropping
    torch.testing.assert_close(look.states, look.read + sum(look.outputs))


def test_every_block_and_every_position_draws_its_own_mask(dropping):
    look, tokens = dropping
    masks = torch.stack([look.seen(block)[tokens] == 0 for block in range(3)]).flatten(0, 1)
    assert len({tuple(mask.tolist()) for mask in masks}) == len(masks)


def test_all_windows_over_a_position_see_the_same_of_it(dropping):
    look, _ = dropping
    for windows in look.windows:
        assert torch.equal(windows[:, 1:, :, 0], windows[:, :-1, :, 1])
        assert torch.equal(windows[:, 1:, :, 1], windows[:, :-1, :, 2])


def test_dropout_of_one_leaves_the_stream_and_the_biases():
    model = cnn_model(encoder_layers=2, encoder_dropout=1.0, encoder_activation="tanh").train()
    source, length = padded(SENTENCES)
    states = model.encode(source, length).states
    expected = model.encoder.read(model.source_embedding(source))
    for block in model.encoder.convolutions:
        expected = expected + torch.tanh(block.bias)
    torch.testing.assert_close(states, expected)
    states.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.encoder.parameters())


def test_nothing_is_dropped_outside_training():
    source, length = padded(SENTENCES)
    dropping, plain = (cnn_model(encoder_dropout=share) for share in (0.7, 0.0))
    assert torch.equal(dropping.encode(source, length).states, plain.encode(source, length).states)
    assert not torch.allclose(dropping.train().encode(source, length).states, plain.encode(source, length).states)
    assert torch.equal(plain.train().encode(source, length).states, plain.eval().encode(source, length).states)
