"""Batched beam search over a model's steps.

Live and finished hypotheses of a sentence compete by their scores; it is done when all its hypotheses are. A done
sentence leaves the batch at once, and every sentence has its own output limit, so that no translation depends on batch
mates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s_algo.decoding.ranking import Ranking
from s2s_algo.model.seq2seq import Seq2Seq

# A finished hypothesis goes on with padding at no cost.
_PAD = 0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way to end the search.

    Attributes:
        token_ids: All generated tokens, ``</s>`` included when it was reached.
        score: As the ranking has it; the lower, the better.
        attention: float32 [len(token_ids), S]; padding columns included.
    """

    token_ids: NDArray[np.int64]
    score: float
    attention: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step decided, for tracing hypotheses back.

    Attributes:
        slots: int64 [B], where each sentence was in the running batch, -1 if it had left.
        parents: int64 [B', K], which hypothesis of the step before each one continues.
        tokens: int64 [B', K].
        attention: float [B', K before, S], by the hypotheses before the step.
    """

    slots: NDArray[np.int64]
    parents: Tensor
    tokens: Tensor
    attention: Tensor


@torch.inference_mode()
def beam_search(
    model: Seq2Seq,
    source: Tensor,
    source_length: Tensor,
    limits: Sequence[int],
    *,
    bos_id: int,
    eos_id: int,
    beam_size: int,
    ranking: Ranking,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Translates a batch.

    Args:
        model: In evaluation mode.
        source: int64 [B, S], padded with 0.
        source_length: int64 [B], at least 1.
        limits: Most tokens per sentence, ``</s>`` included, at least 1.
        bos_id: What the target begins with.
        eos_id: What ends it.
        beam_size: K, at least 1 and below the size of the target vocabulary.
        ranking: How hypotheses are compared.
        n_best: Hypotheses to return per sentence, at most ``beam_size``.

    Returns:
        Per sentence its best hypotheses, best first.
    """
    sentences = len(limits)
    limit = torch.tensor(limits, device=source.device)
    # The running batch: `alive` maps its sentences to the caller's; rows of a sentence follow one another.
    alive = torch.arange(sentences, device=source.device)
    state, memory = model.decoder.start(model.encode(source, source_length))
    # One hypothesis per sentence to begin with, so that the first step cannot choose the same token twice.
    tokens = torch.full((sentences, 1), bos_id, device=source.device)
    cost = score = torch.zeros(sentences, 1, device=source.device)
    length = torch.zeros(sentences, 1, dtype=torch.int64, device=source.device)
    finished = torch.zeros(sentences, 1, dtype=torch.bool, device=source.device)
    final_scores = torch.empty(sentences, beam_size, device=source.device)
    final_order = torch.empty(sentences, beam_size, dtype=torch.int64, device=source.device)
    steps: list[_Step] = []

    while len(alive):
        # (1) The model's opinion on every next token of every hypothesis.
        output, state, attention = model.decoder.step(model.target_embedding(tokens.flatten()), state, memory)
        surprise = -model.output_layer(output).log_softmax(-1)
        width, vocabulary = tokens.shape[1], surprise.shape[-1]
        # (2) Costs and scores of all continuations; a finished hypothesis has only one, itself.
        costs = cost[:, :, None] + surprise.view(len(alive), width, vocabulary)
        scores = ranking.going_on(costs, length[:, :, None] + 1).masked_fill(finished[:, :, None], torch.inf)
        scores[:, :, _PAD] = torch.where(finished, score, scores[:, :, _PAD])
        # (3) The best continuations of each sentence, best first.
        _, choice = scores.view(len(alive), -1).topk(beam_size, largest=False)
        parents = choice // vocabulary
        tokens = choice % vocabulary
        # (4) The hypotheses become their continuations.
        was_finished = finished.gather(1, parents)
        grown = costs.view(len(alive), -1).gather(1, choice)
        cost = torch.where(was_finished, cost.gather(1, parents), grown)
        length = length.gather(1, parents) + ~was_finished
        finished = was_finished | (tokens == eos_id) | (tokens == _PAD)
        score = torch.where(finished, ranking.ended(cost, length), ranking.going_on(cost, length))
        first_row = torch.arange(len(alive), device=source.device)[:, None] * width
        state = state.select((first_row + parents).flatten())
        steps.append(_Step(_slots(alive, sentences), parents, tokens, attention.view(len(alive), width, -1)))
        # (5) Sentences that are done leave.
        done = finished.all(1) | (limit[alive] <= len(steps))
        if bool(done.any()):
            # Those that end at the last step may change places, by a rule that treats them differently from then on.
            final_scores[alive[done]], final_order[alive[done]] = score[done].sort(dim=1, stable=True)
            staying = (~done).nonzero().squeeze(1)
            rows = (staying[:, None] * beam_size + torch.arange(beam_size, device=source.device)).flatten()
            state, memory, alive = state.select(rows), memory.select(staying), alive[staying]
            tokens, cost, score = tokens[staying], cost[staying], score[staying]
            length, finished = length[staying], finished[staying]

    return _trace_back(steps, final_scores.cpu().numpy(), final_order[:, :n_best].cpu().numpy())


def _slots(alive: Tensor, sentences: int) -> NDArray[np.int64]:
    slots = np.full(sentences, -1, dtype=np.int64)
    slots[alive.cpu().numpy()] = np.arange(len(alive))
    return slots


def _trace_back(steps: Sequence[_Step], scores: NDArray[np.float32], rows: NDArray[np.int64]) -> list[list[Hypothesis]]:
    """Follows the parents of all sentences' best rows [B, N], the best first, from the last step to the first."""
    (sentences, n_best), width = rows.shape, steps[0].attention.shape[-1]
    rows = rows.copy()
    tokens = np.full((len(steps), sentences, n_best), _PAD, dtype=np.int64)
    attention = np.zeros((len(steps), sentences, n_best, width), dtype=np.float32)
    for number in reversed(range(len(steps))):
        step = steps[number]
        running = (step.slots >= 0).nonzero()[0]
        slots = step.slots[running][:, None]
        tokens[number, running] = step.tokens.cpu().numpy()[slots, rows[running]]
        rows[running] = step.parents.cpu().numpy()[slots, rows[running]]
        attention[number, running] = step.attention.float().cpu().numpy()[slots, rows[running]]
    return [
        [
            _hypothesis(tokens[:, sentence, rank], attention[:, sentence, rank], float(scores[sentence, rank]))
            for rank in range(n_best)
        ]
        for sentence in range(sentences)
    ]


def _hypothesis(tokens: NDArray[np.int64], attention: NDArray[np.float32], score: float) -> Hypothesis:
    """Without the padding behind its end."""
    real = tokens != _PAD
    return Hypothesis(tokens[real], score, attention[real])
