"""Who is searched when, and in which company."""

import random
import weakref
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s_algo.decoding import scheduler as module
from s2s_algo.decoding.beam_search import Sentence
from s2s_algo.decoding.ranking import LengthPenalty, Ranking
from s2s_algo.decoding.scheduler import Manner, sentences_at_once
from s2s_algo.model.memory import LiveMemory
from tests.unit.decoding.oracle import plain_beam_search
from tests.unit.decoding.scheduling import (
    CELLS,
    MANNER,
    ROWS,
    Watch,
    assert_right,
    finish,
    lower_budget,
    scheduler_of,
)
from tests.unit.decoding.searching import check_hypothesis, endless_model, same_examples, searching_model
from tests.unit.small_model import ARCHITECTURES, SOURCE_SIZE, configs, seeds, small_config

MANNERS = [
    MANNER,
    Manner(1, Ranking(LengthPenalty(0.0))),
    Manner(3, Ranking(LengthPenalty(0.6, 2.0))),
    Manner(3, Ranking(LengthPenalty(), "normalized_at_end")),
    Manner(5, Ranking(LengthPenalty(), "normalized_at_end_without_eos")),
    Manner(3, Ranking(LengthPenalty()), with_attention=False),
]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    lower_budget(monkeypatch)


@pytest.fixture
def watch(monkeypatch):
    return Watch(monkeypatch)


def sentence(length=3, limit=5, n_best=1):
    return Sentence([5 + number % 7 for number in range(length)], limit, n_best)


def sentences(count, length=3, limit=5):
    return [sentence(length, limit) for _ in range(count)]


def submit(scheduler, *newcomers, manner=MANNER):
    for one in newcomers:
        scheduler.submit(one, manner)


# Results


@settings(same_examples, max_examples=40)
@given(config=configs, seed=seeds, eos_bias=st.sampled_from([-1.0, 1.0, 3.0]), data=st.data())
def test_answers_are_those_of_the_plain_search_whenever_sentences_come_and_whoever_else_does(
    config, seed, eos_bias, data
):
    model = searching_model(config, seed, eos_bias)
    source = st.lists(st.integers(1, SOURCE_SIZE - 1), min_size=1, max_size=7)
    arrival = st.tuples(st.integers(0, 4), source, st.integers(1, 7), st.sampled_from(MANNERS), st.integers(1, 5))
    arrivals = data.draw(st.lists(arrival, min_size=1, max_size=14))
    with pytest.MonkeyPatch.context() as patch:
        lower_budget(patch)
        scheduler, manners, results = scheduler_of(model), {}, {}
        for steps, ids, limit, manner, n_best in arrivals:
            for _ in range(steps):
                results |= {found.sentence: found for found in scheduler.step()}
            one = Sentence(ids, limit, min(n_best, manner.beam_size))
            manners[one] = manner
            scheduler.submit(one, manner)
        results |= finish(scheduler)
    assert results.keys() == manners.keys()
    for one, manner in manners.items():
        penalty, rule = manner.ranking.penalty, manner.ranking.rule
        how = (penalty.alpha, penalty.beta, rule)
        plain = plain_beam_search(model, one.source, one.limit, manner.beam_size, *how)
        assert len(results[one].hypotheses) == one.n_best
        for ours, expected in zip(results[one].hypotheses, plain, strict=False):
            if manner.with_attention:
                check_hypothesis(ours, expected, len(one.source), *how)
            else:
                assert ours.token_ids.tolist() == expected.real_tokens
                assert ours.attention.shape == (len(ours.token_ids), 0)


def test_without_sentences_there_is_nothing_to_do():
    scheduler = scheduler_of(endless_model())
    assert scheduler.is_idle
    assert scheduler.step() == []
    assert (scheduler.waiting, scheduler.running) == (0, 0)


def test_it_tells_how_many_wait_and_run():
    scheduler = scheduler_of(endless_model(), sentences(10))
    assert (scheduler.waiting, scheduler.running, scheduler.is_idle) == (10, 0, False)
    scheduler.step()
    assert (scheduler.waiting, scheduler.running, scheduler.is_idle) == (2, 8, False)
    finish(scheduler)
    assert (scheduler.waiting, scheduler.running, scheduler.is_idle) == (0, 0, True)


