"""What becomes of sentences when a step of their search fails."""

import gc
import itertools
import logging
import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s_algo.decoding import beam_search as beam_search_module
from s2s_algo.decoding import scheduler as module
from s2s_algo.decoding.beam_search import BeamSearch, Sentence
from s2s_algo.decoding.ranking import LengthPenalty, Ranking
from s2s_algo.decoding.scheduler import Manner
from tests.unit.decoding.scheduling import MANNER, Watch, assert_right, finish, lower_budget, scheduler_of
from tests.unit.decoding.searching import endless_model, same_examples

POISON = 12
GREEDY = Manner(1, Ranking(LengthPenalty()))
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
]


class PoisonError(Exception):
    """What a poisoned sentence does."""


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    lower_budget(monkeypatch)


@pytest.fixture
def watch(monkeypatch):
    return Watch(monkeypatch)


@pytest.fixture
def model():
    return endless_model()


class Trouble:
    """Fails in the model's encoder or in a step of its decoder.

    Args:
        patch: To patch with.
        model: That fails.
        watch: Tells who is in the batch.
        where: encode or step.
        what: Called with those who make a step and with all that are held; raises if it shall fail.
    """

    def __init__(self, patch, model, watch, where, what):
        self.watch = watch
        self.calls = 0
        self.failures = 0
        owner, name = (model, "encode") if where == "encode" else (model.decoder, "step")
        original = getattr(owner, name)

        def failing(*args):
            self.calls += 1
            try:
                what(watch[-1])
            except Exception:
                self.failures += 1
                raise
            return original(*args)

        patch.setattr(owner, name, failing)
        self.stop = lambda: patch.setattr(owner, name, original)


def poisoned(event):
    if any(POISON in one.source for one in event.stepping):
        raise PoisonError(f"{len(event.stepping)} sentences")


def late(steps):
    """Fails at a later step of a batch with a poisoned sentence; each batch counts anew."""
    made = {}

    def fail(event):
        if any(POISON in one.source for one in event.stepping):
            made[event.batch] = made.get(event.batch, 0) + 1
            if made[event.batch] >= steps:
                poisoned(event)

    return fail


def more_than(most, error):
    """Fails when more sentences than so many make a step together."""

    def fail(event):
        if len(event.stepping) > most:
            raise error

    return fail


def held_more_than(most, error):
    """Fails when all batches together hold more sentences than so many."""

    def fail(event):
        if event.total > most:
            raise error

    return fail


def sentence(length=3, limit=5):
    return Sentence([5 + number % 7 for number in range(length)], limit)


def poison(length=3, limit=5):
    return Sentence([POISON, *[5] * (length - 1)], limit)


def check(model, results, good, bad=(), manner=MANNER):
    """Fails unless all good ones are answered rightly, and the bad ones with their own error."""
    assert results.keys() == {*good, *bad}
    for one in bad:
        assert isinstance(results[one].error, PoisonError)
        assert str(results[one].error) == "1 sentences"
        assert results[one].hypotheses == ()
    for one in good:
        assert_right(model, results[one], manner)


# Culprits


@pytest.mark.parametrize("position", [0, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("where", ["encode", "step", "late"])
def test_a_poisoned_sentence_alone_gets_the_error(monkeypatch, model, watch, where, count, position):
    order = [sentence(length=1 + number % 4) for number in range(count)]
    bad = order[position % count] = poison()
    what = late(4) if where == "late" else poisoned
    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, "encode" if where == "encode" else "step", what)
        scheduler = scheduler_of(model, order)
        results = finish(scheduler)
    check(model, results, set(order) - {bad}, {bad})
    # Halved until it is alone.
    assert trouble.failures <= 1 + math.ceil(math.log2(count))


@pytest.mark.parametrize("where", ["encode", "step"])
def test_a_poisoned_newcomer_does_not_hurt_those_that_run(monkeypatch, model, watch, where):
    first, second, bad = [sentence(limit=20) for _ in range(5)], [sentence() for _ in range(2)], poison()
    scheduler = scheduler_of(model, first)
    for _ in range(3):
        scheduler.step()
    with monkeypatch.context() as patch:
        Trouble(patch, model, watch, where, poisoned)
        for one in (second[0], bad, second[1]):
            scheduler.submit(one, MANNER)
        results = finish(scheduler)
    check(model, results, {*first, *second}, {bad})


def test_when_a_culprit_is_found_the_others_are_searched_together_again(monkeypatch, model, watch):
    order = [poison(), *(sentence() for _ in range(7))]
    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, "step", poisoned)
        results = finish(scheduler_of(model, order))
    check(model, results, order[1:], order[:1])
    assert [len(event.newcomers) for event in watch.entries] == [8, 4, 2, 1, 7]
    assert trouble.failures == 4


