"""The loops of recurrent layers as one operation each, against their plain twins: values and all gradients."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s_algo.model import (
    decoder_convolutional,
    decoder_recurrent,
    encoder_convolutional,
    encoder_recurrent,
    products,
)
from s2s_algo.model.shapes import length_mask
from s2s_algo.model.steps import Steps
from tests.unit.small_model import (
    ARCHITECTURES,
    ATTENTIONS,
    CELLS,
    configs_of,
    padded,
    parallel,
    seeds,
    small_config,
    small_model,
)

SOURCE = padded([[5, 6, 7], [8, 9], [4]])
TARGET = padded([[2, 4], [2, 6, 7, 8], [2]])


def choose(monkeypatch, fused):
    for module in (decoder_recurrent, encoder_recurrent):
        monkeypatch.setattr(module, "has_fused_loops", lambda device: fused)
    for module in (decoder_convolutional, encoder_convolutional):
        monkeypatch.setattr(module, "has_fused_windows", lambda device: fused)


def passes(config, seed, pairs=(SOURCE, TARGET), dtype=torch.float32):
    """The answers at real positions and the gradients of a random function of them, by parameter."""
    model = small_model(config, seed).train().to(dtype)
    (source, source_length), (target, target_length) = pairs
    torch.manual_seed(seed)  # of dropout
    answers = model(source, source_length, target, target_length)
    answers = answers[length_mask(target_length, target.shape[1])]
    wanted = torch.randn(answers.shape, generator=torch.Generator().manual_seed(seed))
    (answers * wanted).sum().backward()
    return answers.detach(), {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in model.named_parameters()
    }


def together(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


def difference(one, other):
    # Gradients that are nearly zero are compared with what such a model's gradients are like.
    return ((one - other).norm() / other.norm().clamp(min=0.1)).item()


@settings(max_examples=100, deadline=None)
@given(
    config=configs_of(encoders=["rnn"], decoders=["rnn"]),
    dropout=st.sampled_from([0.0, 0.4]),
    pairs=parallel(),
    seed=seeds,
)
def test_values_and_gradients_are_those_of_the_plain_loops(config, dropout, pairs, seed):
    decoder = config.decoder.model_copy(update={"hidden_dropout": dropout})
    config = config.model_copy(update={"decoder": decoder})
    with pytest.MonkeyPatch.context() as monkeypatch:
        # (1) In double precision nothing is left to rounding.
        batch = tuple(map(padded, pairs))
        choose(monkeypatch, True)
        answers, gradients = passes(config, seed, batch, torch.float64)
        fast, fast_gradients = passes(config, seed, batch)
        choose(monkeypatch, False)
        expected, expected_gradients = passes(config, seed, batch, torch.float64)
        plain, plain_gradients = passes(config, seed, batch)
    assert difference(answers, expected) < 1e-11
    for name, gradient in gradients.items():
        assert difference(gradient, expected_gradients[name]) < 1e-11, name
    # (2) In single precision a gradient that nearly cancels is all rounding; together they are not.
    assert difference(fast, plain) < 1e-5
    assert difference(together(fast_gradients), together(plain_gradients)) < 1e-5


def large_batch(lengths, targets):
    """A source and a target of each length."""
    words = random.Random(0)
    return tuple(padded([words.choices(range(4, 11), k=length) for length in sizes]) for sizes in (lengths, targets))


LARGE = {
    "of all lengths": large_batch([1 + n % 14 for n in range(150)], [1 + n * n % 20 for n in range(150)]),
    "of one token each": large_batch([1] * 150, [1] * 150),
    "of one length": large_batch([6] * 130, [5] * 130),
    "of one long pair and short ones": large_batch([1] * 140 + [14], [20] + [1] * 140),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pairs", LARGE.values(), ids=LARGE)
def test_large_batches_are_read_as_by_the_plain_twins(monkeypatch, pairs, architecture):
    """Beyond 128 sentences the rows of a step are rounded to more than 4; and most padding is no row at all."""
    config = small_config(encoder=architecture, decoder=architecture, encoder_layers=2, decoder_layers=2)
    found = passes(config, 1, pairs, torch.float64)
    choose(monkeypatch, False)
    torch.testing.assert_close(found, passes(config, 1, pairs, torch.float64))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_without_onednn_the_same_comes_out(monkeypatch, cell, attention):
    config = small_config(cell=cell, attention=attention, decoder_layers=2, encoder_layers=2)
    expected, expected_gradients = passes(config, 1)
    monkeypatch.setattr(products, "has_onednn", lambda device, dtype: False)
    answers, gradients = passes(config, 1)
    torch.testing.assert_close(answers, expected)
    torch.testing.assert_close(gradients, expected_gradients)


@pytest.mark.parametrize("cell", CELLS)
def test_double_precision_stays_double(monkeypatch, cell):
    config = small_config(cell=cell, decoder_layers=2)
    answers, gradients = passes(config, 2, dtype=torch.float64)
    choose(monkeypatch, False)
    expected, expected_gradients = passes(config, 2, dtype=torch.float64)
    torch.testing.assert_close(answers, expected)
    torch.testing.assert_close(gradients, expected_gradients)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_is_near_float32(architecture):
    config = small_config(encoder=architecture, decoder=architecture, decoder_layers=2, encoder_layers=2)
    expected, expected_gradients = passes(config, 3)
    with torch.autocast("cpu", torch.bfloat16):
        answers, gradients = passes(config, 3)
    # Loops keep everything as the weights are; convolutions leave it to autocast.
    assert answers.dtype == (torch.float32 if architecture == "rnn" else torch.bfloat16)
    assert 1e-5 < difference(answers.float(), expected) < 0.03
    for name, gradient in gradients.items():
        assert difference(gradient, expected_gradients[name]) < 0.1, name


def test_a_second_backward_pass_is_refused():
    model = small_model()
    loss = model(*SOURCE, *TARGET).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=150))
def test_steps_have_every_token_once_and_few_others(lengths):
    length, width = torch.tensor(lengths), max(lengths) + 1
    steps = Steps.of(length, len(lengths), width, length.device)
    positions = steps.positions.tolist()
    real = {row * width + step for row, of_row in enumerate(lengths) for step in range(of_row)}
    assert len(set(positions)) == len(positions) == steps.total
    assert real <= set(positions)
    assert list(steps.sizes) == sorted(steps.sizes, reverse=True)
    assert len(steps.sizes) == max(lengths)
    assert all(size - sum(n > step for n in lengths) < 8 for step, size in enumerate(steps.sizes))
    batch = torch.arange(len(lengths) * width, dtype=torch.float32).view(-1, width)
    assert torch.equal(steps.gather(batch), torch.tensor(positions, dtype=torch.float32))
    mask = length_mask(length, width)
    assert torch.equal(steps.scatter(steps.gather(batch))[mask], batch[mask])
