"""Translations of sources that come at any time, in whatever order they are ready."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s2s_algo.decoding.beam_search import Hypothesis, Sentence
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.scheduler import Manner, Scheduler
from s2s_algo.decoding.translation import Translation

if TYPE_CHECKING:
    from s2s_algo.decoding.translator import Translator


@dataclass(slots=True, eq=False)
class Ticket:
    """A source that was submitted.

    Attributes:
        source: Its ids.
        options: How it is searched.
        pieces: What is searched for.
        found: What has been found, by piece.
    """

    source: Sequence[int]
    options: SearchOptions
    pieces: tuple[Sentence, ...]
    found: dict[Sentence, Sequence[Hypothesis]] = field(default_factory=dict)


class TranslationStream:
    """The sources under way of one translator; for one thread."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        vocabulary = translator.target_vocabulary
        self._scheduler = Scheduler(translator.model, vocabulary.bos_id, vocabulary.eos_id, translator.most_rows)
        self._tickets: dict[Sentence, Ticket] = {}
        self._ready: list[Ticket] = []  # that need no search

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._ready and self._scheduler.is_idle

    @property
    def waiting(self) -> int:
        """Sentences, or pieces of them, whose search has not begun."""
        return self._scheduler.waiting

    @property
    def waiting_rows(self) -> int:
        """The hypotheses that these will have."""
        return self._scheduler.waiting_rows

    @property
    def running(self) -> int:
        """Sentences that are being searched together."""
        return self._scheduler.running

    def submit(self, source: Sequence[int], options: SearchOptions) -> Ticket:
        """Takes a source.

        Args:
            source: Ids of the source vocabulary.
            options: How to search; must have been checked.
        """
        translator = self._translator
        pieces = tuple(translator.sentences(source, options))
        ticket = Ticket(source, options, pieces)
        manner = Manner(options.beam_size, translator.ranking(options), options.with_attention)
        for piece in pieces:
            self._tickets[piece] = ticket
            self._scheduler.submit(piece, manner)
        if not pieces:
            self._ready.append(ticket)
        return ticket

    def withdraw(self, tickets: Collection[Ticket]) -> None:
        """Drops sources that nobody wants any more."""
        unwanted = {piece for ticket in tickets for piece in ticket.pieces if self._tickets.pop(piece, None)}
        self._ready = [ticket for ticket in self._ready if ticket not in tickets]
        if unwanted:
            self._scheduler.withdraw(unwanted.__contains__)

    def step(self) -> list[tuple[Ticket, list[Translation] | Exception]]:
        """Goes on a little; returns what is ready, per source its best translations, best first, or its error."""
        done: list[tuple[Ticket, list[Translation] | Exception]] = [(one, self._joined(one)) for one in self._ready]
        self._ready = []
        for found in self._scheduler.step():
            ticket = self._tickets.pop(found.sentence)
            if found.error is not None:
                self.withdraw([ticket])
                done.append((ticket, found.error))
                continue
            ticket.found[found.sentence] = found.hypotheses
            if len(ticket.found) == len(ticket.pieces):
                done.append((ticket, self._joined(ticket)))
        return done

    def _joined(self, ticket: Ticket) -> list[Translation] | Exception:
        in_order = [ticket.found[piece] for piece in ticket.pieces]
        try:
            return self._translator.joined(in_order, ticket.source, ticket.options)
        except Exception as error:  # such as the attention of a very long source that does not fit in memory
            return error
