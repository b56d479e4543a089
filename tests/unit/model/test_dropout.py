"""Dropout: where it acts, that it acts in training alone, and its two ends 0 and 1."""

import pytest
import torch

from s2s_algo.model import decoder_recurrent
from s2s_algo.model.config import EmbeddingConfig
from s2s_algo.model.embeddings import Embedding
from tests.unit.small_model import padded, small_config, small_model

PLACES = ["source_dropout", "target_dropout", "hidden_dropout"]
SOURCE, LENGTH = padded([[5, 6, 7], [8, 9]])
TARGET = torch.tensor([[2, 4, 5, 6], [2, 6, 7, 0]])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(13)


def answer(model, source=SOURCE, target=TARGET):
    return model(source, LENGTH, target)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_dropped_outside_training(place):
    assert torch.equal(answer(small_model(small_config(**{place: 0.7}))), answer(small_model()))


@pytest.mark.parametrize("place", PLACES)
def test_each_probability_drops_something_in_training(place):
    model = small_model(small_config(**{place: 0.5})).train()
    assert not torch.allclose(answer(model), answer(model))


def test_without_probabilities_training_drops_nothing():
    model = small_model()
    assert torch.equal(answer(model.train()), answer(model.eval()))


@pytest.mark.parametrize("place", PLACES)
def test_probability_one_gives_finite_numbers_and_gradients(place):
    model = small_model(small_config(**{place: 1.0}, decoder_layers=2)).train()
    loss = model.output_layer(answer(model)).log_softmax(-1).square().mean()
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_probability_one_of_an_embedding_gives_zeros():
    embedding = Embedding(EmbeddingConfig(vocabulary_size=10, size=4, dropout=1.0)).train()
    assert torch.equal(embedding(SOURCE), torch.zeros(2, 3, 4))


def test_kept_numbers_are_scaled_and_dropped_one_by_one():
    embedding = Embedding(EmbeddingConfig(vocabulary_size=4, size=400, dropout=0.75)).train()
    looked_up = embedding(torch.tensor([[1, 1]]))[0]
    kept = looked_up != 0
    assert torch.equal(looked_up[kept], 4 * embedding.weight[1].expand(2, -1)[kept])
    assert 0.15 < kept.float().mean() < 0.35
    assert not torch.equal(kept[0], kept[1])


def test_source_dropout_hides_the_source_words_and_nothing_else():
    model = small_model(small_config(source_dropout=1.0)).train()
    assert torch.equal(answer(model), answer(model, source=SOURCE.clamp(max=4)))
    assert not torch.allclose(answer(model), answer(model, target=TARGET.clamp(max=3)))


def test_target_dropout_hides_the_target_words_and_nothing_else():
    model = small_model(small_config(target_dropout=1.0)).train()
    assert torch.equal(answer(model), answer(model, target=TARGET.clamp(max=3)))
    assert not torch.allclose(answer(model), answer(model, source=SOURCE.clamp(max=4)))


def combined_inputs(model):
    """What the layer after the hidden dropout sees, per step."""
    seen = []
    handle = model.decoder.hidden_layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    answer(model)
    handle.remove()
    return torch.stack(seen)


def test_hidden_dropout_is_drawn_afresh_at_each_step(monkeypatch):
    # The fast path, which has no layer to look into, uses the same factors; test_fused_decoder.py compares both.
    monkeypatch.setattr(decoder_recurrent, "has_fused_loops", lambda device: False)
    model = small_model(small_config(hidden_dropout=0.5, encoder_hidden=60, decoder_hidden=60))
    everything = combined_inputs(model)
    assert everything.all()
    dropped = combined_inputs(model.train())
    masks = dropped != 0
    assert masks.shape == (TARGET.shape[1], len(SOURCE), 120)
    # Output and context, of both sentences, at every step.
    assert 0.3 < masks[..., :60].float().mean() < 0.7
    assert 0.3 < masks[..., 60:].float().mean() < 0.7
    flat = masks.flatten(0, 1)
    assert len({tuple(mask.tolist()) for mask in flat}) == len(flat)
    # Nothing differs before the first dropout, so that the kept numbers are twice what they were.
    torch.testing.assert_close(dropped[0][masks[0]], 2 * everything[0][masks[0]])


def test_hidden_dropout_of_one_leaves_the_bias_alone():
    model = small_model(small_config(hidden_dropout=1.0)).train()
    expected = torch.tanh(model.decoder.hidden_layer.bias).expand(2, 4, -1)
    torch.testing.assert_close(answer(model), expected)
