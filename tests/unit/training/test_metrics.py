"""Metrics: directions, log lines and the regexes that find them, BLEU."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.bleu import corpus_bleu
from s2s_algo.training.metrics import METRICS

metrics = st.sampled_from(list(METRICS.values()))


def test_the_metrics_are_those_of_the_page():
    assert {name: metric.higher_is_better for name, metric in METRICS.items()} == {
        "perplexity": False,
        "accuracy": True,
        "bleu": True,
    }


@given(metrics, st.text("abc-.1", min_size=1), st.integers(0, 10**6), st.floats(0, 1e6))
def test_the_regex_finds_its_own_line_and_the_score_in_it(metric, host, epoch, score):
    line = metric.line(host, epoch, score)
    assert float(re.search(metric.regex, line)[1]) == pytest.approx(score, abs=1e-6)


@given(metrics, st.floats(allow_nan=False))
def test_the_regex_finds_its_line_behind_a_log_prefix(metric, score):
    line = f"[11/22/2017 16:07:00 INFO 140] {metric.line('algo-1', 3, score)}\n"
    assert float(re.search(metric.regex, line)[1]) == pytest.approx(score, abs=1e-6)


def test_no_regex_finds_the_line_of_another_metric():
    for one, other in itertools.permutations(METRICS.values(), 2):
        assert not re.search(one.regex, other.line("algo-1", 1, 0.5))


def test_the_exact_lines():
    assert [metric.line("algo-1", 2, 1 / 3) for metric in METRICS.values()] == [
        "#quality_metric: host=algo-1, epoch=2, validation perplexity <loss>=0.333333",
        "#quality_metric: host=algo-1, epoch=2, validation accuracy <score>=0.333333",
        "#quality_metric: host=algo-1, epoch=2, validation bleu <score>=0.333333",
    ]


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_only_a_strictly_better_score_improves(metric):
    better, worse = (0.6, 0.4) if metric.higher_is_better else (0.4, 0.6)
    assert metric.improves(better, 0.5)
    assert not metric.improves(worse, 0.5)
    assert not metric.improves(0.5, 0.5)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("score", [0.0, 1.0, float("inf")])
def test_the_first_score_always_improves(metric, score):
    assert metric.improves(score, None)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_not_a_number_never_improves_on_a_number(metric):
    assert not metric.improves(float("nan"), 0.5)


@pytest.mark.parametrize(
    ("hypotheses", "references", "bleu"),
    [
        (["a b c d"], ["a b c d e"], 0.778801),
        (["a b c d e f"], ["a b c d"], 0.508133),
        (["x"], ["a b"], 0.003679),
        ([""], ["a b"], 0),
        (["a b", "c d e f g"], ["a b", "c d x f g"], 0.054108),
        (["a b c d e"], ["a b c d e"], 1),
        (["", ""], ["", "a"], 0),
    ],
)
def test_bleu(hypotheses, references, bleu):
    assert corpus_bleu(hypotheses, references).score == pytest.approx(bleu, abs=5e-7)


def test_bleu_is_case_sensitive_and_splits_at_blanks_alone():
    assert corpus_bleu(["a b c D."], ["a b c D."]).score == pytest.approx(1)
    assert corpus_bleu(["a b c d"], ["a b c D"]).score < 0.5
    assert corpus_bleu(["a b c ."], ["a b c."]).score < 0.1


def test_bleu_is_that_of_the_corpus_and_not_a_mean_of_sentences():
    together = corpus_bleu(["a b c d", "x y z"], ["a b c d", "u v w"]).score
    apart = [corpus_bleu(["a b c d"], ["a b c d"]).score, corpus_bleu(["x y z"], ["u v w"]).score]
    assert together != pytest.approx(sum(apart) / 2, abs=1e-3)


def test_the_signature_says_how_bleu_was_computed():
    signature = corpus_bleu(["a b c d"], ["a b c d"]).signature
    for part in ("case:mixed", "eff:yes", "tok:none", "smooth:floor[0.01]", "version:"):
        assert part in signature
