"""The translator: a loaded model with its vocabularies and limits, from source ids to translations.

Needs neither HTTP nor container code: ``Translator.load(folder).translate([[5, 6, 7]])``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.data.vocabulary import PAD_ID, Vocabulary
from s2s_algo.decoding.beam_search import Hypothesis, Sentence
from s2s_algo.decoding.fixed import fix_weights
from s2s_algo.decoding.options import PrecisionName, SearchOptions
from s2s_algo.decoding.ranking import LengthPenalty, PieceScore, Ranking
from s2s_algo.decoding.scheduler import MOST_ROWS
from s2s_algo.decoding.stream import TranslationStream
from s2s_algo.decoding.translation import Translation
from s2s_algo.errors import ClientError
from s2s_algo.loading import load_model
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.seq2seq import Seq2Seq


class Translator:
    """Translates; safe to call from several threads.

    Attributes:
        source_vocabulary: What ids of sources mean.
        target_vocabulary: The same of translations.
        inference: How the model translates by itself.
        options: The same as search options, used where a call gives none.
        most_rows: Hypotheses that a stream searches at the same time; one sentence always is, whatever its beam.
        num_parameters: Of the model.
    """

    def __init__(
        self,
        model: Seq2Seq,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        inference: InferenceConfig,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self.model = model
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.inference = inference
        self.most_rows = most_rows
        self.num_parameters = sum(parameter.numel() for parameter in model.parameters())
        self.options = SearchOptions(inference.beam_size, inference.length_penalty_alpha, inference.length_penalty_beta)

    @classmethod
    def load(
        cls,
        folder: Path,
        device: torch.device | None = None,
        most_rows: int = MOST_ROWS,
        precision: PrecisionName = "float32",
    ) -> Translator:
        """Loads a model.

        Args:
            folder: What a training job left in ``/opt/ml/model``, or a model of the original.
            device: Where to compute; by default a GPU if there is one.
            most_rows: Hypotheses that are searched at the same time.
            precision: Of products with the weights; see ``fix_weights``.

        Raises:
            ClientError: The folder holds no model that can be read, or the device cannot compute so.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        translator = cls.from_artifact(load_model(folder), device, most_rows)
        fix_weights(translator.model, precision)
        return translator

    @classmethod
    def from_artifact(cls, artifact: Artifact, device: torch.device, most_rows: int = MOST_ROWS) -> Translator:
        """A translator of a loaded artifact, with the layers of a model that can learn."""
        model = artifact.model.to(device).eval()
        return cls(model, artifact.source_vocabulary, artifact.target_vocabulary, artifact.inference, most_rows)

    def translate(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchOptions | None = None,
        done: Callable[[int], object] = lambda more: None,
    ) -> list[Translation]:
        """The best translation of each source; see ``translate_n_best``."""
        return [found[0] for found in self.translate_n_best(sources, options, done)]

    def translate_n_best(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchOptions | None = None,
        done: Callable[[int], object] = lambda more: None,
    ) -> list[list[Translation]]:
        """Translates.

        An empty source gives one empty translation. A source longer than the model's maximum is cut into pieces that
        are translated one by one and joined (one translation, whatever ``n_best``): the attention is block-diagonal.

        Args:
            sources: Source vocabulary ids.
            options: How to search; by default as the model says.
            done: Hears, after steps, how many more sources are translated.

        Returns:
            Per source at most ``n_best`` translations, best first.

        Raises:
            ClientError: An option is out of range, or an id is not in the vocabulary.
        """
        options = options or self.options
        options.check(len(self.target_vocabulary))
        self._check_ids(sources)
        stream = self.stream()
        # The longest first: what takes longest does not begin last.
        order = sorted(range(len(sources)), key=lambda number: len(sources[number]), reverse=True)
        numbers = {stream.submit(sources[number], options): number for number in order}
        translations: list[list[Translation]] = [[] for _ in sources]
        while not stream.is_idle:
            ended = stream.step()
            for ticket, found in ended:
                if isinstance(found, Exception):
                    raise found
                translations[numbers[ticket]] = found
            done(len(ended))
        return translations

    def stream(self) -> TranslationStream:
        """Begins a stream, for sources that come at any time; a thread that translates has one of its own."""
        return TranslationStream(self)

    def _check_ids(self, sources: Sequence[Sequence[int]]) -> None:
        size = len(self.source_vocabulary)
        for number, source in enumerate(sources):
            for token in source:
                if not PAD_ID < token < size:
                    raise ClientError(
                        f"id {token} is not in 1 … {size - 1}. Use the ids of the model's source vocabulary.",
                        where=f"source {number}",
                    )

    def sentences(self, source: Sequence[int], options: SearchOptions) -> Iterator[Sentence]:
        """The pieces of a source that are searched on their own; none for an empty source."""
        for piece in self._cut(source):
            limit = self.inference.limits.output_limit(len(piece))
            if options.max_output_length is not None:
                limit = min(limit, options.max_output_length)
            yield Sentence(piece, limit, options.n_best)

    def _cut(self, source: Sequence[int]) -> Iterator[Sequence[int]]:
        end = [self.source_vocabulary.eos_id] if self.inference.source_eos else []
        size = max(1, self.inference.limits.max_input_length - len(end))
        starts = range(0, min(len(source), size) if self.inference.cuts_sources else len(source), size)
        return ([*source[start : start + size], *end] for start in starts)

    def joined(
        self, found: Sequence[Sequence[Hypothesis]], source: Sequence[int], options: SearchOptions
    ) -> list[Translation]:
        """The translations of a source, best first, from the hypotheses of its pieces."""
        if not found:
            return [Translation((), (), 0.0, np.zeros((0, 0), dtype=np.float32), self.target_vocabulary.segmentation)]
        if len(found) == 1:
            return [self._translation([hypothesis], source, hypothesis.score, options) for hypothesis in found[0]]
        best = [hypotheses[0] for hypotheses in found]
        eos = self.target_vocabulary.eos_id
        scores = [PieceScore(one.score, len(one.token_ids), int((one.token_ids != eos).sum())) for one in best]
        return [self._translation(best, source, self.ranking(options).joined(scores), options)]

    def ranking(self, options: SearchOptions) -> Ranking:
        """The model's rule with a call's length penalty."""
        return Ranking(LengthPenalty(options.length_penalty_alpha, options.length_penalty_beta), self.inference.ranking)

    def _translation(
        self, pieces: Sequence[Hypothesis], source: Sequence[int], score: float, options: SearchOptions
    ) -> Translation:
        """Joins pieces, without ``<s>`` and ``</s>``; their attention goes block by block down the diagonal."""
        special = (self.target_vocabulary.bos_id, self.target_vocabulary.eos_id)
        kept = [~np.isin(piece.token_ids, special) for piece in pieces]
        token_ids = np.concatenate([piece.token_ids[keep] for piece, keep in zip(pieces, kept, strict=True)])
        attention = np.zeros((len(token_ids), len(source) if options.with_attention else 0), dtype=np.float32)
        row = column = 0
        for piece, keep, read in zip(pieces, kept, self._cut(source), strict=True):
            block: NDArray[np.float32] = piece.attention[keep]
            # The column of a </s> that ends each piece stays, as in the original: what follows stands one further
            # to the right, and what does not fit is cut off.
            width = max(0, min(len(read), attention.shape[1] - column))
            attention[row : row + len(block), column : column + width] = block[:, :width]
            row, column = row + len(block), column + len(read)
        ids, vocabulary = tuple(token_ids.tolist()), self.target_vocabulary
        return Translation(ids, tuple(vocabulary.decode(ids)), score, attention, vocabulary.segmentation)
