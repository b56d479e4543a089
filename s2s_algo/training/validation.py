"""How good the model is on the validation channel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sacrebleu.metrics.chrf import CHRF

from s2s_algo.bleu import corpus_bleu
from s2s_algo.data.corpus import Corpus
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.data import BatchSource
from s2s_algo.training.loss import Totals, batch_loss
from s2s_algo.training.precision import Precision
from s2s_algo.training.workers import Workers

logger = logging.getLogger(__name__)

# Called between batches with what is done and the number of all; may raise to end the work.
Watch = Callable[[int, int], None]

# Sentences of a worker between two calls of the watch: some seconds, even for a large model on a CPU.
_BLEU_SLICE = 16


@torch.no_grad()
def evaluate(model: Seq2Seq, data: BatchSource, precision: Precision, workers: Workers, watch: Watch) -> Totals:
    """Scores every validation pair exactly once, without dropout; each worker its part of every batch."""
    model.eval()
    own = Totals()
    plan = data.plan_in_order()
    for number, planned in enumerate(plan):
        watch(number, len(plan))
        batch = data.collate(planned)
        if len(batch.source):
            with precision.context():
                own.add(batch_loss(model, batch)[1])
    nll, correct, tokens = workers.sum(*own.numbers())
    return Totals(nll, int(correct), int(tokens))


@dataclass(frozen=True, slots=True)
class BleuSample:
    """The validation pairs that are translated at every checkpoint, uncut.

    Attributes:
        sources: Source ids.
        references: Their right translations, as text.
        translator: Over the model in training.
    """

    sources: Sequence[Sequence[int]]
    references: Sequence[str]
    translator: Translator

    @property
    def _options(self) -> SearchOptions:
        return replace(self.translator.options, with_attention=False)

    def try_out(self) -> None:
        """Takes the first steps of translating the longest sentences, which need about as much memory as all steps."""
        self.translator.model.eval()
        self.translator.translate(self.sources[-_BLEU_SLICE:], replace(self._options, max_output_length=2))

    def score(self, workers: Workers, watch: Watch) -> float:
        """Corpus BLEU, 0 to 1, of the model as it is now; logs sacreBLEU's signature, and chrF where text is plain.

        Each worker translates its part of every slice.
        """
        self.translator.model.eval()
        hypotheses: list[str] = []
        for start in range(0, len(self.sources), _BLEU_SLICE * workers.size):
            watch(start, len(self.sources))
            own = workers.share(self.sources[start : start + _BLEU_SLICE * workers.size])
            found = [translation.text for translation in self.translator.translate(own, self._options)]
            hypotheses += [text for texts in workers.gather(found) for text in texts]
        plain_text = self.translator.target_vocabulary.segmentation.is_plain_text
        result = corpus_bleu(hypotheses, self.references, plain_text)
        logger.info("BLEU on %d sentences, scale 0 to 1, signature %s", len(self.sources), result.signature)
        if plain_text:
            chrf = CHRF()
            score = chrf.corpus_score(hypotheses, [list(self.references)]).score
            logger.info("chrF on the same, scale 0 to 100: %.2f, signature %s", score, chrf.get_signature())
        return result.score


def draw_sample(corpus: Corpus, size: int | None, seed: int, translator: Translator) -> BleuSample:
    """Draws pairs at random, without repetition; the same seed draws the same ones.

    Args:
        corpus: The validation pairs, not truncated.
        size: How many; ``None`` or more than there are: all.
        seed: Seed of the job.
        translator: Over the model in training.
    """
    pairs = list(range(len(corpus)))
    if size is not None and size < len(corpus):
        # Ranks of raw random words: the same sample with every release of numpy.
        pairs = sorted(np.argsort(np.random.PCG64(seed).random_raw(len(corpus)))[:size].tolist())
    elif size is not None and size > len(corpus):
        logger.info("bleu_sample_size %d is more than the %d validation pairs: all are used", size, len(corpus))
    # Sentences of similar length are translated together; BLEU does not mind the order.
    pairs.sort(key=lambda pair: len(corpus.source[pair]))
    vocabulary = translator.target_vocabulary
    return BleuSample(
        sources=[corpus.source[pair].tolist() for pair in pairs],
        references=[vocabulary.text(corpus.target[pair].tolist()) for pair in pairs],
        translator=translator,
    )
