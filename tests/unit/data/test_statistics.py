"""Length statistics."""

import math

import numpy as np
import pytest

from s2s_algo.data import statistics as statistics_module
from s2s_algo.data.corpus import Corpus, Sequences
from s2s_algo.data.statistics import LengthStatistics, length_statistics, pooled


def corpus_of(lengths):
    sides = []
    for side in zip(*lengths, strict=True):
        offsets = np.cumsum([0, *side], dtype=np.int64)
        sides.append(Sequences.joined(np.ones(offsets[-1], np.int32), offsets))
    return Corpus(*sides)


def test_the_ratio_counts_the_end_of_the_target():
    statistics = length_statistics(corpus_of([(2, 3), (4, 1), (1, 1)]))
    # Ratios 4/2, 2/4 and 2/1.
    assert statistics == LengthStatistics(1.5, pytest.approx(math.sqrt(0.5)), 4, 3)


def test_truncated_pairs_count_as_they_are_trained():
    corpus, _ = corpus_of([(10, 9), (2, 1)]).truncated(5, 4)
    assert length_statistics(corpus) == LengthStatistics(1.0, 0.0, 5, 4)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_statistics_do_not_depend_on_the_size_of_chunks(monkeypatch, chunk):
    monkeypatch.setattr(statistics_module, "_CHUNK", chunk)
    rng = np.random.default_rng(3)
    source, target = rng.integers(1, 40, 100), rng.integers(1, 50, 100)
    ratios = (target + 1) / source
    statistics = length_statistics(corpus_of(zip(source, target, strict=True)))
    assert statistics.ratio_mean == pytest.approx(ratios.mean(), rel=1e-12)
    assert statistics.ratio_std == pytest.approx(ratios.std(), rel=1e-12)


@pytest.mark.parametrize("scale", [1, 1 / 3])  # numbers of pairs, or numbers in the same proportion
@pytest.mark.parametrize("cuts", [[], [30], [1, 99], [10, 20, 70]], ids=str)
def test_pooled_statistics_are_those_of_all_pairs_together(cuts, scale):
    rng = np.random.default_rng(5)
    pairs = list(zip(rng.integers(1, 40, 100), rng.integers(1, 50, 100), strict=True))
    parts = [pairs[start:end] for start, end in zip([0, *cuts], [*cuts, 100], strict=True)]
    together = pooled([length_statistics(corpus_of(part)) for part in parts], [scale * len(part) for part in parts])
    whole = length_statistics(corpus_of(pairs))
    assert together.ratio_mean == pytest.approx(whole.ratio_mean, rel=1e-12)
    assert together.ratio_std == pytest.approx(whole.ratio_std, rel=1e-12)
    assert (together.max_source_length, together.max_target_length) == (
        whole.max_source_length,
        whole.max_target_length,
    )