def test_a_sentence_of_one_token_is_answered_by_the_step_in_which_it_enters():
    one = sentence(limit=1)
    (found,) = scheduler_of(endless_model(), [one]).step()
    assert found.sentence is one
    assert len(found.hypotheses[0].token_ids) == 1


# The budget


@pytest.mark.parametrize(
    ("beam_size", "width", "expected"),
    [(3, 4, 8), (3, 8, 6), (3, 16, 3), (3, 32, 1), (3, 64, 1), (1, 4, 24), (5, 4, 4), (9, 4, 2), (25, 4, 1)],
)
def test_as_many_sentences_are_searched_at_once_as_rows_and_source_positions_allow(watch, beam_size, width, expected):
    assert sentences_at_once(beam_size, width, ROWS) == expected
    if beam_size < 10:
        together = sentences(expected + 1, width, 2)
        finish(scheduler_of(endless_model(), together, Manner(beam_size, MANNER.ranking)))
        assert [len(event.newcomers) for event in watch.entries] == [expected, 1]


@pytest.mark.parametrize("longest", [4, 16])
@pytest.mark.parametrize("seed", range(4))
def test_all_batches_together_stay_within_the_budget(watch, seed, longest):
    draw = random.Random(seed)
    scheduler, beams, results = scheduler_of(endless_model()), {}, {}
    choice = MANNERS[: 1 + seed]
    arriving = [(sentence(draw.randint(1, longest), draw.randint(1, 12)), draw.choice(choice)) for _ in range(70)]
    while arriving or not scheduler.is_idle:
        for _ in range(min(draw.choice([0, 0, 1, 5]), len(arriving))):
            one, manner = arriving.pop()
            beams[one] = manner.beam_size
            scheduler.submit(one, manner)
        results |= {found.sentence: found for found in scheduler.step()}
    most = 0
    for event in watch.steps:
        batches = [[(beams[one], len(one.source)) for one in batch] for batch in event.running.values() if batch]
        rows = sum(beam for batch in batches for beam, _ in batch)
        assert rows <= ROWS
        assert sum(beam * max(length for _, length in batch) for batch in batches for beam, _ in batch) <= CELLS
        most = max(most, rows)
    assert most > (ROWS - 5 if longest == 4 else ROWS / 2)
    assert results.keys() == beams.keys()
    assert not any(found.error for found in results.values())


@pytest.mark.parametrize(
    ("length", "manner"), [(54, MANNER), (33, MANNERS[4]), (3, Manner(10, MANNER.ranking))], ids=str
)
def test_a_sentence_larger_than_the_budget_is_searched_alone(watch, length, manner):
    model, small, large = endless_model(), sentences(9), sentences(2, length)
    scheduler = scheduler_of(model, small[:2], most_rows=9)
    submit(scheduler, large[0], manner=manner)
    submit(scheduler, *small[2:7])
    submit(scheduler, large[1], manner=manner)
    submit(scheduler, *small[7:])
    results = finish(scheduler)
    for one in small:
        assert_right(model, results[one])
    for one in large:
        assert_right(model, results[one], manner)
    assert {event.total for event in watch if set(event.stepping) & set(large)} == {1}
    assert max(len(event.stepping) for event in watch) == 3


@pytest.mark.parametrize("most_rows", [1, 3, 5])
def test_with_room_for_one_sentence_none_has_company(watch, most_rows):
    model, waiting = endless_model(), [*sentences(3), *sentences(2, 8), *sentences(2)]
    results = finish(scheduler_of(model, waiting, most_rows=most_rows))
    for one in waiting:
        assert_right(model, results[one])
    assert {event.total for event in watch} == {1}


# Company


def width_class(one):
    width = 4
    while width < len(one.source):
        width *= 2
    return width


@pytest.mark.parametrize("seed", range(4))
def test_sentences_of_another_manner_or_of_quite_another_length_never_share_a_batch(watch, seed):
    draw = random.Random(seed)
    scheduler, manners = scheduler_of(endless_model()), {}
    for _ in range(60):
        one, manner = sentence(draw.randint(1, 16), draw.randint(2, 9)), draw.choice(MANNERS)
        manners[one] = manner
        scheduler.submit(one, manner)
        if draw.random() < 0.5:
            scheduler.step()
    finish(scheduler)
    for event in watch:
        for batch in (event.stepping, *event.running.values()):
            assert len({(manners[one], width_class(one)) for one in batch}) <= 1
    assert max(len(event.stepping) for event in watch) > 1


