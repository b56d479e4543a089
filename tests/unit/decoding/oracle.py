"""A plain beam search, one sentence at a time, against which the batched one is tested.

Follows the original's description step by step in numpy and float64, and shares no code with the product but the
model's single step. Hypotheses are numbered; ties go to the lower number, then to the lower token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2s_algo.model.seq2seq import Seq2Seq

PAD, BOS, EOS = 0, 2, 3


@dataclass(frozen=True)
class PlainHypothesis:
    """A partial or complete translation.

    Attributes:
        tokens: All generated tokens, ``</s>`` or the ``<pad>`` that ended it included.
        cost: Sum of their negative log-probabilities.
        attention: One row of weights per token.
        state: What the decoder goes on from.
    """

    tokens: list[int]
    cost: float
    state: Any
    attention: list[NDArray[Any]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether it may not grow any more."""
        return bool(self.tokens) and self.tokens[-1] in (EOS, PAD)

    @property
    def real_tokens(self) -> list[int]:
        """Without a ``<pad>`` at its end."""
        return [token for token in self.tokens if token != PAD]


class Steps:
    """A model's steps for one sentence."""

    def __init__(self, model: Seq2Seq, source: list[int]) -> None:
        self.model = model
        encoded = model.encode(torch.tensor([source]), torch.tensor([len(source)]))
        self.initial, self.memory = model.decoder.start(encoded)

    def step(self, token: int, state: Any) -> tuple[Any, NDArray[Any], NDArray[Any]]:
        """The next state, -ln p of every next token, and the attention."""
        embedded = self.model.target_embedding(torch.tensor([token]))
        output, state, attention = self.model.decoder.step(embedded, state, self.memory)
        logits = self.model.output_layer(output)[0].double().numpy()
        shifted = logits - logits.max()
        return state, np.log(np.exp(shifted).sum()) - shifted, attention[0].numpy()


def length_penalty(length: int, alpha: float, beta: float) -> float:
    """What a cost is divided by."""
    return (beta + length) ** alpha / (beta + 1) ** alpha


def score(hypothesis: PlainHypothesis, alpha: float, beta: float, rule: str = "normalized") -> float:
    """What a hypothesis is worth in the end; the lower, the better."""
    length = len(hypothesis.tokens)
    if rule == "normalized_at_end_without_eos":
        length -= 1
    if rule != "normalized" and not hypothesis.finished:
        return hypothesis.cost
    penalty = length_penalty(length, alpha, beta)
    return hypothesis.cost / penalty if penalty else np.inf


@torch.no_grad()
def plain_beam_search(
    model: Seq2Seq,
    source: list[int],
    limit: int,
    beam_size: int,
    alpha: float = 1.0,
    beta: float = 0.0,
    rule: str = "normalized",
) -> list[PlainHypothesis]:
    """The hypotheses that are left when all are finished or ``limit`` tokens long, best first."""
    steps = Steps(model, source)
    beam = [PlainHypothesis([], 0.0, steps.initial)]
    for _ in range(limit):
        candidates = []
        for hypothesis in beam:
            if hypothesis.finished:
                candidates.append((score(hypothesis, alpha, beta, rule), hypothesis))
                continue
            last = hypothesis.tokens[-1] if hypothesis.tokens else BOS
            state, surprise, attention = steps.step(last, hypothesis.state)
            for token in range(len(surprise)):
                cost = hypothesis.cost + float(surprise[token])
                grown = PlainHypothesis([*hypothesis.tokens, token], cost, state, [*hypothesis.attention, attention])
                # Even if it ends with this token, it competes like the others once more.
                rank = cost / length_penalty(len(grown.tokens), alpha, beta) if rule == "normalized" else cost
                candidates.append((rank, grown))
        # Python's sort is stable, which settles ties.
        beam = [hypothesis for _, hypothesis in sorted(candidates, key=lambda candidate: candidate[0])[:beam_size]]
        if all(hypothesis.finished for hypothesis in beam):
            break
    return sorted(beam, key=lambda hypothesis: score(hypothesis, alpha, beta, rule))


@torch.no_grad()
def plain_greedy(model: Seq2Seq, source: list[int], limit: int) -> tuple[list[int], float]:
    """Always the most probable token, by the sequence form of the model over all tokens so far; and the mean cost."""
    tokens: list[int] = []
    cost = 0.0
    while len(tokens) < limit and not (tokens and tokens[-1] in (EOS, PAD)):
        answer = model(torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([[BOS, *tokens]]))[0, -1]
        logprob = model.output_layer(answer).double().log_softmax(-1)
        tokens.append(int(logprob.argmax()))
        cost -= float(logprob[tokens[-1]])
    return tokens, cost / len(tokens)
