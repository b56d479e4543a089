"""What is searched when: sentences wait in one queue and enter running batches as soon as it is worth it.

Sentences that are searched in the same manner and whose sources are of similar length share a batch. What all batches
hold together is bounded. Answers do not depend on any of this.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from s2s_algo.decoding.beam_search import BeamSearch, Hypothesis, Sentence
from s2s_algo.decoding.ranking import Ranking
from s2s_algo.memory import free_device_memory, is_out_of_memory
from s2s_algo.model.seq2seq import Seq2Seq

logger = logging.getLogger(__name__)

# Rows (hypotheses) and rows times source positions that are searched at the same time; bounds memory, not results.
MOST_ROWS = 320
_MOST_SOURCE_CELLS = 40_960

# Sources up to the same power of two share a batch, and all up to this one.
_SMALLEST_WIDTH = 32

# To encode a few sentences takes about as long as to encode many, so newcomers wait for one another until they are this
# share of those that run, but no longer than so many steps.
_WORTHWHILE_SHARE = 4
_LONGEST_WAIT = 8

# Of those that wait, so many are looked at for companions of the first.
_LOOK_AHEAD = 512


@dataclass(frozen=True, slots=True)
class Manner:
    """How a sentence is searched; those that differ cannot share a batch.

    Attributes:
        beam_size: Hypotheses kept per sentence.
        ranking: How they are compared.
        with_attention: Whether they come with their attention weights.
    """

    beam_size: int
    ranking: Ranking
    with_attention: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The end of a search.

    Attributes:
        sentence: What was searched for.
        hypotheses: Best first; none after an error.
        error: What happened when this sentence was searched alone.
    """

    sentence: Sentence
    hypotheses: Sequence[Hypothesis] = ()
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Waiting:
    """A sentence in the queue.

    Attributes:
        sentence: What is searched for.
        manner: How.
        steps: Made by others while it was the first of all.
    """

    sentence: Sentence
    manner: Manner
    steps: int = 0

    @property
    def key(self) -> tuple[Manner, int]:
        """Of the batch that it can enter."""
        return self.manner, batch_width(len(self.sentence.source))


