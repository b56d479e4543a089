"""Sources that come at any time, and what becomes of their pieces."""

import gc
import random
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s_algo.decoding import scheduler
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from tests.unit.decoding.scheduling import ROWS, lower_budget
from tests.unit.decoding.searching import TOLERANCE, approx, same_examples, searching_model
from tests.unit.small_model import ARCHITECTURES, SOURCE_SIZE, TARGET_SIZE, configs, seeds, small_config, vocabulary

LONGEST = 5
LONG = [5, 6, 7, 8, 9, 10, 11, 4, 5, 6, 7]
POISON = 12
OPTIONS = SearchOptions(beam_size=3)
ALL_OPTIONS = [
    OPTIONS,
    SearchOptions(beam_size=1, length_penalty_alpha=0.0),
    SearchOptions(beam_size=4, n_best=4),
    SearchOptions(beam_size=3, max_output_length=1),
    SearchOptions(beam_size=3, length_penalty_alpha=0.6, length_penalty_beta=2.0, n_best=2),
    SearchOptions(beam_size=3, with_attention=False),
]


class PoisonError(Exception):
    """What a poisoned source does."""


def translator_of(config=None, seed=3, eos_bias=0.0):
    limits = LengthLimits(max_input_length=LONGEST, ratio_mean=1.2, ratio_std=0.2, max_output_length=6)
    model = searching_model(config, seed, eos_bias)
    inference = InferenceConfig(beam_size=3, limits=limits)
    return Translator(model, vocabulary(SOURCE_SIZE), vocabulary(TARGET_SIZE), inference, most_rows=ROWS)


@pytest.fixture(params=ARCHITECTURES)
def translator(request):
    return translator_of(small_config(encoder=request.param, decoder=request.param))


@pytest.fixture
def poisoned(translator, monkeypatch):
    """A translator that fails at every batch with a certain word."""
    encode = translator.model.encode

    def failing(source, length):
        if (source == POISON).any():
            raise PoisonError(f"{len(length)} pieces")
        return encode(source, length)

    monkeypatch.setattr(translator.model, "encode", failing)
    return translator


def finish(stream):
    """Steps until nothing is left to do: the outcome of each ticket."""
    outcomes = {}
    for _ in range(5_000):
        if stream.is_idle:
            assert (stream.waiting, stream.running) == (0, 0)
            return outcomes
        for ticket, outcome in stream.step():
            assert ticket not in outcomes
            outcomes[ticket] = outcome
    raise AssertionError("the stream does not come to an end")


def assert_close(ours, others):
    for one, other in zip(ours, others, strict=True):
        assert (one.token_ids, one.tokens) == (other.token_ids, other.tokens)
        assert one.score == approx(other.score)
        np.testing.assert_allclose(one.attention, other.attention, atol=TOLERANCE)


@settings(same_examples, max_examples=30)
@given(config=configs, seed=seeds, eos_bias=st.sampled_from([-1.0, 2.0]), data=st.data())
def test_sources_that_come_at_any_time_are_translated_as_if_alone(config, seed, eos_bias, data):
    translator = translator_of(config, seed, eos_bias)
    source = st.lists(st.integers(1, SOURCE_SIZE - 1), max_size=13)
    arrivals = data.draw(st.lists(st.tuples(st.integers(0, 3), source, st.sampled_from(ALL_OPTIONS)), max_size=10))
    with pytest.MonkeyPatch.context() as patch:
        lower_budget(patch)
        stream, asked, outcomes = translator.stream(), {}, {}
        for steps, ids, options in arrivals:
            for _ in range(steps):
                outcomes |= dict(stream.step())
            asked[stream.submit(ids, options)] = ids, options
        outcomes |= finish(stream)
    assert outcomes.keys() == asked.keys()
    for ticket, (ids, options) in asked.items():
        (alone,) = translator.translate_n_best([ids], options)
        assert_close(outcomes[ticket], alone)
        assert len(alone) == (options.n_best if 1 <= len(ids) <= LONGEST else 1)


