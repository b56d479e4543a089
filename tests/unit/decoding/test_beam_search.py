"""The batched beam search against the plain one."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s_algo.decoding.beam_search import Sentence
from s2s_algo.decoding.ranking import LengthPenalty
from s2s_algo.model.inference import RankingRule
from tests.unit.decoding.oracle import BOS, EOS, PAD, plain_beam_search, plain_greedy
from tests.unit.decoding.searching import (
    approx,
    assert_equal,
    batch,
    check_hypothesis,
    same_examples,
    search,
    searching_model,
)
from tests.unit.small_model import (
    ARCHITECTURES,
    SOURCE_SIZE,
    TARGET_SIZE,
    configs,
    padded,
    seeds,
    small_config,
    source_batches,
)

alphas = st.sampled_from([0.0, 0.6, 1.0])
betas = st.sampled_from([0.0, 2.0])
rules = st.sampled_from(get_args(RankingRule))
SENTENCES = [[5, 6, 7, 8], [9], [4, 4, 12, 11, 10, 1], [3, 8], [12] * 7]


@same_examples
@given(
    config=configs,
    seed=seeds,
    sentences=source_batches,
    beam_size=st.integers(1, 6),
    alpha=alphas,
    beta=betas,
    rule=rules,
    eos_bias=st.sampled_from([-1.0, 1.0, 3.0]),
    data=st.data(),
)
def test_every_best_hypothesis_is_that_of_the_plain_search(
    config, seed, sentences, beam_size, alpha, beta, rule, eos_bias, data
):
    model = searching_model(config, seed, eos_bias)
    limits = data.draw(st.lists(st.integers(1, 9), min_size=len(sentences), max_size=len(sentences)))
    found = search(model, sentences, limits, beam_size, alpha, beta, n_best=beam_size, rule=rule)
    for sentence, limit, ours in zip(sentences, limits, found, strict=True):
        plain = plain_beam_search(model, sentence, limit, beam_size, alpha, beta, rule)
        assert len(ours) == len(plain) == beam_size
        for hypothesis, expected in zip(ours, plain, strict=True):
            check_hypothesis(hypothesis, expected, len(sentence), alpha, beta, rule)


@pytest.mark.parametrize("rule", get_args(RankingRule))
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("beta", [0.0, 2.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_long_searches_with_every_penalty_follow_the_plain_one(architecture, alpha, beta, rule):
    config = small_config(encoder=architecture, decoder=architecture, decoder_kernel=3)
    model = searching_model(config, seed=3, eos_bias=-1.0)
    limits = [25, 3, 25, 9, 14]
    found = search(model, SENTENCES, limits, 4, alpha, beta, n_best=4, rule=rule)
    lengths = set()
    for sentence, limit, ours in zip(SENTENCES, limits, found, strict=True):
        plainly = plain_beam_search(model, sentence, limit, 4, alpha, beta, rule)
        for hypothesis, plain in zip(ours, plainly, strict=True):
            check_hypothesis(hypothesis, plain, len(sentence), alpha, beta, rule)
            lengths.add(len(hypothesis.token_ids))
    assert len(lengths) > 2


def test_the_penalties_matter():
    model = searching_model(seed=3, eos_bias=-1.0)
    found = {
        (alpha, beta): [
            hypotheses[0].token_ids.tolist() for hypotheses in search(model, SENTENCES, [12] * 5, 4, alpha, beta)
        ]
        for alpha, beta in [(0.0, 0.0), (1.0, 0.0), (1.0, 8.0)]
    }
    assert found[0.0, 0.0] != found[1.0, 0.0]
    assert found[1.0, 0.0] != found[1.0, 8.0]


@settings(same_examples, max_examples=40)
@given(config=configs, seed=seeds, sentences=source_batches, eos_bias=st.sampled_from([-1.0, 1.0]))
def test_a_beam_of_one_is_greedy(config, seed, sentences, eos_bias):
    model = searching_model(config, seed, eos_bias)
    for (ours,), sentence in zip(search(model, sentences, [8] * len(sentences), 1), sentences, strict=True):
        tokens, cost = plain_greedy(model, sentence, 8)
        assert ours.token_ids.tolist() == [token for token in tokens if token != PAD]
        assert ours.score == approx(cost)


@same_examples
@given(
    config=configs,
    seed=seeds,
    sentences=source_batches,
    order=st.randoms(use_true_random=False),
    more=source_batches,
    places=st.integers(1, 6),
)
def test_no_translation_depends_on_batch_mates_or_on_when_they_enter_and_leave(
    config, seed, sentences, order, more, places
):
    model = searching_model(config, seed)
    alone = [search(model, [source], [len(source) + 3], 3, n_best=2)[0] for source in sentences]
    waiting = [Sentence(source, len(source) + 3, 2) for source in sentences]
    expected = dict(zip(waiting, alone, strict=True))
    waiting += [Sentence(source, len(source) + order.randint(1, 9)) for source in more]
    order.shuffle(waiting)
    running, found, withdrawn = batch(model, 3, places=places), {}, set()
    while waiting or running.sentences:
        if waiting and running.free and (not running.sentences or order.random() < 0.5):
            entering = [waiting.pop() for _ in range(order.randint(1, min(len(waiting), running.free)))]
            running.enter(entering)
        elif order.random() < 0.1:
            unwanted = {sentence for sentence in running.sentences if sentence not in expected}
            running.withdraw(unwanted.__contains__)
            withdrawn |= unwanted
        found |= dict(running.step())
    assert not withdrawn & set(found)
    assert running.free == places
    for sentence, hypotheses in expected.items():
        for ours, other in zip(found[sentence], hypotheses, strict=True):
            assert_equal(ours, other)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_attention_all_else_is_the_same(architecture):
    model = searching_model(small_config(encoder=architecture, decoder=architecture))
    running = batch(model, with_attention=False)
    running.enter([Sentence(source, 9, 2) for source in SENTENCES])
    found = {}
    while running.sentences:
        found |= {tuple(sentence.source): hypotheses for sentence, hypotheses in running.step()}
    for source, expected in zip(SENTENCES, search(model, SENTENCES, [9] * 5, n_best=2), strict=True):
        for ours, other in zip(found[tuple(source)], expected, strict=True):
            assert ours.token_ids.tolist() == other.token_ids.tolist()
            assert ours.score == other.score
            assert ours.attention.shape == (len(ours.token_ids), 0)


def test_an_empty_batch_does_nothing():
    running = batch(searching_model())
    running.withdraw(lambda sentence: True)
    assert running.step() == []
    running.enter([Sentence(source, 9) for source in SENTENCES])
    assert running.free == 5
    running.withdraw(lambda sentence: True)
    assert (running.sentences, running.step(), running.free) == ((), [], 10)
    # Done at once, they are still there until they are returned.
    one, other = (Sentence(source, 1) for source in SENTENCES[:2])
    running.enter([one, other])
    assert (running.sentences, running.free) == ((one, other), 10)
    running.withdraw(lambda sentence: sentence is one)
    assert [sentence for sentence, _ in running.step()] == [other]
    assert running.sentences == ()


def test_each_sentence_has_its_own_limit_and_is_returned_as_it_is_there():
    model = searching_model(eos_bias=-60.0)
    limits = [1, 7, 3, 3, 12]
    found = search(model, SENTENCES, limits, 4)
    assert [len(hypotheses[0].token_ids) for hypotheses in found] == limits
    assert all(EOS not in hypotheses[0].token_ids for hypotheses in found)
    # The first tokens are those of a longer search only where there is one hypothesis; so compare that case.
    short, long = (search(model, SENTENCES, [limit] * 5, 1) for limit in (3, 9))
    for (one,), (other,) in zip(short, long, strict=True):
        assert one.token_ids.tolist() == other.token_ids[:3].tolist()


def test_a_finished_hypothesis_ends_with_eos_and_has_no_other():
    model = searching_model(eos_bias=2.0)
    found = search(model, SENTENCES, [20] * 5, 4, n_best=4)
    for hypotheses in found:
        for hypothesis in hypotheses:
            assert hypothesis.token_ids.tolist().index(EOS) == len(hypothesis.token_ids) - 1


class TableModel:
    """Says the next token by the last one alone, as a table of probabilities says; looks at the whole source."""

    def __init__(self, table):
        self.table = torch.tensor(table)
        self.decoder = self
        self.device = self.table.device

    def encode(self, source, length):
        return source

    def target_embedding(self, tokens):
        return tokens

    def start(self, source):
        return TableState(source), TableState(source)

    def step(self, tokens, state, memory):
        width = memory.source.shape[1]
        return tokens, state, torch.full((len(tokens), width), 1 / width)

    def output_layer(self, tokens):
        return self.table[tokens].log()


class TableState:
    def __init__(self, source):
        self.source = source

    def select(self, rows):
        return TableState(self.source[rows])

    def cut(self, width):
        return TableState(self.source[:, :width])

    def asked_by(self, asking, hypotheses):
        return self


def table_search(table, limit=5, **options):
    (found,) = search(TableModel(table), [[5, 6]], [limit], n_best=options["beam_size"], **options)
    return [(hypothesis.token_ids.tolist(), pytest.approx(hypothesis.score, abs=1e-5)) for hypothesis in found]


NOWHERE = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def test_the_rules_differ_in_when_they_divide_and_by_what():
    # To end at once, to say 4 and end, or to go on with 5.
    table = [NOWHERE, NOWHERE, [0, 0, 0, 0.4, 0.3, 0.3], NOWHERE, NOWHERE, [0, 0, 0, 0, 0.4, 0.6]]
    end, four = ([EOS], -np.log(0.4)), -np.log(0.3)
    on, other = -np.log(0.3 * 0.6), -np.log(0.3 * 0.4)
    found = table_search(table, beam_size=4, limit=2)
    assert found == [([4, EOS], four / 2), ([5, 5], on / 2), end, ([5, 4], other / 2)]
    # What has not ended keeps its whole cost.
    found = table_search(table, beam_size=4, limit=2, rule="normalized_at_end")
    assert found == [([4, EOS], four / 2), end, ([5, 5], on), ([5, 4], other)]
    # Divided by the words before </s>, to say nothing is the worst of all, unless there is nothing else.
    found = table_search(table, beam_size=4, limit=2, rule="normalized_at_end_without_eos")
    assert found[:3] == [([4, EOS], four), ([5, 5], on), ([5, 4], other)]
    assert table_search(table, beam_size=1, limit=2, rule="normalized_at_end_without_eos") == [([EOS], np.inf)]


def test_the_search_goes_on_while_a_longer_hypothesis_may_still_win():
    # Ending at once is most likely; going on with 4 costs more at first, and less per token in the end.
    table = [NOWHERE, NOWHERE, [0, 0, 0, 0.5, 0.3, 0.2], NOWHERE, [0, 0, 0, 0.9, 0.05, 0.05], NOWHERE]
    best, second = table_search(table, beam_size=2)
    assert best == ([4, EOS], -np.log(0.3 * 0.9) / 2)
    assert second == ([EOS], -np.log(0.5))
    # Without normalisation the shorter one wins.
    assert table_search(table, beam_size=2, alpha=0.0)[0] == ([EOS], -np.log(0.5))


def test_no_token_is_chosen_twice_in_the_first_step():
    table = [NOWHERE, NOWHERE, [0, 0, 0, 0.1, 0.5, 0.4], NOWHERE, NOWHERE, NOWHERE]
    found = table_search(table, beam_size=3, limit=1)
    assert [tokens for tokens, _ in found] == [[4], [5], [EOS]]


def test_a_hypothesis_may_overtake_and_takes_its_own_history_along():
    # After the first step 5 is behind 4; after the second, both places are taken by what follows 5.
    table = [
        NOWHERE,
        NOWHERE,
        [0, 0, 0, 0, 0.6, 0.4],
        NOWHERE,
        [0.02, 0.2, 0.2, 0.2, 0.19, 0.19],
        [0, 0, 0, 0.55, 0.45, 0],
    ]
    found = table_search(table, beam_size=2, limit=2)
    assert found == [([5, EOS], -np.log(0.22) / 2), ([5, 4], -np.log(0.18) / 2)]


@same_examples
@given(config=configs, seed=seeds, sentences=source_batches, alpha=alphas, beam_size=st.integers(2, 6))
def test_n_best_are_sorted_and_distinct_and_begin_with_the_best(config, seed, sentences, alpha, beam_size):
    model = searching_model(config, seed)
    limits = [6] * len(sentences)
    best = search(model, sentences, limits, beam_size, alpha)
    for n_best in {1, beam_size - 1, beam_size}:
        found = search(model, sentences, limits, beam_size, alpha, n_best=n_best)
        for hypotheses, (first,) in zip(found, best, strict=True):
            assert len(hypotheses) == n_best
            scores = [hypothesis.score for hypothesis in hypotheses]
            assert scores == sorted(scores)
            # A hypothesis that a <pad> ended and one that the limit ended may have the same tokens.
            ended = [(tuple(hypothesis.token_ids), hypothesis.score) for hypothesis in hypotheses]
            assert len(set(ended)) == n_best
            assert hypotheses[0].token_ids.tolist() == first.token_ids.tolist()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_the_costs_of_forcing_the_tokens(architecture):
    model = searching_model(small_config(encoder=architecture, decoder=architecture), seed=5)
    for sentence, (ours,) in zip(SENTENCES, search(model, SENTENCES, [9] * 5), strict=True):
        tokens = torch.tensor([[BOS, *ours.token_ids]])
        source, length = padded([sentence])
        with torch.no_grad():
            logprob = model.output_layer(model(source, length, tokens[:, :-1])).log_softmax(-1)
        cost = -logprob[0].gather(1, tokens[0, 1:, None]).sum().item()
        assert ours.score == pytest.approx(cost / len(ours.token_ids), abs=1e-5)


def test_a_model_that_says_pad_early_ends_there():
    model = searching_model(pad_bias=40.0)
    for (ours,) in search(model, SENTENCES, [9] * 5, 1):
        assert ours.token_ids.tolist() == []
        assert ours.attention.shape[0] == 0
        assert ours.score == pytest.approx(0, abs=1e-5)


def test_a_pad_among_the_hypotheses_costs_what_it_costs_and_is_not_returned():
    seen = set()
    for seed in range(6):
        model = searching_model(seed=seed, pad_bias=2.0, eos_bias=1.0)
        for sentence, ours in zip(SENTENCES, search(model, SENTENCES, [6] * 5, 5, n_best=5), strict=True):
            for hypothesis, plain in zip(ours, plain_beam_search(model, sentence, 6, 5), strict=True):
                check_hypothesis(hypothesis, plain, len(sentence), 1.0, 0.0)
                seen.add(plain.tokens[-1])
    assert {PAD, EOS} < seen


def test_special_tokens_are_searched_like_any_other():
    model = searching_model()
    with torch.no_grad():
        model.output_layer.bias[BOS] += 60
    assert search(model, [[5, 6]], [4], 3)[0][0].token_ids.tolist() == [BOS] * 4


def test_the_widest_beam_is_one_less_than_the_vocabulary():
    model = searching_model(eos_bias=1.0)
    for sentence, ours in zip(
        SENTENCES, search(model, SENTENCES, [5] * 5, TARGET_SIZE - 1, n_best=TARGET_SIZE - 1), strict=True
    ):
        for hypothesis, plain in zip(ours, plain_beam_search(model, sentence, 5, TARGET_SIZE - 1), strict=True):
            check_hypothesis(hypothesis, plain, len(sentence), 1.0, 0.0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_search_leaves_the_model_alone(architecture):
    model = searching_model(small_config(encoder=architecture, decoder=architecture, decoder_layers=2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    search(model, [[SOURCE_SIZE - 1, 4]], [5])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not list(model.buffers())


@pytest.mark.parametrize("length", [1, 2, 7, 40])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 0.0), (0.6, 2.0), (2.0, 5.0)])
def test_the_length_penalty_is_that_of_wu(length, alpha, beta):
    penalty = LengthPenalty(alpha, beta)
    assert penalty(float(length)) == pytest.approx((beta + length) ** alpha / (beta + 1) ** alpha)
    assert penalty(torch.tensor([float(length)])).item() == pytest.approx(penalty(float(length)), rel=1e-6)
