"""The loss and its totals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from s2s_algo.data.batches import Batch
from s2s_algo.training.loss import Totals, batch_loss
from tests.unit.small_model import SOURCE_SIZE, TARGET_SIZE, configs, padded, seeds, small_model

BOS, EOS = 2, 3

pairs = st.lists(
    st.tuples(
        st.lists(st.integers(1, SOURCE_SIZE - 1), min_size=1, max_size=6),
        st.lists(st.integers(1, TARGET_SIZE - 1), max_size=5),
    ),
    min_size=1,
    max_size=4,
)


def batch_of(pairs, width=0):
    source, source_length = padded([source for source, _ in pairs], width)
    target_in, target_length = padded([[BOS, *target] for _, target in pairs], width)
    target_label, _ = padded([[*target, EOS] for _, target in pairs], width)
    return Batch(source, source_length, target_in, target_label, target_length)


def full_logits(model, batch):
    """Padding included."""
    return model.output_layer(model(batch.source, batch.source_length, batch.target_in))


BATCH = batch_of([([5, 6, 7], [4, 5]), ([8], []), ([9, 10], [6, 7, 8])], width=6)


@settings(max_examples=25, deadline=None)
@given(configs, pairs, seeds)
def test_loss_and_gradients_are_those_of_torch_without_padding(config, pairs, seed):
    batch = batch_of(pairs, width=8)
    ours, theirs = small_model(config, seed), small_model(config, seed)
    loss, _ = batch_loss(ours, batch)
    expected = functional.cross_entropy(
        full_logits(theirs, batch).flatten(0, 1), batch.target_label.flatten(), ignore_index=0
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


def test_totals_count_real_tokens_alone():
    model = small_model()
    logits = full_logits(model, BATCH).detach()
    real = BATCH.target_label != 0
    loss, totals = batch_loss(model, BATCH)
    assert totals.tokens == 8
    assert totals.correct == int((logits.argmax(-1) == BATCH.target_label)[real].sum())
    assert totals.negative_log_likelihood == pytest.approx(8 * loss.item(), rel=1e-6)
    assert totals.perplexity == pytest.approx(math.exp(loss.item()), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(configs, pairs, seeds, st.floats(0.01, 0.9))
def test_smoothed_labels_ask_for_the_right_token_and_in_equal_parts_for_all_others(config, pairs, seed, smoothing):
    batch = batch_of(pairs, width=8)
    ours, theirs = small_model(config, seed), small_model(config, seed)
    loss, totals = batch_loss(ours, batch, smoothing)
    wanted = torch.full((TARGET_SIZE, TARGET_SIZE), smoothing / (TARGET_SIZE - 1)).fill_diagonal_(1 - smoothing)
    real = batch.target_label != 0
    log_probabilities = full_logits(theirs, batch).log_softmax(-1)[real]
    expected = -(wanted[batch.target_label[real]] * log_probabilities).sum(-1).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)
    # Perplexity and accuracy are those of the labels as they are.
    assert totals == batch_loss(small_model(config, seed), batch)[1]


def test_without_smoothing_nothing_changes():
    model = small_model()
    assert torch.equal(batch_loss(model, BATCH, 0.0)[0], batch_loss(model, BATCH)[0])


def certain_of(token, confidence):
    """A model that nearly always says the same."""
    model = small_model()
    with torch.no_grad():
        model.output_layer.weight.zero_()
        model.output_layer.bias.zero_()
        model.output_layer.bias[token] = confidence
    return model


def test_accuracy_is_the_share_of_right_first_choices():
    _, totals = batch_loss(certain_of(EOS, 5.0), BATCH)
    assert (totals.correct, totals.tokens, totals.accuracy) == (3, 8, 3 / 8)


def test_a_hopeless_token_counts_as_a_probability_of_one_in_ten_billion():
    batch = batch_of([([5], [])])
    loss, totals = batch_loss(certain_of(4, 500.0), batch)
    assert loss.item() == pytest.approx(500)
    assert totals.perplexity == pytest.approx(1e10, rel=1e-5)


def test_totals_add_up_over_batches():
    model = small_model()
    halves = [batch_of([([5, 6, 7], [4, 5])]), batch_of([([8], []), ([9, 10], [6, 7, 8])])]
    summed = Totals()
    for half in halves:
        summed.add(batch_loss(model, half)[1])
    _, whole = batch_loss(model, BATCH)
    assert (summed.correct, summed.tokens) == (whole.correct, whole.tokens)
    assert summed.perplexity == pytest.approx(whole.perplexity, rel=1e-6)
    assert summed.accuracy == whole.accuracy


def test_totals_of_nothing_divide_by_nothing():
    assert (Totals().perplexity, Totals().accuracy) == (1.0, 0.0)


def test_the_loss_does_not_depend_on_the_width_of_the_padding():
    pairs = [([5, 6, 7], [4, 5]), ([8], [])]
    model = small_model()
    torch.testing.assert_close(batch_loss(model, batch_of(pairs, 4))[0], batch_loss(model, batch_of(pairs, 12))[0])
