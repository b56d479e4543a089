"""The recurrent encoder, compared with torch's packed bi-directional layers."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.unit.small_model import CELLS, padded, seeds, small_config, small_model, source_batches

TORCH = {"lstm": nn.LSTM, "gru": nn.GRU}
SENTENCES = [[5, 6, 7, 8], [9], [4, 4, 12, 11, 10, 1]]


@torch.no_grad()
def packed(layer, states, length):
    """One torch layer over packed sentences; its output is 0 at padding."""
    sequence = pack_padded_sequence(states, length, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(sequence)[0], batch_first=True, total_length=states.shape[1])[0]


def bidirectional(encoder):
    """torch's bi-directional layer with the weights of ours."""
    config = encoder.config
    size = encoder.forward_layer.input_size
    layer = TORCH[config.cell_type](size, config.num_hidden // 2, batch_first=True, bidirectional=True)
    weights = dict(encoder.forward_layer.named_parameters())
    weights |= {f"{name}_reverse": value for name, value in encoder.backward_layer.named_parameters()}
    layer.load_state_dict(weights)
    return layer


def plain_encoder(model, source, length):
    states = packed(bidirectional(model.encoder), model.source_embedding(source), length)
    for number, layer in enumerate(model.encoder.upper_layers, start=2):
        output = packed(layer, states, length)
        adds = model.encoder.config.residual and number >= model.encoder.config.first_residual_layer
        states = output + states if adds else output
    return states


def check_against_torch(model, sentences, width=0):
    source, length = padded(sentences, width)
    with torch.no_grad():
        ours = model.encode(source, length)
    assert torch.equal(ours.length, length)
    assert ours.states.shape == (*source.shape, model.config.encoder.num_hidden)
    inside = torch.arange(source.shape[1]) < length[:, None]
    torch.testing.assert_close(ours.states[inside], plain_encoder(model, source, length)[inside])


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=15, deadline=None)
@given(sentences=source_batches, seed=seeds)
def test_one_layer_equals_a_packed_bidirectional_layer_of_torch(cell, sentences, seed):
    check_against_torch(small_model(small_config(cell=cell), seed), sentences, width=9)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("first_residual_layer", [2, 3, 4])
def test_upper_layers_read_forwards_and_add_their_input_from_the_first_residual_layer_on(
    cell, residual, first_residual_layer
):
    config = small_config(
        cell=cell, encoder_layers=3, residual=residual, first_residual_layer=first_residual_layer, encoder_hidden=4
    )
    check_against_torch(small_model(config), SENTENCES)


def test_the_first_residual_layer_matters():
    source, length = padded(SENTENCES)
    found = [
        small_model(small_config(encoder_layers=3, residual=True, first_residual_layer=first))
        .encode(source, length)
        .states
        for first in (2, 3, 4)
    ]
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[1], found[2])


def test_a_layer_counts_the_bidirectional_one_as_the_first():
    model = small_model(small_config(encoder_layers=3))
    assert len(model.encoder.upper_layers) == 2


@pytest.mark.parametrize("cell", CELLS)
def test_poison_in_the_padding_changes_no_token(cell):
    model = small_model(small_config(cell=cell, encoder_layers=3, residual=True))
    source, length = padded(SENTENCES)
    inside = torch.arange(source.shape[1]) < length[:, None]
    embedded = model.source_embedding(source)
    poisoned = embedded.masked_fill(~inside[:, :, None], 1e4)
    clean, ours = model.encoder(embedded, length), model.encoder(poisoned, length)
    assert torch.equal(ours.states[inside], clean.states[inside])


@pytest.mark.parametrize("cell", CELLS)
def test_a_sentence_is_encoded_alike_alone_and_in_a_wide_batch(cell):
    model = small_model(small_config(cell=cell, encoder_layers=2))
    source, length = padded(SENTENCES, width=11)
    batched = model.encode(source, length).states
    for row, sentence in enumerate(SENTENCES):
        alone = model.encode(*padded([sentence])).states[0]
        torch.testing.assert_close(batched[row, : len(sentence)], alone)


def test_the_backward_half_of_the_last_state_has_read_only_the_last_token():
    model = small_model()
    one, other = (model.encode(*padded([sentence])).last()[0] for sentence in ([5, 6, 7], [8, 9, 7]))
    assert torch.equal(one[3:], other[3:])
    assert not torch.allclose(one[:3], other[:3])
