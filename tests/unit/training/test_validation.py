"""Scores on the validation channel."""

import logging
import math

import pytest
import torch

from s2s_algo.bleu import corpus_bleu
from s2s_algo.data.buckets import Bucket, define_parallel_buckets
from s2s_algo.data.plans import BucketPlan
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translation import Translation
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from s2s_algo.training import data as training_data
from s2s_algo.training import validation
from s2s_algo.training.data import BatchSource
from s2s_algo.training.precision import Precision
from s2s_algo.training.validation import BleuSample, draw_sample
from s2s_algo.training.workers import Workers
from tests.tiny_job import corpus_of, draw_pairs
from tests.unit.small_model import SOURCE_SIZE, TARGET_SIZE, small_config, small_model, vocabulary

SOURCE, TARGET = vocabulary(SOURCE_SIZE), vocabulary(TARGET_SIZE)
PAIRS = draw_pairs(23, seed=5, longest=7)
BUCKETS = define_parallel_buckets(7, 8, 3, 1.1)


ALONE = Workers(torch.device("cpu"))


def ignore(done, total):
    pass


def evaluate(model, data, watch):
    """In float32, by this process alone."""
    return validation.evaluate(model, data, Precision(ALONE.device, bfloat16=False), ALONE, watch)


def batches(pairs=PAIRS, batch_size=4, buckets=BUCKETS):
    corpus = corpus_of(pairs)
    plan = BucketPlan(corpus.source.lengths, corpus.target.lengths + 1, buckets, batch_size, seed=13)
    return BatchSource(corpus, TARGET, plan, ALONE)


@torch.no_grad()
def by_hand(model, pairs):
    """Sum of -ln p, correct tokens and tokens, pair by pair and step by step."""
    total, correct, count = 0.0, 0, 0
    for source, target in pairs:
        encoded = model.encode(torch.tensor([source]), torch.tensor([len(source)]))
        state, memory = model.decoder.start(encoded)
        for last, label in zip([TARGET.bos_id, *target], [*target, TARGET.eos_id], strict=True):
            output, state, _ = model.decoder.step(model.target_embedding(torch.tensor([last])), state, memory)
            logits = model.output_layer(output)[0].double()
            total -= math.log(logits.softmax(-1)[label])
            correct += int(logits.argmax()) == label
            count += 1
    return total, correct, count


def test_scores_are_those_computed_by_hand():
    model = small_model()
    totals = evaluate(model, batches(), ignore)
    likelihood, correct, count = by_hand(model, PAIRS)
    assert totals.negative_log_likelihood == pytest.approx(likelihood, rel=1e-5)
    assert (totals.correct, totals.tokens) == (correct, count)
    assert 0 < correct < count == sum(len(target) + 1 for _, target in PAIRS)
    assert totals.perplexity == pytest.approx(math.exp(likelihood / count), rel=1e-5)
    assert totals.accuracy == correct / count


@pytest.mark.parametrize("batch_size", [1, 2, 5, 23, 1000])
def test_scores_do_not_depend_on_the_batch_size(batch_size):
    model = small_model(seed=1)
    one, other = evaluate(model, batches(), ignore), evaluate(model, batches(batch_size=batch_size), ignore)
    assert one.perplexity == pytest.approx(other.perplexity, rel=1e-6)
    assert (one.correct, one.tokens) == (other.correct, other.tokens)


def test_scores_do_not_depend_on_the_buckets():
    model = small_model(seed=1)
    one, other = evaluate(model, batches(), ignore), evaluate(model, batches(buckets=[Bucket(20, 30)]), ignore)
    assert one.perplexity == pytest.approx(other.perplexity, rel=1e-6)
    assert (one.correct, one.tokens) == (other.correct, other.tokens)


def test_every_pair_is_scored_exactly_once(monkeypatch):
    scored = []
    collate = training_data.collate

    def spy(corpus, planned, bos_id, eos_id):
        scored.extend(planned.pairs.tolist())
        return collate(corpus, planned, bos_id, eos_id)

    monkeypatch.setattr(training_data, "collate", spy)
    evaluate(small_model(), batches(), ignore)
    assert sorted(scored) == list(range(len(PAIRS)))


def test_nothing_is_dropped_and_no_random_number_drawn():
    config = small_config(source_dropout=0.5, target_dropout=0.5, hidden_dropout=0.5)
    model = small_model(config).train()
    before = torch.get_rng_state()
    dropping = evaluate(model, batches(), ignore)
    assert torch.equal(torch.get_rng_state(), before)
    assert dropping == evaluate(small_model(), batches(), ignore)


def test_no_gradient_is_prepared():
    enabled = []
    evaluate(small_model(), batches(), lambda *_: enabled.append(torch.is_grad_enabled()))
    assert enabled
    assert not any(enabled)
    assert torch.is_grad_enabled()


def test_the_watch_hears_of_every_batch_before_it_is_scored():
    heard = []
    source = batches(batch_size=5)
    evaluate(small_model(), source, lambda done, total: heard.append((done, total)))
    count = len(source.plan_in_order())
    assert count > 5
    assert heard == [(done, count) for done in range(count)]


def test_the_watch_may_end_the_work():
    class EnoughError(Exception):
        pass

    def watch(done, total):
        if done == 2:
            raise EnoughError

    with pytest.raises(EnoughError):
        evaluate(small_model(), batches(), watch)


