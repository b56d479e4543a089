"""The page: self-contained, and everything that it promises is in it."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from s2s_algo.data.buckets import Bucket
from s2s_algo.decoding.translation import Translation
from s2s_algo.training.metrics import METRICS
from s2s_algo.training.reporting.examples import Shown
from s2s_algo.training.reporting.fill import BucketFill
from s2s_algo.training.reporting.heat_map import heat_map
from s2s_algo.training.reporting.page import JobFacts, Standing, charts, render, sentences
from s2s_algo.training.reporting.points import Course, Example
from tests.unit.training.reporting.reports import checkpoint_point, training_point

FACTS = JobFacts(
    optimized=METRICS["perplexity"],
    hyperparameters={"batch_size": 64, "rnn_residual_connections": False, "momentum": None},
    counts={"training pairs": 123456, "device": "cpu"},
    fill=[BucketFill(Bucket(10, 11), 30, 1000, 800, 1000), BucketFill(Bucket(20, 21), 5, 250, 100, 400)],
    artifact="/opt/ml/model",
)

COURSE = Course(
    [training_point(updates, train_perplexity=500 / updates) for updates in range(1, 21)],
    [
        checkpoint_point(1, 10, ["A", "X"], validation_perplexity=3.5, validation_bleu=0.25),
        checkpoint_point(2, 20, ["B", "X"], validation_perplexity=4.5, validation_bleu=0.5, improved=False),
    ],
)

VOID = {"meta", "line", "circle", "rect", "polyline"}


class Parsed(HTMLParser):
    """Checks that elements are nested as they should be, and collects tables."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.tables, self.attributes = [], [], {}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        values = dict(attributes)
        if tag == "table":
            self.rows = self.tables.setdefault(values.get("id", len(self.tables)), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def standing(end=None, **more):
    values = {
        "updates": 20,
        "epoch": 1,
        "samples": 1280,
        "seconds": 3725.4,
        "best_updates": 10,
        "best_score": 3.5,
        "end": end,
    }
    return Standing(**{**values, **more})


def shown(source="source 0", tokens=("B",), attention=None):
    words = source.split()
    if attention is None:
        attention = np.full((len(tokens), len(words)), 1 / len(words), np.float32)
    translation = Translation(tuple(range(len(tokens))), tokens, 0.0, attention)
    return Shown(words, translation, Example(source, "reference 0", translation.text))


def page(course=COURSE, latest=(), facts=FACTS, **more):
    return render(facts, standing(**more), course, latest).decode("utf-8")


def test_the_page_needs_nothing_else():
    text = page(latest=[shown()])
    parsed = Parsed(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert not {"src", "href", "xlink:href", "action"} & {name for name, _ in parsed.attributes}
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_page_is_readable_on_a_phone_and_in_the_dark():
    text = page()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "@media (prefers-color-scheme: dark)" in text


def test_it_says_where_the_job_stands():
    assert '<p id="standing">Running</p>' in page()
    text = page(end="Maximum # of updates (20) or epochs (None) reached.")
    assert '<p id="standing">Maximum # of updates (20) or epochs (None) reached.</p>' in text
    assert "The model is in /opt/ml/model" in text
    for tile in ("Updates<b>20</b>", "Epochs<b>1</b>", "<b>1:02:05</b>", "Best perplexity<b>3.5</b>"):
        assert tile in text


def test_all_curves_are_there():
    assert [chart.title for chart in charts(COURSE, COURSE.checkpoints[0])] == [
        "Perplexity",
        "Accuracy",
        "BLEU, 0 to 1",
        "Learning rate",
        "Target tokens per second",
    ]
    text = page()
    assert text.count('<svg class="chart"') == 5
    assert text.count('<polyline class="line training"') == 4
    assert text.count('<polyline class="line validation"') == 3


def test_the_best_checkpoint_is_marked_in_the_curves_of_metrics():
    perplexity, accuracy, bleu, rate, speed = charts(COURSE, COURSE.checkpoints[0])
    assert [chart.best.text for chart in (perplexity, accuracy, bleu)] == [
        "best checkpoint: 3.5",
        "best checkpoint: 0.25",
        "best checkpoint: 0.25",
    ]
    assert rate.best is speed.best is None
    first, _ = bleu.lines[0].dots
    assert (bleu.best.x, bleu.best.y) == (first.x, first.y)


def test_a_metric_that_is_not_computed_has_no_curve_and_no_column():
    course = Course([], [checkpoint_point(1, 10)])
    text = page(course)
    assert "BLEU" not in text
    # The numbers of training are those of the checkpoints where there are no others.
    assert text.count('<polyline class="line training"') == 3


def test_a_job_without_a_checkpoint_has_a_page_too():
    text = page(Course([training_point(3)], []), best_updates=0, best_score=None)
    assert "Running" in text
    assert "checkpoints" not in Parsed(text).tables


def test_the_table_of_checkpoints_marks_the_best():
    text = page()
    header, first, second = Parsed(text).tables["checkpoints"]
    assert header[-3:] == ["validation perplexity", "validation accuracy", "validation BLEU"]
    assert first == ["1", "10", "0", "0:00:01", "0.1", "5", "0.5", "3.5", "0.25", "0.25"]
    assert second[-3:] == ["4.5", "0.25", "0.5"]
    assert text.count('<tr class="is-best"><td class="n">1</td>') == text.count('class="is-best"') == 1


def test_of_many_checkpoints_the_newest_and_the_best_are_listed():
    course = Course([], [checkpoint_point(number, 10 * number) for number in range(1, 101)])
    text = page(course)
    rows = Parsed(text).tables["checkpoints"][1:]
    assert [row[0] for row in rows] == ["1", *(str(number) for number in range(62, 101))]
    assert "60 earlier ones are not shown" in text


def test_the_fill_of_batches_is_shown():
    text = page()
    rows = Parsed(text).tables["buckets"]
    assert [row[:4] for row in rows[1:]] == [
        ["10 \N{MULTIPLICATION SIGN} 11", "1,000", "30", "80.0%"],
        ["20 \N{MULTIPLICATION SIGN} 21", "250", "5", "25.0%"],
    ]
    assert "64.3% of the tokens in the training batches are real" in text


def test_the_job_is_described():
    tables = Parsed(page()).tables
    assert tables["hyperparameters"] == [
        ["batch_size", "64"],
        ["rnn_residual_connections", "false"],
        ["momentum", "none"],
    ]
    assert tables["counts"][:2] == [["training pairs", "123,456"], ["device", "cpu"]]
    assert tables["counts"][-1][-1] == "1,280"


def test_examples_show_what_became_of_them():
    first, second = sentences(COURSE, [shown()])
    assert [(version.first, version.last, version.text) for version in first.versions] == [(10, 10, "A"), (20, 20, "B")]
    assert [(version.first, version.last, version.text) for version in second.versions] == [(10, 20, "X")]
    assert first.picture is not None
    assert second.picture is None
    text = page(latest=[shown()])
    for cell in ("source 0", "reference 0", "10\N{EN DASH}20", "<b>B</b>"):
        assert cell in text
    assert text.count('<svg class="attention"') == 1


def test_a_right_translation_is_marked():
    course = Course([], [checkpoint_point(1, 10, ["reference 0", "wrong"])])
    assert page(course).count("✓") == 1


def test_of_many_versions_some_are_shown_with_the_first_and_the_newest():
    course = Course([], [checkpoint_point(number, number, [f"text {number}"]) for number in range(1, 101)])
    versions = sentences(course, [])[0].versions
    assert len(versions) == 10
    assert (versions[0].text, versions[-1].text) == ("text 1", "text 100")


def test_an_example_that_was_not_always_shown_is_found_by_its_source():
    later = checkpoint_point(2, 20)
    later = type(later)(later.entry, (Example("source 1", "reference 1", "Y"),))
    (sentence,) = sentences(Course([], [checkpoint_point(1, 10, ["A", "X"]), later]), [])
    assert [version.text for version in sentence.versions] == ["X", "Y"]


@pytest.mark.parametrize("token", ["<script>alert(1)</script>", '"><b', "&lt;", "{{ 7 * 7 }}", "<unk>"])
def test_tokens_are_text_whatever_they_look_like(token):
    point = checkpoint_point(1, 10)
    point = type(point)(point.entry, (Example(token, token, token),))
    text = page(Course([], [point]), [shown(token, (token,))])
    parsed = Parsed(text)
    assert "script" not in parsed.tags
    assert [row[1].removesuffix(" ✓") for row in parsed.tables[0]] == [token] * 3


def test_half_a_surrogate_pair_in_a_token_does_no_harm():
    assert "&#55296;" in page(Course([], [checkpoint_point(1, 10, ["\ud800"])]))


def test_the_page_stays_small_however_long_the_job_is():
    course = Course(
        [training_point(number) for number in range(1, 5001)],
        [checkpoint_point(number, number * 10, [f"text {number}"] * 5) for number in range(1, 501)],
    )
    assert len(page(course, [shown()])) < 150_000


# Attention


def test_a_heat_map_has_a_column_for_each_source_token_and_a_row_for_each_target_token():
    drawn = heat_map(shown("a b c", ("X", "Y"), np.array([[1, 0, 0], [0, 0.25, 0.75]], np.float32)))
    assert [label.text for label in drawn.columns] == ["a", "b", "c"]
    assert [label.text for label in drawn.rows] == ["X", "Y"]
    assert [cell.text for cell in drawn.cells] == ["X ← a: 1.00", "Y ← b: 0.25", "Y ← c: 0.75"]
    first, second, third = drawn.cells
    assert (third.x - second.x, third.y) == (drawn.cell, second.y)
    assert second.y - first.y == drawn.cell
    assert [cell.weight for cell in drawn.cells] == [1, 0.25, 0.75]


def test_long_tokens_are_cut_and_their_labels_slanted():
    drawn = heat_map(shown("Donaudampfschifffahrt b", ("X",)))
    assert drawn.slanted
    assert drawn.columns[0].text == "Donaudampfsch…"
    assert drawn.columns[0].whole == "Donaudampfschifffahrt"


def test_an_empty_translation_has_no_picture():
    assert heat_map(shown("a b", ())) is None