def test_equal_manners_and_similar_lengths_share_a_batch(watch):
    scheduler = scheduler_of(endless_model())
    for length in (1, 2, 3, 4, 2):
        submit(scheduler, sentence(length), manner=Manner(3, Ranking(LengthPenalty(1.0, 0.0))))
    finish(scheduler)
    assert [len(event.newcomers) for event in watch.entries] == [5]


def test_companions_are_found_behind_others(watch):
    scheduler = scheduler_of(endless_model())
    short, long = sentences(4), sentences(4, 8)
    for pair in zip(short, long, strict=True):
        submit(scheduler, *pair)
    finish(scheduler)
    assert [list(event.newcomers) for event in watch.entries] == [short, long]


@pytest.mark.parametrize("look_ahead", [5, 512])
def test_nobody_is_overtaken_by_one_of_the_same_kind(watch, monkeypatch, look_ahead):
    monkeypatch.setattr(module, "_LOOK_AHEAD", look_ahead)
    draw = random.Random(0)
    order = [sentence(draw.choice([3, 8, 16]), draw.randint(2, 9)) for _ in range(60)]
    finish(scheduler_of(endless_model(), order))
    for width in (4, 8, 16):
        entered = [one for event in watch.entries for one in event.newcomers if width_class(one) == width]
        assert entered == [one for one in order if width_class(one) == width]


# Turns


def running(watch, sentence):
    """Whether a sentence's search has begun."""
    return any(sentence in event.newcomers for event in watch.entries)