@pytest.mark.parametrize("where", ["encode", "step"])
def test_several_culprits_in_several_batches_are_all_found(monkeypatch, model, watch, where):
    order = [sentence(length=[3, 8, 16][number % 3], limit=4 + number % 5) for number in range(40)]
    bad = {1, 2, 3, 17, 22, 30, 31, 39}
    for number in bad:
        order[number] = poison(length=[3, 8, 16][number % 3], limit=4 + number % 5)
    with monkeypatch.context() as patch:
        what = poisoned if where == "encode" else late(3)
        trouble = Trouble(patch, model, watch, where, what)
        results = finish(scheduler_of(model, order))
    check(
        model,
        results,
        [one for number, one in enumerate(order) if number not in bad],
        [order[number] for number in bad],
    )
    assert trouble.failures <= len(bad) * 5


def test_if_everything_fails_everybody_gets_an_error(monkeypatch, model, watch):
    order = [poison(length=[3, 8][number % 2]) for number in range(20)]
    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, "encode", poisoned)
        check(model, finish(scheduler_of(model, order)), (), order)
    assert trouble.failures <= 20 * 4


def test_an_error_that_does_not_come_again_hurts_nobody(monkeypatch, model, watch):
    errors = [PoisonError()]

    def once(event):
        if len(watch) == 4 and errors:
            raise errors.pop()

    order = [sentence(limit=7) for _ in range(12)]
    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, "step", once)
        check(model, finish(scheduler_of(model, order)), order)
    assert trouble.failures == 1


def test_other_batches_go_on_and_newcomers_wait_while_a_culprit_is_looked_for(monkeypatch, model, watch):
    others, suspects = [sentence(8, limit=60) for _ in range(2)], [*(sentence() for _ in range(4)), poison()]
    scheduler = scheduler_of(model, [*others, *suspects])
    with monkeypatch.context() as patch:
        Trouble(patch, model, watch, "step", late(3))
        results = {}
        while not watch or POISON not in {id_ for one in watch[-1].stepping for id_ in one.source}:
            assert scheduler.step() == []
        late_comer = sentence(4)
        scheduler.submit(late_comer, MANNER)
        failed = len(watch)
        while suspects[-1] not in results:
            results |= {found.sentence: found for found in scheduler.step()}
        assert any(event.stepping == tuple(others) for event in watch[failed:])
        assert not any(late_comer in event.newcomers for event in watch)
        check(model, results | finish(scheduler), [*others, *suspects[:-1], late_comer], suspects[-1:])
    assert len([event for event in watch.entries if others[0] in event.newcomers]) == 1


# Out of memory


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["encode", "step"])
@pytest.mark.parametrize("most", [1, 3, 7])
def test_with_too_little_memory_for_a_batch_all_are_answered_in_smaller_ones(
    monkeypatch, caplog, model, watch, where, most, error
):
    caplog.set_level(logging.WARNING)
    order = [sentence(limit=3 + number % 4) for number in range(8)]
    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, where, more_than(most, error))
        results = finish(scheduler_of(model, order))
    check(model, results, order)
    assert trouble.failures == {1: 3, 3: 2, 7: 1}[most]
    assert f"out of memory with 8 sentences in a batch: {error}" in caplog.text


def test_after_a_lack_of_memory_batches_are_as_large_as_before(monkeypatch, model, watch):
    scheduler = scheduler_of(model, [sentence() for _ in range(8)])
    with monkeypatch.context() as patch:
        Trouble(patch, model, watch, "step", more_than(2, MemoryError()))
        finish(scheduler)
    for _ in range(8):
        scheduler.submit(sentence(), MANNER)
    finish(scheduler)
    assert [len(event.newcomers) for event in watch.entries] == [8, 4, 2, 2, 2, 2, 8]


def test_a_lasting_lack_of_memory_costs_a_bounded_number_of_attempts(monkeypatch, model, watch):
    order = [sentence(length=[3, 8][number % 5 == 0], limit=2 + number % 6) for number in range(120)]
    scheduler = scheduler_of(model)
    results = {}
    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, "step", more_than(3, MemoryError()))
        for one in order:
            scheduler.submit(one, MANNER)
            results |= {found.sentence: found for found in scheduler.step()}
        results |= finish(scheduler)
    check(model, results, order)
    assert trouble.failures < len(order)


@pytest.mark.parametrize("where", ["encode", "step"])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_sentence_that_lacks_memory_beside_other_batches_is_tried_without_them(
    monkeypatch, model, watch, where, most
):
    kinds = [(3, MANNER), (8, MANNER), (16, MANNER), (3, GREEDY)]
    manners = {}
    scheduler = scheduler_of(model)
    for number in range(10):
        length, manner = kinds[number % 4]
        one = sentence(length, limit=6 + number)
        manners[one] = manner
        scheduler.submit(one, manner)
    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, where, held_more_than(most, MemoryError()))
        results = finish(scheduler)
    assert results.keys() == manners.keys()
    for one, manner in manners.items():
        assert_right(model, results[one], manner)
    assert 0 < trouble.failures < 40