class Scheduler:
    """Drives the searches of one model; for one thread.

    When a step fails, for lack of memory or otherwise, its sentences are searched anew, half as many at a time, and so
    on until the culprit is alone; the others get their answers. Of a lack of memory only a sentence is the culprit that
    runs into it while nothing else is searched.

    Args:
        model: What is searched.
        bos_id: Id of ``<s>``.
        eos_id: Id of ``</s>``.
        most_rows: Hypotheses that are searched at the same time; one sentence always is, whatever its beam.
    """

    def __init__(self, model: Seq2Seq, bos_id: int, eos_id: int, most_rows: int = MOST_ROWS) -> None:
        self._model = model
        self._bos_id, self._eos_id = bos_id, eos_id
        self._most_rows = most_rows
        self._waiting: deque[_Waiting] = deque()
        self._batches: dict[tuple[Manner, int], BeamSearch] = {}  # none of them empty; the next in turn is the first
        # Of a step that failed; while there are any, only they may enter, and so many to a batch, or one if there is no
        # batch.
        self._suspects: set[Sentence] = set()
        self._most_suspects = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and not self._batches

    @property
    def waiting(self) -> int:
        """Sentences that are not being searched yet."""
        return len(self._waiting)

    @property
    def waiting_rows(self) -> int:
        """The hypotheses that these will have."""
        return sum(waiting.manner.beam_size for waiting in self._waiting)

    @property
    def running(self) -> int:
        """Sentences that are being searched."""
        return sum(len(search.sentences) for search in self._batches.values())

    def submit(self, sentence: Sentence, manner: Manner) -> None:
        """Puts a sentence at the end of the queue."""
        self._waiting.append(_Waiting(sentence, manner))

    def withdraw(self, unwanted: Callable[[Sentence], bool]) -> None:
        """Drops sentences wherever they are."""
        self._waiting = deque(waiting for waiting in self._waiting if not unwanted(waiting.sentence))
        self._suspects = {sentence for sentence in self._suspects if not unwanted(sentence)}
        for key, search in list(self._batches.items()):
            try:
                search.withdraw(unwanted)
            except Exception:
                logger.warning("a withdrawal failed; who stays is searched anew", exc_info=True)
                del self._batches[key]
                self._search_anew(key[0], [sentence for sentence in search.sentences if not unwanted(sentence)])
        self._batches = {key: search for key, search in self._batches.items() if search.sentences}

    def step(self) -> list[Found]:
        """Lets in who may enter, and makes one step with one of the batches; returns who is done."""
        if entering := self._entering():
            key, newcomers = entering[0].key, [waiting.sentence for waiting in entering]
            search = self._batches.get(key) or self._new_batch(key)
            try:
                search.enter(newcomers)
            except Exception as error:
                self._batches.pop(key, None)
                sentences = [*search.sentences, *newcomers]
                del search  # the last reference to the tensors, but for the error's
                return self._failed(key[0], sentences, error)
            self._batches[key] = search
        if not self._batches:
            return []
        key, search = next(iter(self._batches.items()))
        del self._batches[key]
        try:
            done = search.step()
        except Exception as error:
            sentences = list(search.sentences)
            del search
            return self._failed(key[0], sentences, error)
        if search.sentences:
            self._batches[key] = search  # behind the others
        if self._waiting:
            self._waiting[0].steps += 1
        self._suspects.difference_update(sentence for sentence, _ in done)
        return [Found(sentence, hypotheses) for sentence, hypotheses in done]

    def _new_batch(self, key: tuple[Manner, int]) -> BeamSearch:
        manner, width = key
        return BeamSearch(
            self._model,
            bos_id=self._bos_id,
            eos_id=self._eos_id,
            beam_size=manner.beam_size,
            ranking=manner.ranking,
            places=sentences_at_once(manner.beam_size, width, self._most_rows),
            width=width,
            with_attention=manner.with_attention,
        )

    def _entering(self) -> list[_Waiting]:
        """Takes from the queue the first one that waits and its companions, if they fit and it is worth it."""
        if not self._waiting:
            return []
        first = self._waiting[0]
        room = self._room(first)
        if room < 1:
            return []
        looked_at = [self._waiting.popleft() for _ in range(min(_LOOK_AHEAD, len(self._waiting)))]
        chosen: list[_Waiting] = []
        others: list[_Waiting] = []
        for waiting in looked_at:
            fits = len(chosen) < room and waiting.key == first.key
            fits = fits and (not self._suspects or waiting.sentence in self._suspects)
            (chosen if fits else others).append(waiting)
        if _WORTHWHILE_SHARE * len(chosen) < self.running and first.steps < _LONGEST_WAIT:
            chosen, others = [], looked_at
        self._waiting.extendleft(reversed(others))
        return chosen

    def _room(self, first: _Waiting) -> int:
        """How many like this one can enter now."""
        manner, width = first.key
        own = self._batches.get(first.key)
        if self._suspects:
            return max(self._most_suspects - (len(own.sentences) if own else 0), 0 if self._batches else 1)
        rows = cells = 0
        for (other, other_width), search in self._batches.items():
            rows += len(search.sentences) * other.beam_size
            cells += len(search.sentences) * other.beam_size * other_width
        rows, cells = self._most_rows - rows, _MOST_SOURCE_CELLS - cells
        room = min(rows // manner.beam_size, cells // (manner.beam_size * width))
        return min(own.free, room) if own else max(room, 0 if self._batches else 1)

    def _failed(self, manner: Manner, sentences: list[Sentence], error: Exception) -> list[Found]:
        # Its frames hold the tensors of the failed attempt, and somebody may keep the error.
        traceback.clear_frames(error.__traceback__)
        out_of_memory = is_out_of_memory(error)
        if out_of_memory:
            logger.warning("out of memory with %d sentences in a batch: %s", len(sentences), error)
            free_device_memory()
        elif len(sentences) > 1:
            logger.warning("a step with %d sentences failed; they are searched anew", len(sentences), exc_info=error)
        if len(sentences) > 1 or (out_of_memory and self._batches):
            self._search_anew(manner, sentences)
            return []
        if out_of_memory:
            self._suspects.difference_update(sentences)
        else:
            # The culprit is known, and the others need not be searched in small batches any longer.
            self._suspects.clear()
        return [Found(sentences[0], error=error)]

    def _search_anew(self, manner: Manner, suspects: Sequence[Sentence]) -> None:
        self._suspects.update(suspects)
        self._most_suspects = len(suspects) // 2
        self._waiting.extendleft(_Waiting(sentence, manner) for sentence in reversed(suspects))


def batch_width(length: int) -> int:
    """The most tokens of a source in the batch that one of so many enters."""
    return max(_SMALLEST_WIDTH, 1 << (length - 1).bit_length())


def sentences_at_once(beam_size: int, width: int, most_rows: int = MOST_ROWS) -> int:
    """The most sentences that are searched at the same time; one always is.

    Args:
        beam_size: Hypotheses of each.
        width: Most tokens of a source.
        most_rows: Hypotheses of all of them.
    """
    return max(1, min(most_rows // beam_size, _MOST_SOURCE_CELLS // (beam_size * width)))
