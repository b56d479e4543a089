"""Attention of a recurrent decoder: scores over the source positions and the context they select.

Bahdanau et al. (2015) for mlp, Luong et al. (2015) for dot ("dot") and bilinear ("general"); ``fixed`` always looks at
the last source position. What depends on the source alone is computed once per sentence and travels in a ``Memory``,
never on the module, so that one model can serve several searches at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2s_algo.model.config import AttentionConfig, AttentionType
from s2s_algo.model.shapes import length_mask

# Added in place of the scores of padding; finite as in the original, and far below any score of a token.
MASKED = -99999999.0


@dataclass(frozen=True, slots=True)
class EncodedSource:
    """What the encoder says about a batch of source sentences.

    Attributes:
        states: float [B, S, H].
        length: int64 [B], at least 1.
    """

    states: Tensor
    length: Tensor

    def last(self) -> Tensor:
        """The states of the last token of each sentence, float [B, H]."""
        rows = torch.arange(self.states.shape[0], device=self.states.device)
        return self.states[rows, self.length - 1]

    def average(self) -> Tensor:
        """The mean over the tokens of each sentence, float [B, H]."""
        mask = length_mask(self.length, self.states.shape[1])
        return self.states.masked_fill(~mask[:, :, None], 0).sum(1) / self.length[:, None]


@dataclass(frozen=True, slots=True)
class Memory:
    """What the attention keeps of a batch of source sentences.

    Attributes:
        values: float [B, S, H], averaged into the context.
        keys: float [B, S, A], compared with the query; for fixed attention the weights themselves, float [B, S].
        padding: bool [B, S], True at padding.
        asking: Where not every hypothesis asks: int64 [N], the numbers of those that do among all B * K, ascending.
        hypotheses: B * K, where not every one asks.
    """

    values: Tensor
    keys: Tensor
    padding: Tensor
    asking: Tensor | None = None
    hypotheses: int = 0

    def asked_by(self, asking: Tensor, hypotheses: int) -> Memory:
        """The same memory, asked by some of so many hypotheses."""
        return replace(self, asking=asking, hypotheses=hypotheses)

    def select(self, sentences: Tensor) -> Memory:
        """The memory of some of the sentences, int64 [B']."""
        values = self.values[sentences]
        # Where the encoder states serve as both, they stay one tensor.
        keys = values if self.keys is self.values else self.keys[sentences]
        return Memory(values, keys, self.padding[sentences])

    def cut(self, width: int) -> Memory:
        """Only the first positions, which hold all tokens of every sentence; a view."""
        values = self.values[:, :width]
        return Memory(values, values if self.keys is self.values else self.keys[:, :width], self.padding[:, :width])

    def joined(self, other: Memory) -> Memory:
        """These sentences and then others, all padded to the longer of both widths."""
        width = max(self.padding.shape[1], other.padding.shape[1])
        values = torch.cat([_widened(self.values, width), _widened(other.values, width)])
        if self.keys is self.values:
            keys = values
        else:
            keys = torch.cat([_widened(self.keys, width), _widened(other.keys, width)])
        return Memory(values, keys, torch.cat([_widened(self.padding, width, 1), _widened(other.padding, width, 1)]))


class Attention(nn.Module):
    """Scores the source positions for a query."""

    def remember(self, source: EncodedSource) -> Memory:
        """Computes once per sentence what every step needs."""
        padding = ~length_mask(source.length, source.states.shape[1])
        return Memory(source.states, self.keys(source), padding)

    def keys(self, source: EncodedSource) -> Tensor:
        """The keys of all source positions, float [B, S, A]."""
        raise NotImplementedError

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """How well each source position fits each query.

        Args:
            query: float [B, K, H].
            keys: float [B, S, A].

        Returns:
            float [B, K, S].
        """
        raise NotImplementedError

    def weights(self, query: Tensor, memory: Memory) -> Tensor:
        """The weights of the source positions, float [B, K, S]; each row sums to 1 and padding weighs nothing."""
        scores = self.scores(query, memory.keys)
        return scores.masked_fill(memory.padding[:, None, :], MASKED).softmax(-1)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attends.

        Args:
            query: float [N, H]; the rows of a sentence follow one another.
            memory: Of B sentences; N is B * K unless it says who asks.

        Returns:
            The context, float [N, H of the encoder], and the weights, float [N, S].
        """
        if memory.asking is not None:
            query = query.new_zeros(memory.hypotheses, query.shape[-1]).index_copy_(0, memory.asking, query)
        sentences = memory.values.shape[0]
        weights = self.weights(query.reshape(sentences, -1, query.shape[-1]), memory)
        context, weights = (weights @ memory.values).flatten(0, 1), weights.flatten(0, 1)
        if memory.asking is not None:
            context, weights = context.index_select(0, memory.asking), weights.index_select(0, memory.asking)
        return context, weights


class MLPAttention(Attention):
    """v · tanh(W_e enc_s + W_q q), without biases."""

    def __init__(self, source_size: int, query_size: int, num_hidden: int) -> None:
        super().__init__()
        self.source_layer = nn.Linear(source_size, num_hidden, bias=False)
        self.query_layer = nn.Linear(query_size, num_hidden, bias=False)
        self.score_layer = nn.Linear(num_hidden, 1, bias=False)

    def keys(self, source: EncodedSource) -> Tensor:  # noqa: D102
        return self.source_layer(source.states)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:  # noqa: D102
        # In place, for the sum is as large as the result and nobody needs it.
        hidden = (keys[:, None] + self.query_layer(query)[:, :, None]).tanh_()
        return self.score_layer(hidden).squeeze(-1)


class DotAttention(Attention):
    """(W_s enc_s) · (W_t q), each projection only where its size is not already ``num_hidden``; not scaled."""

    def __init__(self, source_size: int, query_size: int, num_hidden: int) -> None:
        super().__init__()
        self.source_layer = project_if_needed(source_size, num_hidden)
        self.query_layer = project_if_needed(query_size, num_hidden)

    def keys(self, source: EncodedSource) -> Tensor:  # noqa: D102
        return self.source_layer(source.states)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:  # noqa: D102
        return self.query_layer(query) @ keys.transpose(1, 2)


class BilinearAttention(Attention):
    """(W enc_s) · q."""

    def __init__(self, source_size: int, query_size: int, num_hidden: int) -> None:
        super().__init__()
        self.source_layer = nn.Linear(source_size, query_size, bias=False)

    def keys(self, source: EncodedSource) -> Tensor:  # noqa: D102
        return self.source_layer(source.states)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:  # noqa: D102
        return query @ keys.transpose(1, 2)


class FixedAttention(Attention):
    """Always the last source position; no parameters. Its keys are the weights."""

    def __init__(self, source_size: int, query_size: int, num_hidden: int) -> None:
        super().__init__()

    def keys(self, source: EncodedSource) -> Tensor:  # noqa: D102
        return functional.one_hot(source.length - 1, source.states.shape[1]).to(source.states.dtype)

    def weights(self, query: Tensor, memory: Memory) -> Tensor:  # noqa: D102
        return memory.keys[:, None, :].expand(-1, query.shape[1], -1)


def _widened(tensor: Tensor, width: int, value: float = 0) -> Tensor:
    """A tensor [B, S, ...] with more positions."""
    behind = [0, 0] * (tensor.dim() - 2) + [0, width - tensor.shape[1]]
    return functional.pad(tensor, behind, value=value)


def project_if_needed(source_size: int, size: int) -> nn.Module:
    """A linear layer without bias from one width to another, or nothing if they are the same."""
    return nn.Identity() if source_size == size else nn.Linear(source_size, size, bias=False)


_TYPES: dict[
    AttentionType, type[MLPAttention] | type[DotAttention] | type[BilinearAttention] | type[FixedAttention]
] = {
    "mlp": MLPAttention,
    "dot": DotAttention,
    "bilinear": BilinearAttention,
    "fixed": FixedAttention,
}


def build_attention(config: AttentionConfig, source_size: int, query_size: int) -> Attention:
    """The attention that ``config`` describes, with uninitialised weights."""
    return _TYPES[config.type](source_size, query_size, config.num_hidden)
