"""The convolutional decoder: both of its forms against a plain one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from s2s_algo.model.attention import EncodedSource
from s2s_algo.model.decoder_convolutional import ConvolutionalState
from tests.plain_convolution import PlainConvolution
from tests.unit.small_model import (
    ACTIVATIONS,
    ARCHITECTURES,
    TARGET_POSITIONS,
    configs_of,
    padded,
    parallel,
    seeds,
    small_config,
    small_model,
    step_by_step,
)

SOURCES = [[5, 6, 7, 8], [9], [4, 4, 12, 11, 10, 1]]
TARGETS = [[2, 4, 5, 6], [2, 7, 8, 9, 10, 4, 4, 6], [2]]


def cnn_model(seed=0, encoder="cnn", **options):
    return small_model(small_config(encoder=encoder, decoder="cnn", **options), seed).double()


@torch.no_grad()
def check_against_plain(model, sources, targets):
    (source, length), (target, _) = padded(sources, 9), padded(targets)
    encoded = model.encode(source, length)
    embedded = model.target_embedding(target)
    sequence = model.decoder(embedded, encoded)
    answers, attention = step_by_step(model, encoded, embedded)
    assert sequence.shape == answers.shape == (*target.shape, model.config.decoder.num_hidden)
    plain = PlainConvolution(model, model.config.decoder.activation)
    for row, tokens in enumerate(targets):
        expected, weights = plain.decode(encoded.states[row, : length[row]], tokens)
        np.testing.assert_allclose(sequence[row, : len(tokens)].numpy(), expected, atol=1e-9)
        np.testing.assert_allclose(answers[row, : len(tokens)].numpy(), expected, atol=1e-9)
        # The attention that is shown is that of the last block.
        np.testing.assert_allclose(attention[row, : len(tokens), : length[row]].numpy(), weights, atol=1e-9)
        assert not attention[row, :, length[row] :].any()


@settings(max_examples=80, deadline=None)
@given(config=configs_of(decoders=["cnn"]), pairs=parallel(), seed=seeds)
def test_sequence_form_and_step_form_equal_the_plain_decoder(config, pairs, seed):
    check_against_plain(small_model(config, seed).double(), *pairs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_activation_and_kernel_equals_the_plain_decoder(activation, kernel, layers):
    model = cnn_model(decoder_activation=activation, decoder_kernel=kernel, decoder_layers=layers)
    check_against_plain(model, SOURCES, TARGETS)


@torch.no_grad()
def test_a_target_may_have_as_many_tokens_as_there_are_positions_and_no_more():
    model = cnn_model()
    longest = [4] * TARGET_POSITIONS
    check_against_plain(model, [[5, 6]], [longest])
    with pytest.raises(RuntimeError):
        model(*padded([[5, 6]]), torch.tensor([[*longest, 4]]))
    with pytest.raises(IndexError):
        step_by_step(model, model.encode(*padded([[5, 6]])), model.target_embedding(torch.tensor([[*longest, 4]])))


@pytest.mark.parametrize(("kernel", "layers", "reach"), [(1, 3, 0), (2, 1, 1), (2, 3, 3), (5, 1, 4), (3, 2, 4)])
@torch.no_grad()
def test_a_token_is_seen_by_itself_and_so_many_that_follow_it(kernel, layers, reach):
    model = cnn_model(decoder_kernel=kernel, decoder_layers=layers, decoder_activation="tanh")
    source, length = padded([[5, 6, 7]])
    one, other = (model(source, length, torch.tensor([[4] * 2 + [token] + [4] * 6]))[0] for token in (5, 6))
    assert (one != other).any(-1).nonzero().flatten().tolist() == list(range(2, 2 + reach + 1))


@torch.no_grad()
def test_the_same_word_differs_by_where_it_stands():
    answers = cnn_model(decoder_kernel=1)(*padded([[5, 6, 7]]), torch.tensor([[5, 5, 5]]))[0]
    assert not torch.allclose(answers[0], answers[1])
    assert not torch.allclose(answers[1], answers[2])


# State


@torch.no_grad()
def test_a_state_begins_at_position_zero_with_zeros_before_it():
    model = cnn_model(decoder_layers=3, decoder_kernel=4, decoder_hidden=5)
    state, _ = model.decoder.start(model.encode(*padded(SOURCES)))
    assert state.position.tolist() == [0, 0, 0]
    assert [inputs.shape for inputs in state.past] == [(3, 5, 3)] * 3
    assert not any(inputs.any() for inputs in state.past)


@pytest.mark.parametrize("kernel", [1, 2, 5])
@torch.no_grad()
def test_a_state_counts_its_steps_and_never_grows(kernel):
    model = cnn_model(decoder_layers=2, decoder_kernel=kernel)
    state, memory = model.decoder.start(model.encode(*padded(SOURCES)))
    shapes = [inputs.shape for inputs in state.past]
    for number in range(1, 8):
        _, state, _ = model.decoder.step(model.target_embedding(torch.tensor([4, 5, 6])), state, memory)
        assert state.position.tolist() == [number] * 3
        assert [inputs.shape for inputs in state.past] == shapes


@torch.no_grad()
def test_a_selection_touches_every_part_of_a_state():
    model = cnn_model(decoder_layers=3, decoder_kernel=3)
    state, memory = model.decoder.start(model.encode(*padded(SOURCES)))
    _, state, _ = model.decoder.step(model.target_embedding(torch.tensor([4, 5, 6])), state, memory)
    state = replace(state, position=torch.tensor([7, 5, 6]))
    rows = torch.tensor([2, 2, 0])
    selected = state.select(rows)
    assert selected.position.tolist() == [6, 6, 7]
    assert len(selected.past) == 3
    for ours, whole in zip(selected.past, state.past, strict=True):
        assert torch.equal(ours, whole[rows])


@torch.no_grad()
def test_rows_at_different_positions_may_be_stepped_together():
    # As when a sentence enters a batch in which others are on their way.
    model = cnn_model(decoder_layers=2, decoder_kernel=3)
    encoded = model.encode(*padded([[5, 6, 7], [5, 6, 7]]))
    state, memory = model.decoder.start(encoded)
    _, later, _ = model.decoder.step(model.target_embedding(torch.tensor([4, 4])), state, memory)
    mixed = ConvolutionalState(
        torch.stack([later.position[0], state.position[1]]),
        tuple(torch.stack([new[0], old[1]]) for new, old in zip(later.past, state.past, strict=True)),
    )
    together, _, _ = model.decoder.step(model.target_embedding(torch.tensor([6, 6])), mixed, memory)
    sequence = model(*padded([[5, 6, 7]]), torch.tensor([[4, 6]]))[0]
    torch.testing.assert_close(together[0], sequence[1])
    torch.testing.assert_close(together[1], model(*padded([[5, 6, 7]]), torch.tensor([[6]]))[0, 0])


# The source


@pytest.mark.parametrize("encoder", ARCHITECTURES)
@pytest.mark.parametrize(("encoder_hidden", "decoder_hidden"), [(6, 6), (4, 6), (6, 5)])
def test_encoder_states_are_projected_without_bias_only_where_widths_differ(encoder, encoder_hidden, decoder_hidden):
    model = cnn_model(encoder=encoder, encoder_hidden=encoder_hidden, decoder_hidden=decoder_hidden)
    prefixes = ("decoder.source_layer.", "decoder.attention.")
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.startswith(prefixes)}
    expected = {"decoder.source_layer.weight": (decoder_hidden, encoder_hidden)}
    assert shapes == (expected if encoder_hidden != decoder_hidden else {})
    check_against_plain(model, SOURCES, TARGETS)


@pytest.mark.parametrize("decoder_hidden", [6, 5])
@torch.no_grad()
def test_the_same_states_are_keys_and_values_and_are_kept_once(decoder_hidden):
    model = cnn_model(decoder_hidden=decoder_hidden)
    encoded = model.encode(*padded(SOURCES))
    _, memory = model.decoder.start(encoded)
    assert memory.keys is memory.values
    assert (memory.values is encoded.states) == (decoder_hidden == 6)
    selected = memory.select(torch.tensor([2, 0]))
    assert selected.keys is selected.values
    assert torch.equal(selected.values, memory.values[torch.tensor([2, 0])])


@torch.no_grad()
def test_every_block_asks_the_attention_once_per_position():
    model = cnn_model(decoder_layers=3)
    asked = []
    model.decoder.attention.register_forward_hook(lambda _, inputs, output: asked.append(inputs[0].shape))
    model(*padded(SOURCES), torch.tensor([[2, 4]] * 3))
    assert asked == [(6, 6)] * 3


@torch.no_grad()
def test_poison_in_the_padding_of_encoder_states_changes_no_step():
    model = cnn_model(decoder_layers=2, decoder_hidden=5)
    encoded = model.encode(*padded(SOURCES))
    padding = torch.arange(encoded.states.shape[1]) >= encoded.length[:, None]
    poisoned = EncodedSource(encoded.states.masked_fill(padding[:, :, None], 1e3), encoded.length)
    embedded = model.target_embedding(torch.tensor([[2, 4, 5]] * 3))
    assert torch.equal(model.decoder(embedded, encoded), model.decoder(embedded, poisoned))
    for ours, clean in zip(
        step_by_step(model, poisoned, embedded), step_by_step(model, encoded, embedded), strict=True
    ):
        assert torch.equal(ours, clean)


# Dropout


class Look:
    """What the convolutions and attentions of a decoder see and say in one pass."""

    def __init__(self, model, sources, target):
        self.windows, self.outputs, self.queries, self.contexts = [], [], [], []
        self.sentences = len(target)
        for block in model.decoder.convolutions:
            block.register_forward_hook(self.keep_convolution)
        model.decoder.attention.register_forward_hook(self.keep_attention)
        with torch.no_grad():
            self.answers = model(*padded(sources), target)
            self.read = model.decoder.read(model.target_embedding(target))

    def keep_convolution(self, _, inputs, output):
        self.windows.append(inputs[0].unflatten(0, (self.sentences, -1)).clone())
        self.outputs.append(output.unflatten(0, (self.sentences, -1)).clone())

    def keep_attention(self, _, inputs, output):
        self.queries.append(inputs[0].clone())
        self.contexts.append(output[0].clone().view_as(self.outputs[-1]))


@pytest.fixture
def dropping():
    """A batch that is dropped half of, with enough numbers to measure shares."""
    torch.manual_seed(13)
    model = cnn_model(
        decoder_hidden=60, decoder_layers=3, decoder_kernel=3, hidden_dropout=0.5, decoder_activation="sigmoid"
    )
    return Look(model.train(), SOURCES[:2], torch.tensor([[2, 4, 5, 6, 7], [2, 6, 7, 8, 9]]))


def test_dropout_acts_on_what_every_block_reads(dropping):
    stream = dropping.read
    for block in range(3):
        seen = dropping.windows[block][..., -1]
        kept = seen != 0
        assert 0.4 < kept.double().mean() < 0.6
        torch.testing.assert_close(seen[kept], 2 * stream[kept])
        stream = stream + dropping.outputs[block] + dropping.contexts[block]


def test_the_residual_stream_the_queries_and_the_contexts_are_not_dropped_from(dropping):
    torch.testing.assert_close(dropping.answers, dropping.read + sum(dropping.outputs) + sum(dropping.contexts))
    for query, output in zip(dropping.queries, dropping.outputs, strict=True):
        assert torch.equal(query, output.flatten(0, 1))


def test_every_block_and_every_position_draws_its_own_mask(dropping):
    masks = torch.stack([windows[..., -1] == 0 for windows in dropping.windows]).flatten(0, 2)
    assert len({tuple(mask.tolist()) for mask in masks}) == len(masks) == 30


def test_all_windows_over_a_position_see_the_same_of_it(dropping):
    for windows in dropping.windows:
        assert torch.equal(windows[:, 1:, :, :-1], windows[:, :-1, :, 1:])


def test_dropout_of_one_leaves_the_stream_the_biases_and_their_contexts():
    model = cnn_model(decoder_layers=3, decoder_hidden=5, hidden_dropout=1.0, decoder_activation="tanh").train()
    (source, length), (target, _) = padded(SOURCES), padded(TARGETS)
    answers = model(source, length, target)
    # As if there were no kernels.
    twin = cnn_model(decoder_layers=3, decoder_hidden=5, decoder_activation="tanh")
    with torch.no_grad():
        for block in twin.decoder.convolutions:
            block.weight.zero_()
    torch.testing.assert_close(answers, twin(source, length, target))
    assert not torch.allclose(answers, model.eval()(source, length, target))
    model.output_layer(answers).log_softmax(-1).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_nothing_is_dropped_outside_training_in_either_form():
    (source, length), (target, _) = padded(SOURCES), padded(TARGETS)
    dropping, plain = (cnn_model(hidden_dropout=share) for share in (0.7, 0.0))
    expected = plain(source, length, target)
    assert torch.equal(dropping(source, length, target), expected)
    answers, _ = step_by_step(dropping, dropping.encode(source, length), dropping.target_embedding(target))
    torch.testing.assert_close(answers, expected)
    assert not torch.allclose(dropping.train()(source, length, target), expected)
    assert torch.equal(plain.train()(source, length, target), expected)


def test_dropout_in_the_step_form_acts_in_training_too():
    model = cnn_model(hidden_dropout=1.0, decoder_kernel=3).train()
    (source, length), (target, _) = padded(SOURCES), padded(TARGETS)
    answers, _ = step_by_step(model, model.encode(source, length), model.target_embedding(target))
    torch.testing.assert_close(answers, model(source, length, target))
