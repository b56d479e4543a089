"""How good the translations of a model are, and what other precisions would change about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from s2s_algo.bleu import bleu_metric
from s2s_algo.data.parallel_text import TwoTexts
from s2s_algo.decoding.options import PrecisionName, SearchOptions
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError

# Samples of the sentences, drawn with replacement, from which sacreBLEU tells the confidence interval.
_SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Score:
    """One metric.

    Attributes:
        name: As sacreBLEU writes it.
        value: On the scale 0 to 100; TER may be above.
        interval: Half the width of the 95 % confidence interval, by bootstrap.
        signature: How it was computed.
    """

    name: str
    value: float
    interval: float
    signature: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One way to translate a text.

    Attributes:
        precision: Of products with the weights.
        scores: BLEU, chrF and TER.
        exact: Share of the sentences that are translated as the reference has it.
        same: Share that is translated as in the first of the precisions.
        per_second: Sentences.
    """

    precision: PrecisionName
    scores: tuple[Score, ...]
    exact: float
    same: float
    per_second: float


def read_parallel(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """The sentences of both texts.

    Raises:
        ClientError: The texts cannot be read, have no lines, or not as many.
    """
    pairs = list(TwoTexts(source, target).pairs())
    if not pairs:
        raise ClientError(f"{source} and {target} are empty; give a sentence per line")
    sources, targets = zip(*pairs, strict=True)
    return list(sources), list(targets)


def evaluate(
    folder: Path,
    sources: Sequence[str],
    references: Sequence[str],
    precisions: Sequence[PrecisionName],
    beam_size: int | None = None,
    done: Callable[[int], object] = lambda more: None,
) -> Iterator[Evaluation]:
    """Translates a text in every precision, one after the other.

    Args:
        folder: Of the model.
        sources: As the model takes them: text, or tokens between white space.
        references: One per source.
        precisions: Of products with the weights; the others are compared with the first.
        beam_size: Hypotheses kept per sentence; by default the model's own.
        done: Hears how many more sentences are translated.

    Raises:
        ClientError: There is no model, or the device cannot compute so.
    """
    first: list[str] = []
    for precision in precisions:
        translator = Translator.load(folder, precision=precision)
        options = replace(translator.options, with_attention=False)
        if beam_size is not None:
            options = replace(options, beam_size=beam_size)
        translations, seconds = _translate(translator, sources, options, done)
        first = first or translations
        plain_text = translator.target_vocabulary.segmentation.is_plain_text
        if not plain_text:
            references = [" ".join(reference.split()) for reference in references]
        yield Evaluation(
            precision,
            tuple(_scores(translations, references, plain_text)),
            _equal_share(translations, references),
            _equal_share(translations, first),
            len(sources) / seconds,
        )


def _translate(
    translator: Translator, sources: Sequence[str], options: SearchOptions, done: Callable[[int], object]
) -> tuple[list[str], float]:
    ids = [translator.source_vocabulary.encode(source) for source in sources]
    translator.translate(ids[:1], options)  # takes the cost of a first time
    began = time.perf_counter()
    found = translator.translate(ids, options, done)
    return [translation.text for translation in found], time.perf_counter() - began


class _Chrf(CHRF):
    """Of sacreBLEU 2.6, which cannot tell a confidence interval if some samples have no match."""

    def _compute_f_score(self, statistics: list[int]) -> float:
        return float(super()._compute_f_score(statistics))  # there a float32, but for those samples


def _scores(translations: Sequence[str], references: Sequence[str], plain_text: bool) -> Iterator[Score]:
    for metric in (bleu_metric(plain_text), _Chrf(), TER()):
        result = metric.corpus_score(list(translations), [list(references)], n_bootstrap=_SAMPLES)
        yield Score(result.name, float(result.score), float(result._ci), str(metric.get_signature()))


def _equal_share(translations: Sequence[str], others: Sequence[str]) -> float:
    return sum(one == other for one, other in zip(translations, others, strict=True)) / len(translations)
