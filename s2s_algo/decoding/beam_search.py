"""Batched beam search over a model's steps, in a batch that sentences enter and leave between any two steps.

Live and finished hypotheses of a sentence compete by their scores; it is done when all its hypotheses are. Every
sentence has its own output limit and makes its own steps, so that no translation depends on batch mates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s_algo.decoding.history import History
from s2s_algo.decoding.likeliest import likeliest
from s2s_algo.decoding.ranking import Ranking
from s2s_algo.model.attention import Memory
from s2s_algo.model.decoder import DecoderState
from s2s_algo.model.seq2seq import Seq2Seq

# A finished hypothesis goes on with padding at no cost.
_PAD = 0


@dataclass(frozen=True, slots=True, eq=False)
class Sentence:
    """What is searched for.

    Attributes:
        source: Ids, at least one.
        limit: Most tokens, ``</s>`` included, at least 1.
        n_best: Hypotheses to return, at most as many as the beam has.
    """

    source: Sequence[int]
    limit: int
    n_best: int = 1


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way to end the search.

    Attributes:
        token_ids: All generated tokens, ``</s>`` included when it was reached.
        score: As the ranking has it; the lower, the better.
        attention: float32 [len(token_ids), S]; S is 0 if it was not kept.
    """

    token_ids: NDArray[np.int64]
    score: float
    attention: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Running:
    """The sentences in the batch, with K hypotheses each.

    Attributes:
        sentences: B of them.
        places: int64 [B], in the history.
        age: int64 [B], steps made.
        limit: int64 [B], most steps.
        live: int64 [L], the numbers of the hypotheses, among all B * K, that have not ended.
        state: Of these, L rows.
        memory: Of B sentences.
        tokens: int64 [B, K], the last one of each hypothesis.
        cost: float [B, K], its negative log-probability.
        score: float [B, K].
        length: int64 [B, K], tokens until it ended.
        finished: bool [B, K].
    """

    sentences: tuple[Sentence, ...]
    places: Tensor
    age: Tensor
    limit: Tensor
    live: Tensor
    state: DecoderState
    memory: Memory
    tokens: Tensor
    cost: Tensor
    score: Tensor
    length: Tensor
    finished: Tensor

    def joined(self, other: _Running) -> _Running:
        """With others behind them."""
        tensors = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in _PER_SENTENCE}
        return _Running(
            sentences=self.sentences + other.sentences,
            live=torch.cat([self.live, other.live + self.tokens.numel()]),
            state=self.state.joined(other.state),
            memory=self.memory.joined(other.memory),
            **tensors,
        )

    def select(self, kept: list[int], rows: Tensor) -> _Running | None:
        """Some of them, or ``None`` if none is left.

        Args:
            kept: Which.
            rows: int64 [B, K], which row of the state each hypothesis goes on from; anything for those that ended.
        """
        if not kept:
            return None
        if len(kept) == len(self.sentences):
            return replace(self, **self._go_on(self.finished, rows))
        index = torch.tensor(kept, device=rows.device)
        sentences = tuple(self.sentences[number] for number in kept)
        tensors = {name: getattr(self, name)[index] for name in _PER_SENTENCE}
        return _Running(
            sentences=sentences,
            memory=self.memory.select(index).cut(max(len(sentence.source) for sentence in sentences)),
            **tensors,
            **self._go_on(tensors["finished"], rows[index]),
        )

    def _go_on(self, finished: Tensor, rows: Tensor) -> dict[str, Any]:
        """Which hypotheses go on, and the state of these."""
        live = (~finished).flatten().nonzero()[:, 0]
        return {"live": live, "state": self.state.select(rows.flatten()[live])}

    def rows(self) -> Tensor:
        """The row of the state that each hypothesis has, int64 [B, K]; anything for those that ended."""
        return self.spread(torch.arange(len(self.live), device=self.live.device)).view_as(self.tokens)

    def spread(self, rows: Tensor) -> Tensor:
        """[B * K, ...] of what is known about the live hypotheses, [L, ...], with zeros for the others."""
        if len(self.live) == self.tokens.numel():
            return rows
        return rows.new_zeros(self.tokens.numel(), *rows.shape[1:]).index_copy_(0, self.live, rows)


