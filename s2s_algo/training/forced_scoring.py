"""How probable a model finds given translations: forced decoding, with the numbers of training's loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.data.batches import collate
from s2s_algo.data.buckets import Bucket
from s2s_algo.data.corpus import Corpus, Sequences
from s2s_algo.data.plans import PlannedBatch
from s2s_algo.errors import ClientError
from s2s_algo.loading import load_model
from s2s_algo.training.loss import score_labels

# Pairs in memory at a time: sorted by length, they make batches with little padding.
_PAIRS_AT_ONCE = 2048
# Positions of a batch, of either side, padding included; one pair may have more.
_POSITIONS = 4096


@dataclass(frozen=True, slots=True)
class SentenceScore:
    """What one translation costs, or all of a text.

    Attributes:
        negative_log_probability: In nats, the sum over its tokens; a token's is not limited, as in the loss.
        tokens: Of the target, ``</s>`` included.
    """

    negative_log_probability: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """The exponential of the mean per token; infinity where no number is large enough."""
        try:
            return math.exp(self.negative_log_probability / max(self.tokens, 1))
        except OverflowError:
            return math.inf

    def __add__(self, other: SentenceScore) -> SentenceScore:
        return SentenceScore(self.negative_log_probability + other.negative_log_probability, self.tokens + other.tokens)


@dataclass(frozen=True, slots=True)
class ForcedScorer:
    """Scores pairs with a loaded model; make one with `load`.

    Attributes:
        artifact: Whose model is in evaluation mode, in float32.
        device: Where the model lies.
    """

    artifact: Artifact
    device: torch.device

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """Loads a model.

        Args:
            folder: What a training job left in ``/opt/ml/model``, or a model of the original.
            device: Where to compute; by default a GPU if there is one.

        Raises:
            ClientError: The folder holds no model that can be read.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        artifact = load_model(folder)
        artifact.model.to(device).eval()
        return cls(artifact, device)

    def score(self, pairs: Iterable[tuple[str, str]]) -> Iterator[SentenceScore]:
        """Scores translations in bounded memory, in their order.

        Args:
            pairs: Sources and their translations, cut into tokens as the model's vocabularies say. A blank translation
                is ``</s>`` alone.

        Raises:
            ClientError: A source is blank, or a side is longer than the model reads or writes; names the line.
        """
        lines = enumerate(pairs, 1)
        while chunk := list(islice(lines, _PAIRS_AT_ONCE)):
            yield from self._score_chunk([self._encoded(number, *pair) for number, pair in chunk])

    def _encoded(self, line: int, source: str, target: str) -> tuple[list[int], list[int]]:
        inference = self.artifact.inference
        source_ids = self.artifact.source_vocabulary.encode(source)
        target_ids = self.artifact.target_vocabulary.encode(target)
        most_source = inference.limits.max_input_length - inference.source_eos
        most_target = inference.limits.max_output_length - 1  # one position is that of </s>
        where = f"line {line}"
        if not source_ids:
            raise ClientError("the source is blank, which no model can read; remove the pair", where=where)
        for side, ids, most in (("source", source_ids, most_source), ("target", target_ids, most_target)):
            if len(ids) > most:
                raise ClientError(
                    f"the {side} has {len(ids)} tokens, but the model takes at most {most} on this side; shorten or "
                    "remove the pair",
                    where=where,
                )
        if inference.source_eos:
            source_ids.append(self.artifact.source_vocabulary.eos_id)
        return source_ids, target_ids

    def _score_chunk(self, pairs: Sequence[tuple[list[int], list[int]]]) -> Iterator[SentenceScore]:
        sources, targets = zip(*pairs, strict=True)
        corpus = Corpus(_sequences(sources), _sequences(targets))
        scores: list[SentenceScore | None] = [None] * len(pairs)
        for planned in _batches(corpus):
            for pair, score in zip(planned.pairs.tolist(), self._score_batch(corpus, planned), strict=True):
                scores[pair] = score
        return (score for score in scores if score is not None)

    @torch.inference_mode()
    def _score_batch(self, corpus: Corpus, planned: PlannedBatch) -> list[SentenceScore]:
        vocabulary = self.artifact.target_vocabulary
        batch = collate(corpus, planned, vocabulary.bos_id, vocabulary.eos_id).to(self.device)
        real, scored = score_labels(self.artifact.model, batch)
        sums = torch.zeros(len(planned.pairs), dtype=torch.float64, device=self.device)
        sums.index_add_(0, real // planned.bucket.target, scored.negative_log_likelihood.double())
        return [
            SentenceScore(total, tokens)
            for total, tokens in zip(sums.tolist(), batch.target_length.tolist(), strict=True)
        ]


def _sequences(lists: Sequence[Sequence[int]]) -> Sequences:
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return Sequences.joined(np.array([token for tokens in lists for token in tokens], np.int32), offsets)


def _batches(corpus: Corpus) -> Iterator[PlannedBatch]:
    """Every pair once, pairs of similar lengths together."""
    source, target = corpus.source.lengths, corpus.target.lengths + 1
    order: NDArray[np.int64] = np.lexsort((source, target))
    start = 0
    while start < len(order):
        end, bucket = start, Bucket(0, 0)
        while end < len(order):
            wider = Bucket(max(bucket.source, int(source[order[end]])), max(bucket.target, int(target[order[end]])))
            if end > start and (end + 1 - start) * max(wider) > _POSITIONS:
                break
            end, bucket = end + 1, wider
        yield PlannedBatch(bucket, order[start:end])
        start = end
