"""Attention over the source."""

import pytest
import torch

from s2s_algo.model.attention import EncodedSource, build_attention
from s2s_algo.model.config import AttentionConfig
from tests.unit.small_model import ATTENTIONS

SOURCE, QUERY = 6, 5
LENGTH = torch.tensor([3, 1, 7])


@pytest.fixture(params=ATTENTIONS)
def attention(request):
    return make(request.param)


def make(kind, num_hidden=4, source_size=SOURCE, query_size=QUERY):
    attention = build_attention(AttentionConfig(type=kind, num_hidden=num_hidden), source_size, query_size)
    return randomised(attention)


def randomised(module, seed=1):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-1, 1, generator=generator)
    return module


def normal(*shape, seed=2):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def source(size=SOURCE):
    return EncodedSource(normal(len(LENGTH), 7, size), LENGTH)


def inside():
    return torch.arange(7) < LENGTH[:, None]


def test_weights_sum_to_one(attention):
    _, weights = attention(normal(3, QUERY), attention.remember(source()))
    assert weights.shape == (3, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3))
    assert (weights >= 0).all()


def test_padding_gets_no_weight_at_all(attention):
    _, weights = attention(normal(3, QUERY), attention.remember(source()))
    assert not weights[~inside()].any()


def test_every_token_gets_some_weight():
    for kind in ("mlp", "dot", "bilinear"):
        attention = make(kind)
        _, weights = attention(normal(3, QUERY), attention.remember(source()))
        assert (weights[inside()] > 0).all()


def test_poison_in_the_padding_changes_nothing(attention):
    clean = source()
    poisoned = EncodedSource(clean.states.masked_fill(~inside()[:, :, None], 1e4), LENGTH)
    query = normal(3, QUERY)
    for ours, expected in zip(
        attention(query, attention.remember(poisoned)), attention(query, attention.remember(clean)), strict=True
    ):
        assert torch.equal(ours, expected)


def test_the_context_is_the_weighted_mean_of_the_states_and_not_of_the_keys(attention):
    encoded = source()
    context, weights = attention(normal(3, QUERY), attention.remember(encoded))
    assert context.shape == (3, SOURCE)
    torch.testing.assert_close(context, torch.einsum("bs,bsh->bh", weights, encoded.states))


def test_several_queries_of_a_sentence_equal_separate_calls(attention):
    memory = attention.remember(source())
    queries = normal(3, 4, QUERY)
    context, weights = attention(queries.flatten(0, 1), memory)
    for number in range(4):
        one_context, one_weights = attention(queries[:, number], memory)
        torch.testing.assert_close(context.view(3, 4, -1)[:, number], one_context)
        torch.testing.assert_close(weights.view(3, 4, -1)[:, number], one_weights)


def test_a_selected_memory_is_that_of_the_selected_sentences(attention):
    memory = attention.remember(source())
    query = normal(2, QUERY)
    rows = torch.tensor([2, 0])
    encoded = EncodedSource(source().states[rows], LENGTH[rows])
    for ours, expected in zip(
        attention(query, memory.select(rows)), attention(query, attention.remember(encoded)), strict=True
    ):
        torch.testing.assert_close(ours, expected)


def test_the_memory_is_not_kept_on_the_module(attention):
    before = {name: value for name, value in vars(attention).items() if not name.startswith("_")}
    attention(normal(3, QUERY), attention.remember(source()))
    assert {name: value for name, value in vars(attention).items() if not name.startswith("_")} == before
    assert not list(attention.buffers())


# The formulas, written out for one sentence and one query.


def expected_weights(score, states):
    return torch.stack([score(state) for state in states]).softmax(0)


def check_formula(attention, score, source_size=SOURCE, query_size=QUERY):
    encoded, query = source(source_size), normal(3, query_size, seed=3)
    _, weights = attention(query, attention.remember(encoded))
    for row, length in enumerate(LENGTH.tolist()):
        expected = expected_weights(lambda state, row=row: score(state, query[row]), encoded.states[row, :length])
        torch.testing.assert_close(weights[row, :length], expected)


def test_mlp_scores_with_one_hidden_layer_without_biases():
    attention = make("mlp")
    assert {name for name, _ in attention.named_parameters()} == {
        f"{layer}_layer.weight" for layer in ("source", "query", "score")
    }
    e2h, q2h, h2s = attention.source_layer.weight, attention.query_layer.weight, attention.score_layer.weight
    check_formula(attention, lambda state, query: h2s[0] @ torch.tanh(e2h @ state + q2h @ query))


@pytest.mark.parametrize(("num_hidden", "source_projected", "query_projected"), [(4, 1, 1), (6, 0, 1), (5, 1, 0)])
def test_dot_projects_only_what_has_another_size(num_hidden, source_projected, query_projected):
    attention = make("dot", num_hidden)
    names = {name for name, _ in attention.named_parameters()}
    assert ("source_layer.weight" in names, "query_layer.weight" in names) == (source_projected, query_projected)
    s2h = attention.source_layer.weight if source_projected else torch.eye(6)
    t2h = attention.query_layer.weight if query_projected else torch.eye(5)
    check_formula(attention, lambda state, query: (s2h @ state) @ (t2h @ query))


def test_dot_of_equal_sizes_has_no_weights_and_no_scale():
    attention = make("dot", 6, 6, 6)
    assert not list(attention.parameters())
    check_formula(attention, lambda state, query: state @ query, 6, 6)


@pytest.mark.parametrize("num_hidden", [4, 9])
def test_bilinear_maps_the_source_to_the_query_and_ignores_the_hidden_size(num_hidden):
    attention = make("bilinear", num_hidden)
    s2t = attention.source_layer.weight
    assert s2t.shape == (QUERY, SOURCE)
    assert len(list(attention.parameters())) == 1
    check_formula(attention, lambda state, query: (s2t @ state) @ query)


def test_fixed_always_looks_at_the_last_token():
    attention = make("fixed")
    assert not list(attention.parameters())
    context, weights = attention(normal(3, QUERY), attention.remember(source()))
    assert weights.argmax(-1).tolist() == (LENGTH - 1).tolist()
    assert torch.equal(context, source().last())


# What the decoder starts from.


def test_last_and_average_take_no_notice_of_padding():
    clean = source()
    poisoned = EncodedSource(clean.states.masked_fill(~inside()[:, :, None], 1e4), LENGTH)
    for row, length in enumerate(LENGTH.tolist()):
        assert torch.equal(poisoned.last()[row], clean.states[row, length - 1])
        torch.testing.assert_close(poisoned.average()[row], clean.states[row, :length].mean(0))