_PER_SENTENCE = ("places", "age", "limit", "tokens", "cost", "score", "length", "finished")


class BeamSearch:
    """A search under one rule with a beam of one size.

    An error in the middle leaves a batch that cannot go on; whoever drives it starts its sentences anew in another one.
    """

    def __init__(
        self,
        model: Seq2Seq,
        *,
        bos_id: int,
        eos_id: int,
        beam_size: int,
        ranking: Ranking,
        places: int,
        width: int,
        with_attention: bool = True,
    ) -> None:
        """An empty batch.

        Args:
            model: In evaluation mode.
            bos_id: What the target begins with.
            eos_id: What ends it.
            beam_size: K, at least 1 and below the size of the target vocabulary.
            ranking: How hypotheses are compared.
            places: Most sentences at a time.
            width: Most tokens of a source.
            with_attention: Whether hypotheses come with their attention weights.
        """
        self._model = model
        self._bos_id, self._eos_id = bos_id, eos_id
        self._beam_size = beam_size
        self._ranking = ranking
        self._with_attention = with_attention
        self._history = History(places, 0, beam_size, width if with_attention else 0, model.device)
        self._running: _Running | None = None
        self._found: list[tuple[Sentence, list[Hypothesis]]] = []  # of newcomers whose first step was the last

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """Those in the batch, and those that are done but not yet returned."""
        return (self._running.sentences if self._running else ()) + tuple(sentence for sentence, _ in self._found)

    @property
    def free(self) -> int:
        """How many may still enter."""
        return self._history.free

    @torch.inference_mode()
    def enter(self, sentences: Sequence[Sentence]) -> None:
        """Takes sentences into the batch, at most as many as there are free places, and makes their first step."""
        found, entered = self._advance(self._start(sentences))
        if self._running is not None and entered is not None:
            entered = self._running.joined(entered)
        # Only now: after an error none of the newcomers counts as one of the batch.
        self._running = entered or self._running
        self._found += found

    @torch.inference_mode()
    def withdraw(self, unwanted: Callable[[Sentence], bool]) -> None:
        """Takes sentences out of the batch."""
        self._found = [(sentence, found) for sentence, found in self._found if not unwanted(sentence)]
        if self._running is None:
            return
        kept = []
        for number, (sentence, place) in enumerate(
            zip(self._running.sentences, self._running.places.tolist(), strict=True)
        ):
            if unwanted(sentence):
                self._history.leave(place)
            else:
                kept.append(number)
        self._running = self._running.select(kept, self._running.rows())

    @torch.inference_mode()
    def step(self) -> list[tuple[Sentence, list[Hypothesis]]]:
        """Makes one step with all sentences; returns those that are done, each with its best hypotheses, best first."""
        done, running = self._advance(self._running) if self._running is not None else ([], None)
        # Only now: after an error they are still in the batch.
        found, self._found, self._running = self._found + done, [], running
        return found

    def _advance(self, running: _Running) -> tuple[list[tuple[Sentence, list[Hypothesis]]], _Running | None]:
        """One step: who is done, and the others."""
        ranking, sentences, width = self._ranking, *running.tokens.shape
        # (1) The model's opinion on every next token of every hypothesis that has not ended.
        memory, tokens = running.memory, running.tokens.flatten()
        if len(running.live) < len(tokens):
            memory, tokens = memory.asked_by(running.live, len(tokens)), tokens.index_select(0, running.live)
        embedded = self._model.target_embedding(tokens)
        output, state, attention = self._model.decoder.step(embedded, running.state, memory)
        # (2) Costs and scores of the likeliest continuations of each; a finished hypothesis has only one, itself. No
        # others can be among the best of the sentence, so nothing as large as the logits is computed from them.
        surprise, words = map(running.spread, likeliest(self._model.output_layer(output), self._beam_size))
        costs = running.cost[:, :, None] + surprise.view(sentences, width, -1)
        scores = ranking.going_on(costs, running.length[:, :, None] + 1)
        scores = scores.masked_fill(running.finished[:, :, None], torch.inf)
        scores[:, :, 0] = torch.where(running.finished, running.score, scores[:, :, 0])
        words = words.view(sentences, width, -1)
        words[:, :, 0].masked_fill_(running.finished, _PAD)
        # (3) The best continuations of each sentence, best first.
        score, choice = scores.view(sentences, -1).topk(self._beam_size, largest=False)
        parents = choice // self._beam_size
        tokens = words.flatten(1).gather(1, choice)
        # (4) The hypotheses become their continuations.
        was_finished = running.finished.gather(1, parents)
        grown = costs.flatten(1).gather(1, choice)
        cost = torch.where(was_finished, running.cost.gather(1, parents), grown)
        length = running.length.gather(1, parents) + ~was_finished
        finished = was_finished | (tokens == self._eos_id) | (tokens == _PAD)
        score = ranking.settled(score, finished, cost, length)
        self._history.write(running.places, running.age, tokens, parents)
        if self._with_attention:
            attention = running.spread(attention).view(sentences, width, -1)
            self._history.write_attention(running.places, running.age, attention)
        age = running.age + 1
        # (5) Sentences that are done leave.
        done = (finished.all(1) | (running.limit <= age)).tolist()
        moved = replace(
            running, age=age, state=state, tokens=tokens, cost=cost, score=score, length=length, finished=finished
        )
        leaving = [number for number, is_done in enumerate(done) if is_done]
        found = self._trace(moved, leaving) if leaving else []
        staying = [number for number, is_done in enumerate(done) if not is_done]
        return found, moved.select(staying, running.rows().gather(1, parents))

    def _start(self, sentences: Sequence[Sentence]) -> _Running:
        lengths = [len(sentence.source) for sentence in sentences]
        source = torch.full((len(sentences), max(lengths)), _PAD, dtype=torch.int64)
        for row, sentence in enumerate(sentences):
            source[row, : lengths[row]] = torch.as_tensor(sentence.source, dtype=torch.int64)
        # One hypothesis per sentence to begin with, so that the first step cannot choose the same token twice.
        device, beams = self._model.device, (len(sentences), 1)
        encoded = self._model.encode(source.to(device), torch.tensor(lengths, device=device))
        state, memory = self._model.decoder.start(encoded)
        cost = torch.zeros(beams, device=device)
        limits = [sentence.limit for sentence in sentences]
        return _Running(
            sentences=tuple(sentences),
            places=torch.tensor(self._history.enter(limits), device=device),
            age=torch.zeros(len(sentences), dtype=torch.int64, device=device),
            limit=torch.tensor(limits, device=device),
            live=torch.arange(len(sentences), device=device),
            state=state,
            memory=memory,
            tokens=torch.full(beams, self._bos_id, device=device),
            cost=cost,
            score=cost,
            length=torch.zeros(beams, dtype=torch.int64, device=device),
            finished=torch.zeros(beams, dtype=torch.bool, device=device),
        )

    def _trace(self, running: _Running, leaving: list[int]) -> list[tuple[Sentence, list[Hypothesis]]]:
        # Those that ended at the last step may change places, by a rule that treats them differently from then on.
        scores, order = (part.cpu().numpy() for part in running.score[leaving].sort(dim=1, stable=True))
        places, ages = running.places[leaving].tolist(), running.age[leaving].tolist()
        found = []
        for row, number in enumerate(leaving):
            sentence = running.sentences[number]
            width = len(sentence.source)
            tokens, attention = self._history.trace(places[row], ages[row], width, order[row, : sentence.n_best])
            self._history.leave(places[row])
            hypotheses = []
            for rank in range(sentence.n_best):
                real = tokens[rank] != _PAD  # without the padding behind its end
                hypotheses.append(Hypothesis(tokens[rank][real], float(scores[row, rank]), attention[rank][real]))
            found.append((sentence, hypotheses))
        return found