def test_a_new_stream_has_nothing_to_do(translator):
    stream = translator.stream()
    assert (stream.is_idle, stream.waiting, stream.running, stream.step()) == (True, 0, 0, [])


def test_an_empty_source_is_ready_without_a_search(translator, monkeypatch):
    monkeypatch.setattr(translator.model, "encode", None)
    stream = translator.stream()
    tickets = [stream.submit([], options) for options in (OPTIONS, SearchOptions(beam_size=3, n_best=3))]
    assert not stream.is_idle
    assert (stream.waiting, stream.running) == (0, 0)
    outcomes = dict(stream.step())
    assert outcomes.keys() == set(tickets)
    for (translation,) in outcomes.values():
        assert (translation.token_ids, translation.score, translation.attention.shape) == ((), 0.0, (0, 0))
    assert stream.is_idle
    assert stream.step() == []


def test_the_pieces_of_a_long_source_are_searched_together_and_joined(translator):
    stream = translator.stream()
    ticket = stream.submit(LONG, OPTIONS)
    assert (stream.waiting, stream.running) == (3, 0)
    outcomes = dict(stream.step())
    assert (stream.waiting, stream.running) == (0, 3)
    (joined,) = (outcomes | finish(stream))[ticket]
    pieces = [translator.translate([LONG[start : start + LONGEST]])[0] for start in (0, 5, 10)]
    assert joined.token_ids == sum((piece.token_ids for piece in pieces), ())
    assert joined.attention.shape == (len(joined.tokens), len(LONG))
    assert_close([joined], translator.translate([LONG]))


def test_each_source_is_searched_with_its_own_options(translator):
    stream = translator.stream()
    tickets = {stream.submit(LONG[:4], options): options for options in ALL_OPTIONS}
    outcomes = finish(stream)
    assert len({outcome[0].score for outcome in outcomes.values()}) > 3
    for ticket, options in tickets.items():
        assert len(outcomes[ticket]) == options.n_best
        for translation in outcomes[ticket]:
            shape = (len(translation.tokens), 4 if options.with_attention else 0)
            assert translation.attention.shape == shape


# Failures


@pytest.mark.parametrize("position", [0, 7, 10])
def test_a_piece_that_fails_fails_its_source_once_and_its_sisters_are_dropped(poisoned, position):
    stream = poisoned.stream()
    bad = stream.submit([*LONG[:position], POISON, *LONG[position + 1 :]], OPTIONS)
    good = [stream.submit(LONG[start:], OPTIONS) for start in (0, 3, 9)]
    outcomes = {}
    while bad not in outcomes:
        outcomes |= dict(stream.step())
    # Only pieces of the others are left.
    assert stream.waiting + stream.running == sum(len(ticket.pieces) for ticket in good if ticket not in outcomes)
    later = finish(stream)
    assert not outcomes.keys() & later.keys()
    outcomes |= later
    assert outcomes.keys() == {bad, *good}
    assert isinstance(outcomes[bad], PoisonError)
    assert str(outcomes[bad]) == "1 pieces"
    for ticket in good:
        assert_close(outcomes[ticket], poisoned.translate_n_best([ticket.source], OPTIONS)[0])


def test_a_source_all_of_whose_pieces_fail_fails_once(poisoned):
    stream = poisoned.stream()
    bad = stream.submit([POISON] * 14, OPTIONS)
    outcomes = finish(stream)
    assert outcomes.keys() == {bad}
    assert isinstance(outcomes[bad], PoisonError)


def test_the_translator_raises_what_a_source_failed_with(poisoned):
    with pytest.raises(PoisonError, match="1 pieces"):
        poisoned.translate([[5], [6, POISON], [7]])
    assert poisoned.translate([[5]])