def translator(model=None):
    limits = LengthLimits(max_input_length=4, ratio_mean=1.2, ratio_std=0.3, max_output_length=9)
    return Translator(model or small_model(), SOURCE, TARGET, InferenceConfig(beam_size=2, limits=limits))


class FakeTranslator:
    """Translates every token by the next one, and remembers what it was asked."""

    def __init__(self):
        self.asked = []
        self.model = small_model().train()
        self.target_vocabulary = TARGET
        self.options = SearchOptions(beam_size=2)

    def translate(self, sources, options):
        assert not self.model.training
        assert options == SearchOptions(beam_size=2, with_attention=False)
        self.asked.append([list(source) for source in sources])
        return [self._translation(source) for source in sources]

    def _translation(self, source):
        ids = tuple(token - 1 for token in source)
        return Translation(ids, tuple(TARGET.decode(ids)), 0.0, None)


def test_bleu_is_that_of_the_translations(caplog):
    caplog.set_level(logging.INFO)
    fake = FakeTranslator()
    sources = [[5, 6, 7, 8, 9], [5, 5, 6], [9]]
    references = ["w4 w5 w6 w7 w8", "w4 w4 w9", "w8"]
    score = BleuSample(sources, references, fake).score(ALONE, ignore)
    assert fake.asked == [sources]
    expected = corpus_bleu(["w4 w5 w6 w7 w8", "w4 w4 w5", "w8"], references)
    assert 0.5 < score == expected.score < 1
    assert f"BLEU on 3 sentences, scale 0 to 1, signature {expected.signature}" in caplog.messages


def test_bleu_of_perfect_translations_is_1():
    sample = BleuSample([[5, 6, 7, 8, 9], [6]], ["w4 w5 w6 w7 w8", "w5"], FakeTranslator())
    assert sample.score(ALONE, ignore) == pytest.approx(1)


def test_many_sentences_are_translated_in_slices_between_which_the_watch_is_asked():
    fake, heard = FakeTranslator(), []
    sources = [[5 + number % 5] for number in range(40)]
    sample = BleuSample(sources, ["w4"] * 40, fake)
    sample.score(ALONE, lambda done, total: heard.append((done, total)))
    assert [source for asked in fake.asked for source in asked] == sources
    assert [len(asked) for asked in fake.asked] == [16, 16, 8]
    assert heard == [(0, 40), (16, 40), (32, 40)]


def test_a_sample_of_a_real_model_has_a_score():
    sample = draw_sample(corpus_of(PAIRS), 5, 13, translator())
    found = [translation.text for translation in translator().translate(sample.sources)]
    assert sample.score(ALONE, ignore) == corpus_bleu(found, sample.references).score


def pairs_of(sample):
    return [
        (source, TARGET.encode(reference)) for source, reference in zip(sample.sources, sample.references, strict=True)
    ]


def test_a_sample_is_made_of_different_pairs_of_the_corpus():
    # 23 pairs of which no two are equal.
    assert len({str(pair) for pair in PAIRS}) == len(PAIRS)
    drawn = pairs_of(draw_sample(corpus_of(PAIRS), 9, 13, translator()))
    assert len({str(pair) for pair in drawn}) == 9
    assert all(pair in PAIRS for pair in drawn)


def test_a_sample_is_ordered_by_length_so_that_little_is_padded():
    sample = draw_sample(corpus_of(PAIRS), 9, 13, translator())
    assert [len(source) for source in sample.sources] == sorted(len(source) for source in sample.sources)


def test_the_same_seed_draws_the_same_sample():
    draws = [pairs_of(draw_sample(corpus_of(PAIRS), 9, seed, translator())) for seed in (13, 13, 14)]
    assert draws[0] == draws[1] != draws[2]


def test_a_sample_is_not_just_the_beginning_of_the_corpus():
    assert pairs_of(draw_sample(corpus_of(PAIRS), 9, 13, translator())) != PAIRS[:9]


def test_without_a_size_the_sample_is_the_corpus(caplog):
    caplog.set_level(logging.INFO)
    assert sorted(pairs_of(draw_sample(corpus_of(PAIRS), None, 13, translator()))) == sorted(PAIRS)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("size", "messages"), [(23, []), (24, ["bleu_sample_size 24 is more than the 23 validation pairs: all are used"])]
)
def test_a_size_of_all_or_more_draws_all(caplog, size, messages):
    caplog.set_level(logging.INFO)
    assert sorted(pairs_of(draw_sample(corpus_of(PAIRS), size, 13, translator()))) == sorted(PAIRS)
    assert caplog.messages == messages


def test_long_sources_are_translated_uncut():
    # In pieces of 4 tokens, which is all that the model can read at once.
    (sample,) = [draw_sample(corpus_of([([4, 5, 6, 7, 8, 9, 4, 5, 6], [4, 5])]), None, 13, translator())]
    assert sample.sources == [[4, 5, 6, 7, 8, 9, 4, 5, 6]]
    (found,) = sample.translator.translate(sample.sources)
    assert found.attention.shape[1] == 9


def test_unknown_words_of_references_stay_what_they_are():
    sample = draw_sample(corpus_of([([4], [1, 5])]), None, 13, translator())
    assert sample.references == ["<unk> w5"]
