"""The translator: a loaded model with its vocabularies and limits, from source ids to translations.

Needs neither HTTP nor container code: ``Translator.load(folder).translate([[5, 6, 7]])``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.data.vocabulary import PAD_ID, Vocabulary
from s2s_algo.decoding.beam_search import Hypothesis, beam_search
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.ranking import LengthPenalty, PieceScore, Ranking
from s2s_algo.decoding.translation import Translation
from s2s_algo.errors import ClientError
from s2s_algo.loading import load_model
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.seq2seq import Seq2Seq

# Rows (hypotheses) and padded source tokens times rows that are searched together; bounds memory, not results.
_MOST_ROWS = 320
_MOST_SOURCE_CELLS = 32_000


class Translator:
    """Translates; safe to call from several threads.

    Attributes:
        source_vocabulary, target_vocabulary: What ids mean.
        inference: How the model translates by itself.
        options: The same as search options, used where a call gives none.
    """

    def __init__(
        self,
        model: Seq2Seq,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        inference: InferenceConfig,
    ) -> None:
        self.model = model
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.inference = inference
        self.options = SearchOptions(inference.beam_size, inference.length_penalty_alpha, inference.length_penalty_beta)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Translator:
        """Loads a model.

        Args:
            folder: What a training job left in ``/opt/ml/model``, or a model of the original.
            device: Where to compute; by default a GPU if there is one.

        Raises:
            ClientError: The folder holds no model that can be read.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return cls.from_artifact(load_model(folder), device)

    @classmethod
    def from_artifact(cls, artifact: Artifact, device: torch.device) -> Translator:
        """A translator of a loaded artifact."""
        model = artifact.model.to(device).eval()
        return cls(model, artifact.source_vocabulary, artifact.target_vocabulary, artifact.inference)

    def translate(self, sources: Sequence[Sequence[int]], options: SearchOptions | None = None) -> list[Translation]:
        """The best translation of each source; see ``translate_n_best``."""
        return [found[0] for found in self.translate_n_best(sources, options)]

    def translate_n_best(
        self, sources: Sequence[Sequence[int]], options: SearchOptions | None = None
    ) -> list[list[Translation]]:
        """Translates.

        An empty source gives one empty translation. A source longer than the model's maximum is cut into pieces that
        are translated one by one and joined (one translation, whatever ``n_best``): the attention is block-diagonal.

        Args:
            sources: Source vocabulary ids.
            options: How to search; by default as the model says.

        Returns:
            Per source at most ``n_best`` translations, best first.

        Raises:
            ClientError: An option is out of range, or an id is not in the vocabulary.
        """
        options = options or self.options
        options.check(len(self.target_vocabulary))
        self._check_ids(sources)
        pieces = [piece for source in sources for piece in self._cut(source)]
        found = iter(self._search_all(pieces, options))
        return [self._join([next(found) for _ in self._cut(source)], source, options) for source in sources]

    def _check_ids(self, sources: Sequence[Sequence[int]]) -> None:
        size = len(self.source_vocabulary)
        for number, source in enumerate(sources):
            for token in source:
                if not PAD_ID < token < size:
                    raise ClientError(
                        f"id {token} is not in 1 … {size - 1}. Use the ids of the model's source vocabulary.",
                        where=f"source {number}",
                    )

    def _cut(self, source: Sequence[int]) -> Iterator[Sequence[int]]:
        """The pieces of a source that are translated on their own; none for an empty source."""
        end = [self.source_vocabulary.eos_id] if self.inference.source_eos else []
        size = max(1, self.inference.limits.max_input_length - len(end))
        starts = range(0, min(len(source), size) if self.inference.cuts_sources else len(source), size)
        return ([*source[start : start + size], *end] for start in starts)

    def _search_all(self, pieces: Sequence[Sequence[int]], options: SearchOptions) -> list[list[Hypothesis]]:
        """Searches pieces in batches of similar length; answers in the order of the pieces."""
        order = sorted(range(len(pieces)), key=lambda index: len(pieces[index]))
        found: list[list[Hypothesis]] = [[] for _ in pieces]
        for batch in _batches(order, [len(piece) for piece in pieces], options.beam_size):
            for index, hypotheses in zip(batch, self._search([pieces[i] for i in batch], options), strict=True):
                found[index] = hypotheses
        return found

    def _search(self, pieces: Sequence[Sequence[int]], options: SearchOptions) -> list[list[Hypothesis]]:
        lengths = [len(piece) for piece in pieces]
        source = torch.full((len(pieces), max(lengths)), PAD_ID, dtype=torch.int64)
        for row, piece in enumerate(pieces):
            source[row, : len(piece)] = torch.as_tensor(piece, dtype=torch.int64)
        limits = [self.inference.limits.output_limit(length) for length in lengths]
        if options.max_output_length is not None:
            limits = [min(limit, options.max_output_length) for limit in limits]
        return beam_search(
            self.model,
            source.to(self.model.device),
            torch.tensor(lengths, device=self.model.device),
            limits,
            bos_id=self.target_vocabulary.bos_id,
            eos_id=self.target_vocabulary.eos_id,
            beam_size=options.beam_size,
            ranking=self._ranking(options),
            n_best=options.n_best,
        )

    def _join(
        self, found: Sequence[Sequence[Hypothesis]], source: Sequence[int], options: SearchOptions
    ) -> list[Translation]:
        if not found:
            return [Translation((), (), 0.0, np.zeros((0, 0), dtype=np.float32))]
        if len(found) == 1:
            return [self._translation([hypothesis], source, hypothesis.score) for hypothesis in found[0]]
        best = [hypotheses[0] for hypotheses in found]
        eos = self.target_vocabulary.eos_id
        scores = [PieceScore(one.score, len(one.token_ids), int((one.token_ids != eos).sum())) for one in best]
        return [self._translation(best, source, self._ranking(options).joined(scores))]

    def _ranking(self, options: SearchOptions) -> Ranking:
        return Ranking(LengthPenalty(options.length_penalty_alpha, options.length_penalty_beta), self.inference.ranking)

    def _translation(self, pieces: Sequence[Hypothesis], source: Sequence[int], score: float) -> Translation:
        """Joins pieces, without ``<s>`` and ``</s>``; their attention goes block by block down the diagonal."""
        special = (self.target_vocabulary.bos_id, self.target_vocabulary.eos_id)
        kept = [~np.isin(piece.token_ids, special) for piece in pieces]
        token_ids = np.concatenate([piece.token_ids[keep] for piece, keep in zip(pieces, kept, strict=True)])
        attention = np.zeros((len(token_ids), len(source)), dtype=np.float32)
        row = column = 0
        for piece, keep, read in zip(pieces, kept, self._cut(source), strict=True):
            block: NDArray[np.float32] = piece.attention[keep]
            # The column of a </s> that ends each piece stays, as in the original: what follows stands one further
            # to the right, and what does not fit is cut off.
            width = max(0, min(len(read), len(source) - column))
            attention[row : row + len(block), column : column + width] = block[:, :width]
            row, column = row + len(block), column + len(read)
        ids = tuple(token_ids.tolist())
        return Translation(ids, tuple(self.target_vocabulary.decode(ids)), score, attention)


def _batches(order: Sequence[int], lengths: Sequence[int], beam_size: int) -> Iterator[list[int]]:
    """Cuts indices, shortest first, into batches whose searches fit in memory."""
    batch: list[int] = []
    for index in order:
        rows = (len(batch) + 1) * beam_size
        if batch and (rows > _MOST_ROWS or rows * lengths[index] > _MOST_SOURCE_CELLS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
