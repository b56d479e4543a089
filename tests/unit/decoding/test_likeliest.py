"""The likeliest tokens, block by block, against a search through all of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s_algo.decoding import likeliest as module
from s2s_algo.decoding.likeliest import likeliest, plain_likeliest
from tests.unit.decoding.searching import assert_equal, search, searching_model

BLOCK = module._BLOCK


def logits_of(rows, size, scale=3.0, seed=0):
    return scale * torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def blockwise_calls(monkeypatch):
    calls = []
    fast = module._blockwise
    monkeypatch.setattr(module, "_blockwise", lambda logits, number: calls.append(1) or fast(logits, number))
    return calls


@settings(deadline=None, max_examples=100)
@given(
    rows=st.integers(1, 7),
    number=st.integers(1, 6),
    more=st.integers(0, 2 * BLOCK),
    scale=st.sampled_from([0.1, 3.0, 60.0]),
    seed=st.integers(0, 1000),
)
def test_they_are_those_of_a_search_through_all(rows, number, more, scale, seed):
    logits = logits_of(rows, module._WORTHWHILE * BLOCK * number + more, scale, seed)
    surprise, words = plain_likeliest(logits.clone(), number)
    ours, our_words = module._blockwise(logits.clone(), number)
    assert torch.equal(our_words, words)
    torch.testing.assert_close(ours, surprise, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [4 * BLOCK, 4 * BLOCK + 1, 5 * BLOCK - 1])
def test_every_place_can_be_the_likeliest(size, blockwise_calls):
    logits = torch.zeros(size, size)
    logits.fill_diagonal_(9.0)
    surprise, words = likeliest(logits.clone(), 1)
    assert blockwise_calls
    assert words[:, 0].tolist() == list(range(size))
    torch.testing.assert_close(surprise, plain_likeliest(logits, 1)[0], rtol=1e-5, atol=1e-6)


def test_equal_logits_give_different_tokens_of_equal_surprise(blockwise_calls):
    logits = torch.zeros(3, 20 * BLOCK + 7)
    logits[1, ::5] = 2.0  # many more than are wanted, in every block
    logits[2, 20 * BLOCK :] = 2.0
    surprise, words = likeliest(logits.clone(), 4)
    assert blockwise_calls
    assert all(len(set(row)) == 4 for row in words.tolist())
    assert torch.equal(logits.gather(1, words), torch.tensor([0.0, 2.0, 2.0])[:, None].expand(3, 4))
    torch.testing.assert_close(surprise, plain_likeliest(logits, 4)[0], rtol=1e-5, atol=1e-6)


def test_impossible_tokens_are_infinitely_surprising():
    logits = torch.full((2, 4 * BLOCK * 2), -torch.inf)
    logits[0, 3] = logits[1, -1] = 0.0
    surprise, words = likeliest(logits, 2)
    assert words[:, 0].tolist() == [3, 4 * BLOCK * 2 - 1]
    assert surprise.tolist() == [[0.0, torch.inf]] * 2


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_row_without_probabilities_spoils_no_other(number, bad, blockwise_calls):
    logits = logits_of(3, 4 * BLOCK * number)
    expected, expected_words = plain_likeliest(logits.clone(), number)
    logits[1, 5] = bad
    surprise, words = likeliest(logits, number)
    assert blockwise_calls
    assert words[1, 0] == 5
    assert surprise[1].isnan().all()
    assert torch.equal(words[::2], expected_words[::2])
    torch.testing.assert_close(surprise[::2], expected[::2], rtol=1e-5, atol=1e-5)


def test_few_tokens_are_all_looked_at(blockwise_calls):
    likeliest(logits_of(2, 4 * BLOCK - 1), 1)
    likeliest(logits_of(2, 40 * BLOCK), 11)
    assert not blockwise_calls


def test_a_search_finds_the_same_either_way(monkeypatch, blockwise_calls):
    model = searching_model()
    sources, limits = [[5, 6, 7, 8], [9], [4, 4, 12, 11, 10, 1]], [9, 4, 12]
    expected = search(model, sources, limits, 3, n_best=3)
    assert not blockwise_calls
    monkeypatch.setattr(module, "_BLOCK", 2)
    monkeypatch.setattr(module, "_WORTHWHILE", 1)
    found = search(model, sources, limits, 3, n_best=3)
    assert blockwise_calls
    for ours, others in zip(found, expected, strict=True):
        for one, other in zip(ours, others, strict=True):
            assert_equal(one, other)
