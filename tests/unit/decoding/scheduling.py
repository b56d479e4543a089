"""A scheduler with a small budget whose batches are watched."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import pytest

from s2s_algo.decoding import scheduler as module
from s2s_algo.decoding.beam_search import BeamSearch, Hypothesis, Sentence
from s2s_algo.decoding.ranking import LengthPenalty, Ranking
from s2s_algo.decoding.scheduler import Found, Manner, Scheduler
from s2s_algo.model.seq2seq import Seq2Seq
from tests.unit.decoding.oracle import BOS, EOS
from tests.unit.decoding.searching import assert_equal, batch

# With a beam of 3: 8 sentences of at most 4 tokens, 6 of at most 8, 3 of at most 16, or 1 of at most 32.
ROWS, CELLS, SMALLEST_WIDTH = 24, 160, 4

MANNER = Manner(3, Ranking(LengthPenalty()))

# More than any test needs; a search that does not end fails.
_MOST_STEPS = 5_000


@dataclass(frozen=True)
class Event:
    """Something that a scheduler does with a batch.

    Attributes:
        batch: Number of the batch.
        newcomers: Who enters and makes the first step; nobody if all in the batch make a step.
        running: The sentences in each batch just before.
    """

    batch: int
    newcomers: Sequence[Sentence]
    running: dict[int, tuple[Sentence, ...]]

    @property
    def stepping(self) -> Sequence[Sentence]:
        """Who makes a step."""
        return self.newcomers or self.running[self.batch]

    @property
    def total(self) -> int:
        """How many sentences all batches hold."""
        return sum(map(len, self.running.values())) + len(self.newcomers)


class Watch(list[Event]):
    """All events so far."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        numbers, batches = itertools.count(), WeakValueDictionary[int, "Watched"]()

        class Watched(BeamSearch):
            def __init__(self, model, **options):
                super().__init__(model, **options)
                self.number = next(numbers)
                batches[self.number] = self

            def enter(self, sentences):
                watch.append(Event(self.number, tuple(sentences), running()))
                super().enter(sentences)

            def step(self):
                watch.append(Event(self.number, (), running()))
                return super().step()

        def running():
            return {number: batch.sentences for number, batch in batches.items()}

        watch = self
        patch.setattr(module, "BeamSearch", Watched)

    @property
    def entries(self) -> list[Event]:
        """Of newcomers."""
        return [event for event in self if event.newcomers]

    @property
    def steps(self) -> list[Event]:
        """Of batches."""
        return [event for event in self if not event.newcomers]


def lower_budget(patch: pytest.MonkeyPatch) -> None:
    """Makes batches small, in source positions and in the widths that they share."""
    patch.setattr(module, "_MOST_SOURCE_CELLS", CELLS)
    patch.setattr(module, "_SMALLEST_WIDTH", SMALLEST_WIDTH)


def scheduler_of(
    model: Seq2Seq, sentences: Sequence[Sentence] = (), manner: Manner = MANNER, most_rows: int = ROWS
) -> Scheduler:
    """A scheduler with few rows to which sentences were submitted."""
    scheduler = Scheduler(model, BOS, EOS, most_rows)
    for sentence in sentences:
        scheduler.submit(sentence, manner)
    return scheduler


def finish(scheduler: Scheduler) -> dict[Sentence, Found]:
    """Steps until nothing is left to do."""
    results: dict[Sentence, Found] = {}
    for _ in range(_MOST_STEPS):
        if scheduler.is_idle:
            return results
        for found in scheduler.step():
            assert found.sentence not in results
            results[found.sentence] = found
    raise AssertionError("the scheduler does not come to an end")


def alone(model: Seq2Seq, sentence: Sentence, manner: Manner = MANNER) -> list[Hypothesis]:
    """What a sentence is answered that has the model to itself."""
    penalty = manner.ranking.penalty
    running = batch(
        model,
        manner.beam_size,
        penalty.alpha,
        penalty.beta,
        manner.ranking.rule,
        places=1,
        width=len(sentence.source),
        with_attention=manner.with_attention,
    )
    running.enter([sentence])
    while running.sentences:
        found = running.step()
    [(_, hypotheses)] = found
    return hypotheses


def assert_right(model: Seq2Seq, found: Found, manner: Manner = MANNER) -> None:
    """Fails unless a sentence was answered as if it had the model to itself."""
    assert found.error is None
    for ours, other in zip(found.hypotheses, alone(model, found.sentence, manner), strict=True):
        assert_equal(ours, other)