def test_with_too_little_memory_for_all_pieces_they_are_translated_in_smaller_batches(translator, monkeypatch):
    expected = translator.translate_n_best([LONG, LONG[:4], LONG[3:]])
    step = translator.model.decoder.step

    def failing(embedded, state, memory):
        if len(memory.values) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(embedded, state, memory)

    monkeypatch.setattr(translator.model.decoder, "step", failing)
    for ours, others in zip(translator.translate_n_best([LONG, LONG[:4], LONG[3:]]), expected, strict=True):
        assert_close(ours, others)


def test_translations_that_cannot_be_joined_fail_their_source_alone(translator, monkeypatch):
    joined = translator.joined

    def failing(found, source, options):
        if len(source) in (0, len(LONG)):
            raise MemoryError("Unable to allocate 37.3 GiB for an array")
        return joined(found, source, options)

    stream = translator.stream()
    bad = [stream.submit(source, OPTIONS) for source in (LONG, [])]
    good = [stream.submit(LONG[start:], OPTIONS) for start in (1, 3, 9)]
    with monkeypatch.context() as patch:
        patch.setattr(translator, "joined", failing)
        outcomes = finish(stream)
    assert outcomes.keys() == {*bad, *good}
    for ticket in bad:
        assert str(outcomes[ticket]) == "Unable to allocate 37.3 GiB for an array"
    for ticket in good:
        assert_close(outcomes[ticket], translator.translate_n_best([ticket.source], OPTIONS)[0])


# Withdrawal


@pytest.mark.parametrize("steps", range(4))
def test_withdrawn_sources_have_no_outcome_and_the_others_are_as_before(translator, monkeypatch, steps):
    lower_budget(monkeypatch)
    stream = translator.stream()
    tickets = [stream.submit(LONG[start:], OPTIONS) for start in range(8)] + [stream.submit([], OPTIONS)] * 1
    outcomes = {}
    for _ in range(steps):
        outcomes |= dict(stream.step())
    unwanted = {tickets[number] for number in (0, 3, 6, 8)}
    stream.withdraw(unwanted)
    later = finish(stream)
    assert not unwanted & later.keys()
    assert (outcomes.keys() | later.keys()) - unwanted == set(tickets) - unwanted
    for ticket in set(tickets) - unwanted:
        assert_close((outcomes | later)[ticket], translator.translate_n_best([ticket.source], OPTIONS)[0])


def test_nothing_is_left_when_all_are_withdrawn_even_twice(translator):
    stream = translator.stream()
    done = stream.submit(LONG[:2], OPTIONS)
    finish(stream)
    tickets = [stream.submit(source, OPTIONS) for source in ([], LONG, LONG[:3])]
    assert len(stream.step()) == 1
    tickets.append(stream.submit([], OPTIONS))
    for _ in range(2):
        stream.withdraw([done, *tickets])
        assert stream.is_idle
        assert (stream.waiting, stream.running, stream.step()) == (0, 0, [])


# Memory


class Source(list):
    """Ids whose end can be noticed."""

    __hash__ = object.__hash__


def test_nothing_remembers_a_source_that_is_done_failed_or_withdrawn(poisoned, monkeypatch):
    monkeypatch.setattr(scheduler.logger, "disabled", True)  # or else pytest remembers what is logged
    draw = random.Random(0)
    stream, alive = poisoned.stream(), weakref.WeakSet()
    for number in range(300):
        source = Source(draw.choices(range(4, POISON), k=draw.randint(0, 12)))
        if number % 20 == 7:
            source.append(POISON)
        alive.add(source)
        ticket = stream.submit(source, draw.choice(ALL_OPTIONS))
        if number % 9 == 4:
            stream.withdraw([ticket])
        del source, ticket
        for _ in range(4):
            stream.step()
        assert len(alive) < 100
    while not stream.is_idle:
        stream.step()
    gc.collect()  # an error and its stack refer to each other
    assert not alive