def test_a_sentence_that_needs_more_memory_than_there_is_gets_the_error(monkeypatch, model, watch):
    order = [sentence(length=[3, 8][number % 2]) for number in range(10)]
    bad = order[4] = poison()
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def fail(event):
        if bad in event.stepping:
            raise error

    with monkeypatch.context() as patch:
        Trouble(patch, model, watch, "step", fail)
        results = finish(scheduler_of(model, order))
    assert results.pop(bad).error is error
    check(model, results, set(order) - {bad})


def test_the_tensors_of_a_failed_attempt_are_gone_before_device_memory_is_freed(monkeypatch, model):
    batches, alive = weakref.WeakSet(), []

    class Noticed(BeamSearch):
        def __init__(self, model, **options):
            super().__init__(model, **options)
            batches.add(self)

    monkeypatch.setattr(module, "BeamSearch", Noticed)
    monkeypatch.setattr(module, "free_device_memory", lambda: alive.append(len(batches)))
    scheduler = scheduler_of(model, [sentence(limit=9) for _ in range(4)])
    scheduler.step()
    original = model.decoder.step
    errors = [MemoryError() for _ in range(2)]
    gc.disable()
    try:
        monkeypatch.setattr(model.decoder, "step", lambda *args: (_ for _ in ()).throw(errors.pop()))
        scheduler.step()
        assert alive == [0]
        scheduler.step()
        assert alive == [0, 0]
    finally:
        gc.enable()
    monkeypatch.setattr(model.decoder, "step", original)
    assert len(finish(scheduler)) == 4


def test_an_error_that_somebody_keeps_holds_no_tensors(monkeypatch, model, watch):
    with monkeypatch.context() as patch:
        Trouble(patch, model, watch, "step", late(3))
        bad = poison()
        error = finish(scheduler_of(model, [bad]))[bad].error
        scheduler = scheduler_of(model, [sentence()])
        scheduler.step()
    assert isinstance(error, PoisonError)
    # All others are gone.
    assert len(watch[-1].running) == 1


# Errors between the steps of the model


@pytest.mark.parametrize(("name", "times"), [("joined", 7), ("select", 16)])
def test_no_sentence_is_lost_or_answered_twice_whenever_a_batch_fails(monkeypatch, model, watch, name, times):
    running = beam_search_module._Running
    original, alone = getattr(running, name), 0
    for when in range(times):
        calls = []

        def failing(self, *args, calls=calls, when=when):
            calls.append(1)
            if len(calls) == when + 1:
                raise MemoryError
            return original(self, *args)

        order = [sentence(length=[3, 8][number % 3 == 0], limit=1 + number % 4) for number in range(24)]
        scheduler, results = scheduler_of(model), {}
        with monkeypatch.context() as patch:
            patch.setattr(running, name, failing)
            for one in order:
                scheduler.submit(one, MANNER)
                results |= {found.sentence: found for found in scheduler.step()}
            results |= finish(scheduler)
        assert len(calls) > when
        failed = [one for one in order if results[one].error]
        alone += len(failed)
        check(model, {one: results[one] for one in results if one not in failed}, set(order) - set(failed))
        assert len(failed) <= 1
    # Who is alone when it happens is told so.
    assert alone < times / 2


def test_a_sentence_done_on_entering_is_not_lost_if_the_next_step_fails(monkeypatch, model, watch):
    long, short = sentence(limit=9), sentence(limit=1)
    scheduler = scheduler_of(model, [long])
    scheduler.step()
    scheduler.submit(short, MANNER)

    def fail(event):
        if not event.newcomers and short in event.stepping:
            raise PoisonError

    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, "step", fail)
        results = finish(scheduler)
    assert trouble.failures == 1
    check(model, results, [long, short])


@pytest.mark.parametrize("length", [3, 8])
def test_who_stays_is_searched_anew_if_a_withdrawal_fails(monkeypatch, model, length):
    order = [sentence(limit=9) for _ in range(4)]
    other = sentence(length, limit=9)
    scheduler = scheduler_of(model, [*order, other])
    for _ in range(3):
        scheduler.step()
    with monkeypatch.context() as patch:

        def failing(self, *args):
            raise torch.OutOfMemoryError

        patch.setattr(beam_search_module._Running, "select", failing)
        scheduler.withdraw({order[1]}.__contains__)
    check(model, finish(scheduler), {*order, other} - {order[1]})


