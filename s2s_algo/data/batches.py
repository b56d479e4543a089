"""The tensors of a batch. Source: original numerics 2.6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s_algo.data.corpus import Corpus, Sequences
from s2s_algo.data.plans import PlannedBatch
from s2s_algo.data.vocabulary import PAD_ID
from s2s_algo.errors import AlgorithmError


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The tensors of one batch, all int64, padded with 0 to the shape of its bucket.

    Attributes:
        source: [B, S] token ids.
        source_length: [B] source tokens.
        target_in: [B, T] ``<s>`` and the token ids: the decoder's input.
        target_label: [B, T] the token ids and ``</s>``: what it should predict.
        target_length: [B] target tokens and 1 for ``</s>``.
    """

    source: Tensor
    source_length: Tensor
    target_in: Tensor
    target_label: Tensor
    target_length: Tensor

    def to(self, device: torch.device | str) -> Self:
        """Returns the same batch on another device."""
        return type(self)(
            self.source.to(device),
            self.source_length.to(device),
            self.target_in.to(device),
            self.target_label.to(device),
            self.target_length.to(device),
        )


def collate(corpus: Corpus, planned: PlannedBatch, bos_id: int, eos_id: int) -> Batch:
    """Looks the tokens of a planned batch up.

    Args:
        corpus: Truncated as it was when the plan was made.
        planned: B pairs, and S and T of their bucket; B may be 0.
        bos_id: Id of ``<s>`` in the target vocabulary.
        eos_id: Id of ``</s>`` in the target vocabulary.

    Raises:
        AlgorithmError: A pair does not fit the bucket.
    """
    size = len(planned.pairs)
    source, source_length = _padded(corpus.source, planned.pairs, planned.bucket.source)
    words, word_count = _padded(corpus.target, planned.pairs, planned.bucket.target - 1)
    target_in = np.concatenate([np.full((size, 1), bos_id, np.int64), words], axis=1)
    target_label = np.concatenate([words, np.full((size, 1), PAD_ID, np.int64)], axis=1)
    target_label[np.arange(size), word_count] = eos_id
    arrays = (source, source_length, target_in, target_label, word_count + 1)
    return Batch(*map(torch.from_numpy, arrays))


def _padded(
    sequences: Sequences, indices: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns int64 [B, width] token ids with zeros after each sequence, and int64 [B] lengths."""
    starts, lengths = sequences.spans(indices)
    if lengths.max(initial=0) > width:
        raise AlgorithmError(f"a sequence of {lengths.max()} tokens does not fit the {width} columns of its bucket")
    columns = np.arange(width)
    inside = columns < lengths[:, np.newaxis]
    ids = np.full((len(indices), width), PAD_ID, np.int64)
    ids[inside] = sequences.tokens[(starts[:, np.newaxis] + columns)[inside]]
    return ids, lengths
