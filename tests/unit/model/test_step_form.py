"""What holds for every mix of encoder and decoder: a search, step by step, computes what training does."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s_algo.model.attention import Memory
from tests.unit.small_model import (
    ACTIVATIONS,
    ARCHITECTURES,
    ATTENTIONS,
    CELLS,
    SOURCE_SIZE,
    TARGET_SIZE,
    configs,
    padded,
    parallel,
    seeds,
    small_config,
    small_model,
    source_batches,
    step_by_step,
)

every_mix = pytest.mark.parametrize(("encoder", "decoder"), [(e, d) for e in ARCHITECTURES for d in ARCHITECTURES])


def deep_model(encoder, decoder, **options):
    layers = {"encoder_layers": 2, "decoder_layers": 3, "decoder_kernel": 3}
    return small_model(small_config(encoder=encoder, decoder=decoder, **layers | options)).double()


@settings(max_examples=150, deadline=None)
@given(config=configs, pairs=parallel(), seed=seeds)
@torch.no_grad()
def test_the_step_form_equals_the_sequence_form(config, pairs, seed):
    model = small_model(config, seed).double()
    (source, length), (target, _) = map(padded, pairs)
    encoded = model.encode(source, length)
    answers, attention = step_by_step(model, encoded, model.target_embedding(target))
    torch.testing.assert_close(answers, model(source, length, target))
    assert attention.shape == (len(source), target.shape[1], source.shape[1])


@every_mix
@torch.no_grad()
def test_the_step_form_equals_the_sequence_form_in_single_precision(encoder, decoder):
    model = deep_model(encoder, decoder).float()
    source, length = padded([[5, 6, 7], [8, 9], [10] * 9])
    target = torch.randint(1, TARGET_SIZE, (3, 25), generator=torch.Generator().manual_seed(1))
    answers, _ = step_by_step(model, model.encode(source, length), model.target_embedding(target))
    torch.testing.assert_close(answers, model(source, length, target), atol=1e-4, rtol=1e-4)


@settings(max_examples=50, deadline=None)
@given(config=configs, pairs=parallel(), seed=seeds)
@torch.no_grad()
def test_attention_weights_sum_to_one_and_are_zero_at_padding(config, pairs, seed):
    model = small_model(config, seed)
    source, length = padded(pairs[0], 9)
    _, attention = step_by_step(model, model.encode(source, length), model.target_embedding(padded(pairs[1])[0]))
    padding = torch.arange(source.shape[1]) >= length[:, None]
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:2]))
    assert (attention >= 0).all()
    assert not attention.masked_select(padding[:, None, :]).any()


@settings(max_examples=50, deadline=None)
@given(config=configs, pairs=parallel(), seed=seeds)
@torch.no_grad()
def test_a_pair_is_decoded_alike_alone_and_in_a_padded_batch(config, pairs, seed):
    model = small_model(config, seed).double()
    (source, length), (target, target_length) = padded(pairs[0], 9), padded(pairs[1], 8)
    batched = model(source, length, target)
    for row in range(len(source)):
        real = target_length[row]
        alone = model(source[row : row + 1, : length[row]], length[row : row + 1], target[row : row + 1, :real])[0]
        torch.testing.assert_close(batched[row, :real], alone)


@settings(max_examples=50, deadline=None)
@given(config=configs, sentences=source_batches, seed=seeds)
@torch.no_grad()
def test_poison_in_the_padding_of_the_source_changes_no_answer(config, sentences, seed):
    model = small_model(config, seed)
    source, length = padded(sentences, 9)
    embedded = model.source_embedding(source)
    padding = torch.arange(source.shape[1]) >= length[:, None]
    clean, poisoned = (
        model.decoder(model.target_embedding(torch.tensor([[2, 4, 5]] * len(source))), model.encoder(numbers, length))
        for numbers in (embedded, embedded.masked_fill(padding[:, :, None], 1e4))
    )
    assert torch.equal(clean, poisoned)


@settings(max_examples=50, deadline=None)
@given(config=configs, seed=seeds, position=st.integers(0, 5))
@torch.no_grad()
def test_no_step_depends_on_later_target_tokens(config, seed, position):
    model = small_model(config, seed)
    source, length = padded([[5, 6, 7]])
    target = torch.tensor([[2, 4, 5, 6, 7, 8]])
    changed = target.clone()
    changed[0, position] = 9
    one, other = (model(source, length, tokens) for tokens in (target, changed))
    assert torch.equal(one[:, :position], other[:, :position])


@every_mix
@torch.no_grad()
def test_every_step_depends_on_its_own_token(encoder, decoder):
    model = deep_model(encoder, decoder)
    source, length = padded([[5, 6, 7]])
    one, other = (model(source, length, torch.tensor([target])) for target in ([2, 4, 5, 6], [2, 4, 9, 6]))
    assert torch.equal(one[:, :2], other[:, :2])
    assert not torch.allclose(one[:, 2], other[:, 2])


@every_mix
@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_selected_rows_go_on_as_they_would_have(encoder, decoder, cell):
    model = deep_model(encoder, decoder, cell=cell)
    state, memory = model.decoder.start(model.encode(*padded([[5, 6, 7], [8, 9], [10]])))
    rows = torch.tensor([2, 0, 0])

    def step(tokens, state, memory):
        return model.decoder.step(model.target_embedding(tokens), state, memory)

    for tokens in ([4, 5, 6], [6, 4, 4]):
        _, state, _ = step(torch.tensor(tokens), state, memory)
    chosen_state, chosen_memory = state.select(rows), memory.select(rows)
    for tokens in (torch.tensor([7, 8, 9]), torch.tensor([5, 6, 4]), torch.tensor([8, 8, 10])):
        whole, state, weights = step(tokens, state, memory)
        chosen, chosen_state, chosen_weights = step(tokens[rows], chosen_state, chosen_memory)
        torch.testing.assert_close(chosen, whole[rows])
        torch.testing.assert_close(chosen_weights, weights[rows])


@every_mix
@torch.no_grad()
def test_several_rows_of_a_sentence_share_its_memory(encoder, decoder):
    model = deep_model(encoder, decoder)
    state, memory = model.decoder.start(model.encode(*padded([[5, 6, 7], [8, 9]])))
    tokens = torch.tensor([4, 5, 6, 7, 8, 9])
    rows = torch.tensor([0, 0, 0, 1, 1, 1])
    many, after, weights = model.decoder.step(model.target_embedding(tokens), state.select(rows), memory)
    again, _, again_weights = model.decoder.step(model.target_embedding(tokens.flip(0)), after, memory)
    for row in range(6):
        sentence = rows[row : row + 1]
        own = memory.select(sentence)
        one, one_after, one_weights = model.decoder.step(
            model.target_embedding(tokens[row : row + 1]), state.select(sentence), own
        )
        torch.testing.assert_close(many[row], one[0])
        torch.testing.assert_close(weights[row], one_weights[0])
        one, _, one_weights = model.decoder.step(model.target_embedding(tokens.flip(0)[row : row + 1]), one_after, own)
        torch.testing.assert_close(again[row], one[0])
        torch.testing.assert_close(again_weights[row], one_weights[0])


@settings(max_examples=30, deadline=None)
@given(config=configs, seed=seeds)
@torch.no_grad()
def test_a_step_changes_neither_the_state_nor_the_memory_that_it_was_given(config, seed):
    model = small_model(config, seed)
    state, memory = model.decoder.start(model.encode(*padded([[5, 6, 7], [8, 9]])))
    embedded = model.target_embedding(torch.tensor([4, 5]))
    _, other, _ = model.decoder.step(embedded, state, memory)
    model.decoder.step(embedded, other, memory)
    one, _, weights = model.decoder.step(embedded, state, memory)
    fresh, _, fresh_weights = model.decoder.step(
        embedded, *model.decoder.start(model.encode(*padded([[5, 6, 7], [8, 9]])))
    )
    assert torch.equal(one, fresh)
    assert torch.equal(weights, fresh_weights)


@every_mix
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_selection_touches_every_part_of_the_memory(encoder, decoder, attention):
    model = deep_model(encoder, decoder, attention=attention)
    _, memory = model.decoder.start(model.encode(*padded([[5, 6, 7], [8, 9]])))
    selected = memory.select(torch.tensor([1, 1, 0, 1]))
    parts = [
        field.name for field in fields(Memory) if getattr(memory, field.name) is not None and field.name != "hypotheses"
    ]
    assert {len(getattr(selected, name)) for name in parts} == {4}


def test_rows_that_ask_get_what_all_of_them_would_get():
    model = deep_model("rnn", "rnn")
    _, memory = model.decoder.start(model.encode(*padded([[5, 6, 7], [8, 9]])))
    queries = torch.randn(6, model.config.decoder.num_hidden, dtype=memory.values.dtype)
    some = torch.tensor([0, 2, 3, 4])
    with torch.no_grad():
        expected = [part[some] for part in model.decoder.attention(queries, memory)]
        found = model.decoder.attention(queries[some], memory.asked_by(some, 6))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@every_mix
@torch.no_grad()
def test_the_answer_depends_on_source_and_target(encoder, decoder):
    model = deep_model(encoder, decoder)

    def answer(source, target):
        return model(*padded([source]), torch.tensor([target]))[0, -1]

    base = answer([5, 6, 7], [2, 4, 5])
    assert not torch.allclose(base, answer([5, 6, SOURCE_SIZE - 1], [2, 4, 5]))
    assert not torch.allclose(base, answer([5, 6, 7], [2, TARGET_SIZE - 1, 5]))


@every_mix
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("decoder_hidden", [6, 5])
def test_finite_gradients_reach_every_parameter(encoder, decoder, activation, decoder_hidden):
    model = deep_model(
        encoder,
        decoder,
        decoder_hidden=decoder_hidden,
        encoder_activation=activation,
        decoder_activation=activation,
        attention="dot",
    )
    outputs = model(*padded([[5, 6, 7], [8, 9]]), torch.tensor([[2, 4, 5], [2, 6, 7]]))
    model.output_layer(outputs).log_softmax(-1).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