@pytest.mark.parametrize("long", [sentence(8, 9), sentence(100, 9)], ids=["long", "larger than the budget"])
def test_a_long_sentence_is_not_starved_by_an_endless_supply_of_short_ones(watch, long):
    limit = 6
    scheduler = scheduler_of(endless_model())
    for _ in range(20):
        submit(scheduler, *sentences(2, limit=limit))
        scheduler.step()
    ahead = scheduler.waiting
    assert ahead > 3
    submit(scheduler, long)
    steps = 0
    while not running(watch, long):
        submit(scheduler, *sentences(2, limit=limit))
        scheduler.step()
        steps += 1
        # Each group that is ahead waits for companions at most so long, and then for those that run to end.
        assert steps <= (1 + ahead // 8 + 1) * (module._LONGEST_WAIT + limit)
    found = []
    for _ in range(9 * 2):  # its steps, and those of another batch in turn
        submit(scheduler, *sentences(2, limit=limit))
        found += [found.sentence for found in scheduler.step()]
    assert long in found
    assert scheduler.waiting > 10


def test_batches_take_turns_while_newcomers_keep_entering_one_of_them(watch):
    long, done = sentences(2, 8, 40), []
    scheduler = scheduler_of(endless_model(), [*sentences(1), *long])
    while not set(long) <= set(done):
        submit(scheduler, sentence(limit=3))
        done += [found.sentence for found in scheduler.step()]
        assert len(watch) < 400
    turns = [number for number, event in enumerate(watch.steps) if set(event.stepping) & set(long)]
    # The first of the 40 steps is made on entering.
    assert len(turns) == 39
    assert {later - turn for turn, later in pairwise(turns)} == {2}
    assert len(watch.entries) > 10


def test_newcomers_enter_at_once_when_nobody_is_searched(watch):
    scheduler = scheduler_of(endless_model(), sentences(1))
    scheduler.step()
    assert len(watch.entries) == 1
    finish(scheduler)
    submit(scheduler, sentence())
    scheduler.step()
    assert len(watch.entries) == 2


@pytest.mark.parametrize("length", [3, 8])
def test_a_newcomer_waits_for_companions_no_longer_than_some_steps(watch, length):
    scheduler = scheduler_of(endless_model(), sentences(5, limit=50))
    for _ in range(3):
        scheduler.step()
    newcomer = sentence(length)
    submit(scheduler, newcomer)
    for _ in range(module._LONGEST_WAIT):
        scheduler.step()
        assert not running(watch, newcomer)
    scheduler.step()
    assert running(watch, newcomer)


def test_newcomers_that_are_a_quarter_of_those_that_run_enter_at_once_and_together(watch):
    scheduler = scheduler_of(endless_model(), sentences(5, limit=50))
    scheduler.step()
    newcomers = sentences(2)
    submit(scheduler, newcomers[0])
    for _ in range(3):
        scheduler.step()
    assert len(watch.entries) == 1
    submit(scheduler, newcomers[1])
    scheduler.step()
    assert list(watch.entries[1].newcomers) == newcomers
    submit(scheduler, sentence())
    scheduler.step()
    assert len(watch.entries) == 2


def test_a_quarter_is_enough(watch):
    scheduler = scheduler_of(endless_model(), sentences(4, limit=50))
    scheduler.step()
    submit(scheduler, sentence())
    scheduler.step()
    assert len(watch.entries) == 2


def test_who_waits_for_room_enters_when_there_is_some():
    scheduler = scheduler_of(endless_model(), [*sentences(6, limit=3), *sentences(2, limit=50), *sentences(6)])
    for running, waiting in [(8, 6), (2, 6), (8, 0)]:
        scheduler.step()
        assert (scheduler.running, scheduler.waiting) == (running, waiting)


# Withdrawal


def test_sentences_leave_the_queue_and_the_batches(watch):
    model, groups = endless_model(), [sentences(4, 3, 9), sentences(3, 8, 9), sentences(8, 16, 9)]
    scheduler = scheduler_of(model, [one for group in groups for one in group])
    results = {}
    for _ in range(4):
        results |= {found.sentence: found for found in scheduler.step()}
    assert (scheduler.running, scheduler.waiting) == (7, 8)
    unwanted = {group[number] for group in groups for number in (0, 2)}
    scheduler.withdraw(unwanted.__contains__)
    assert (scheduler.running, scheduler.waiting) == (3, 6)
    before = len(watch)
    results |= finish(scheduler)
    assert results.keys() == {one for group in groups for one in group} - unwanted
    assert not unwanted & {one for event in watch[before:] for one in event.stepping}
    for found in results.values():
        assert_right(model, found)


def test_nothing_is_left_when_all_are_withdrawn():
    scheduler = scheduler_of(endless_model(), [*sentences(12), *sentences(3, 8)])
    for _ in range(3):
        scheduler.step()
    scheduler.withdraw(lambda sentence: True)
    assert scheduler.is_idle
    assert (scheduler.waiting, scheduler.running, scheduler.step()) == (0, 0, [])


def test_a_sentence_that_is_done_but_not_yet_returned_can_be_withdrawn():
    long, short = sentence(8, 9), sentence(limit=1)
    scheduler = scheduler_of(endless_model(), [long])
    scheduler.step()
    submit(scheduler, short)
    # It enters and is done, but it is the turn of the other batch.
    assert scheduler.step() == []
    assert scheduler.running == 2
    scheduler.withdraw({short}.__contains__)
    assert scheduler.running == 1
    assert finish(scheduler).keys() == {long}


# Memory


class Source(list):
    """Ids whose end can be noticed."""

    __hash__ = object.__hash__


def test_nothing_remembers_a_sentence_that_is_done_or_withdrawn():
    scheduler, alive = scheduler_of(endless_model()), weakref.WeakSet()
    for number in range(300):
        source = Source([5, 6, 7] * (1 + number % 4))
        alive.add(source)
        scheduler.submit(Sentence(source, 1 + number % 5), MANNERS[number % 3])
        if number % 7 == 0:
            scheduler.withdraw(lambda sentence, source=source: sentence.source is source)
        del source
        for _ in range(3):
            scheduler.step()
        assert len(alive) < 60
    finish(scheduler)
    assert not alive


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_search_that_never_ends_does_not_grow(architecture):
    model = endless_model(small_config(encoder=architecture, decoder=architecture))
    scheduler, kinds = scheduler_of(model), [(3, 9), (8, 5), (2, 12), (4, 1), (7, 3)]
    peaks = []
    with LiveMemory() as live:
        for _ in range(10):
            live.peak = live.now
            for length, limit in kinds * 6:
                submit(scheduler, sentence(length, limit))
                scheduler.step()
                assert scheduler.running
            peaks.append(live.peak)
    assert 0 < max(peaks[5:]) <= max(peaks[:5])