# Everything at once

_MODEL = endless_model()
_KINDS = [(3, MANNER), (8, MANNER), (16, MANNER), (3, GREEDY)]


@settings(same_examples, max_examples=40)
@given(
    arrivals=st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(_KINDS), st.integers(1, 6), st.sampled_from(["good", "good", "bad"])
        ),
        min_size=1,
        max_size=24,
    ),
    most=st.integers(1, 12),
    broken=st.sets(st.integers(1, 60), max_size=6),
    withdrawals=st.dictionaries(st.integers(1, 30), st.sets(st.integers(0, 23), max_size=6), max_size=4),
    where=st.sampled_from(["encode", "step"]),
)
def test_whatever_fails_everybody_is_answered_once(arrivals, most, broken, withdrawals, where):
    steps, kinds, withdrawn, results = itertools.count(1), {}, set(), {}

    def fail(event):
        if next(steps) in broken:
            raise ConnectionError("for once")
        if event.total > most:
            raise MemoryError
        poisoned(event)

    with pytest.MonkeyPatch.context() as patch:
        lower_budget(patch)
        Trouble(patch, _MODEL, Watch(patch), where, fail)
        scheduler, order, number = scheduler_of(_MODEL), [], 0
        for pause, (length, manner), limit, quality in arrivals:
            for _ in range(pause):
                number += 1
                unwanted = {order[one] for one in withdrawals.get(number, ()) if one < len(order)} - results.keys()
                scheduler.withdraw(unwanted.__contains__)
                withdrawn |= unwanted
                results |= {found.sentence: found for found in scheduler.step()}
            order.append(poison(length, limit) if quality == "bad" else sentence(length, limit))
            kinds[order[-1]] = manner
            scheduler.submit(order[-1], manner)
        results |= finish(scheduler)
    assert results.keys() == set(order) - withdrawn
    for one, found in results.items():
        if POISON in one.source:
            assert isinstance(found.error, PoisonError | ConnectionError)
        elif not isinstance(found.error, ConnectionError):
            assert_right(_MODEL, found, kinds[one])
    assert sum(isinstance(found.error, ConnectionError) for found in results.values()) <= len(broken)


# Nothing is left


@pytest.mark.parametrize("unwanted", [0, 1, 2, 3], ids=str)
def test_suspects_can_be_withdrawn_while_a_culprit_is_looked_for(monkeypatch, model, watch, unwanted):
    order = [*(sentence(limit=6) for _ in range(3)), poison(limit=6)]
    later = sentence()
    with monkeypatch.context() as patch:
        trouble = Trouble(patch, model, watch, "step", late(3))
        scheduler = scheduler_of(model, order)
        results = {}
        while not trouble.failures:
            scheduler.step()
        results |= {found.sentence: found for found in scheduler.step()}
        scheduler.submit(later, MANNER)
        scheduler.withdraw({order[unwanted]}.__contains__)
        results |= finish(scheduler)
    left = {*order, later} - {order[unwanted]}
    check(model, results, left - {order[3]}, left & {order[3]})


def test_if_all_suspects_are_withdrawn_the_others_enter(monkeypatch, model, watch):
    order = [sentence() for _ in range(4)]
    later = [sentence() for _ in range(8)]
    with monkeypatch.context() as patch:
        Trouble(patch, model, watch, "step", more_than(1, MemoryError()))
        scheduler = scheduler_of(model, order)
        for _ in range(2):
            scheduler.step()
        for one in later:
            scheduler.submit(one, MANNER)
        scheduler.withdraw(set(order).__contains__)
    check(model, finish(scheduler), later)
    assert len(watch.entries[-1].newcomers) == 8


class Source(list):
    """Ids whose end can be noticed."""

    __hash__ = object.__hash__


@pytest.mark.parametrize("where", ["encode", "step"])
def test_nothing_remembers_a_sentence_that_failed(monkeypatch, model, where):
    alive = weakref.WeakSet()

    def sentences():
        for number in range(40):
            source = Source([POISON if number % 10 == 3 else 6, *[5] * (number % 8)])
            alive.add(source)
            yield Sentence(source, 4)

    def poisoned(source, length):
        if (source == POISON).any():
            raise MemoryError if where == "step" else PoisonError
        return encode(source, length)

    encode = model.encode
    with monkeypatch.context() as patch:
        patch.setattr(model, "encode", poisoned)
        patch.setattr(module.logger, "disabled", True)  # or else pytest remembers what is logged
        scheduler = scheduler_of(model, list(sentences()))
        errors = [found.error for found in finish(scheduler).values() if found.error]
    assert len(errors) == 4
    assert scheduler.is_idle
    del errors
    gc.collect()  # an error and its stack refer to each other
    assert not alive
