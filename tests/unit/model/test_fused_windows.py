"""Convolutions of tokens alone against their plain twins, which compute padding as well: values and all gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s_algo.model.convolution import cut_windows
from s2s_algo.model.fused_windows import windows
from s2s_algo.model.shapes import length_mask
from s2s_algo.model.steps import Tokens
from tests.unit.model.test_fused_loops import choose, difference, passes, together
from tests.unit.small_model import configs_of, padded, parallel, seeds, small_config, small_model

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def tokens_of(lengths, width=None):
    return Tokens.of(torch.tensor(lengths), len(lengths), width or max(lengths), torch.device("cpu"))


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40), more=st.integers(0, 3))
def test_tokens_come_first_and_padding_only_to_make_their_number_round(lengths, more):
    width = max(lengths) + more
    tokens = tokens_of(lengths, width)
    real = [row * width + place for row, length in enumerate(lengths) for place in range(length)]
    assert tokens.positions[: len(real)].tolist() == real
    assert tokens.place[: len(real)].tolist() == [place for length in lengths for place in range(length)]
    assert tokens.left[: len(real)].tolist() == [left for length in lengths for left in reversed(range(length))]
    assert (tokens.left[len(real) :] < 0).all()
    number = len(tokens.positions)
    assert len(set(tokens.positions.tolist())) == number < len(real) + 32
    assert number % 32 == 0 or number == len(lengths) * width


@settings(deadline=None)
@given(lengths=lengths, more=st.integers(0, 40), before=st.integers(0, 4), after=st.integers(0, 4))
def test_windows_of_tokens_and_their_gradients_are_those_of_padded_sentences(lengths, more, before, after):
    width = max(lengths) + more
    batch = torch.randn(len(lengths), width, 3, dtype=torch.float64, requires_grad=True)
    tokens, mask = tokens_of(lengths, width), length_mask(torch.tensor(lengths), width)
    upstream = torch.randn(*batch.shape, before + 1 + after, dtype=torch.float64) * mask[:, :, None, None]
    found = tokens.scatter(windows(tokens.gather(batch), tokens, before, after))
    expected = cut_windows(batch.masked_fill(~mask[:, :, None], 0), before, after)
    torch.testing.assert_close(found[mask], expected[mask])
    of_found, of_expected = (torch.autograd.grad(value, batch, upstream)[0] for value in (found, expected))
    torch.testing.assert_close(of_found, of_expected)


@settings(max_examples=60, deadline=None)
@given(config=configs_of(encoders=["cnn"], decoders=["cnn"]), pairs=parallel(), seed=seeds)
def test_values_and_gradients_are_those_of_the_plain_convolutions(config, pairs, seed):
    with pytest.MonkeyPatch.context() as monkeypatch:
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
    assert difference(fast, plain) < 1e-5
    assert difference(together(fast_gradients), together(plain_gradients)) < 1e-5


def test_no_token_sees_the_padding_that_makes_their_number_round():
    """Wherever the gradient of such a row went, it would change with what stands there."""
    model = small_model(small_config(encoder="cnn", decoder="cnn", encoder_layers=2, decoder_layers=2)).double()
    sentences = [[4, 5, 6], [7], [8, 9]]
    source, length = padded(sentences, 7)
    target, target_length = padded(sentences, 5)
    found = []
    for junk in (0, 5):
        answers = model(
            source.masked_fill(~length_mask(length, 7), junk),
            length,
            target.masked_fill(~length_mask(target_length, 5), junk),
            target_length,
        )
        answers = answers[length_mask(target_length, 5)]
        found.append([answers, *torch.autograd.grad(answers.sum(), [model.encoder.input_layer.weight])])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
