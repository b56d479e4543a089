"""A handful of validation sentences whose translations are shown at every checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from s2s_algo.data.corpus import Corpus
from s2s_algo.decoding.translation import Translation
from s2s_algo.decoding.translator import Translator
from s2s_algo.training.reporting.points import Example

_NUMBER = 5
_SHORTEST, _LONGEST = 2, 20  # tokens of a side, where the channel has such sentences
_WIDEST_BEAM = 5
_STREAM = 0xE6A  # beside the seed, so that these are not the first sentences of the sample for BLEU
_LOOKED_AT = 1 << 17  # pairs among which the sentences are


@dataclass(frozen=True, slots=True)
class Shown:
    """A sentence and what the model makes of it.

    Attributes:
        source: Its tokens.
        translation: The model's, with attention.
        texts: The sentence, its right translation and the model's.
    """

    source: Sequence[str]
    translation: Translation
    texts: Example


@dataclass(frozen=True, slots=True)
class Examples:
    """The sentences.

    Attributes:
        sources, references: Ids.
        translator: Over the model in training.
    """

    sources: Sequence[Sequence[int]]
    references: Sequence[Sequence[int]]
    translator: Translator

    def translate(self) -> list[Shown]:
        """What the model, as it is now, makes of them."""
        self.translator.model.eval()
        options = self.translator.options
        options = replace(options, beam_size=min(options.beam_size, _WIDEST_BEAM), n_best=1)
        translations = self.translator.translate(self.sources, options)
        read, write = self.translator.source_vocabulary, self.translator.target_vocabulary
        return [
            Shown(
                read.decode(source),
                translation,
                Example(read.text(source), write.text(reference), translation.text),
            )
            for source, reference, translation in zip(self.sources, self.references, translations, strict=True)
        ]


def choose_examples(corpus: Corpus, seed: int, translator: Translator) -> Examples:
    """Draws short sentences with different sources; the same seed draws the same ones.

    Args:
        corpus: The validation pairs, not truncated.
        seed: Seed of the job.
        translator: Over the model in training.
    """
    lengths = np.stack([corpus.source.lengths, corpus.target.lengths])[:, :_LOOKED_AT]
    shorter, longer = lengths.min(0), lengths.max(0)
    # Those of a good length in random order, then the others from short to long.
    random = np.random.PCG64(np.random.SeedSequence([seed, _STREAM])).random_raw(len(longer))
    unfit = np.where((shorter >= _SHORTEST) & (longer <= _LONGEST), 0, longer)
    chosen: dict[tuple[int, ...], list[int]] = {}
    for pair in np.lexsort((random, unfit)).tolist():
        chosen.setdefault(tuple(corpus.source[pair].tolist()), corpus.target[pair].tolist())
        if len(chosen) == _NUMBER:
            break
    return Examples([list(source) for source in chosen], list(chosen.values()), translator)
