"""The report as a page: one HTML file that needs no other, drawn anew at every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from s2s_algo.training.metrics import METRICS, Metric
from s2s_algo.training.reporting.chart import Chart, Line, decimated, draw, label
from s2s_algo.training.reporting.examples import Shown
from s2s_algo.training.reporting.fill import BucketFill
from s2s_algo.training.reporting.heat_map import HeatMap, heat_map
from s2s_algo.training.reporting.points import CheckpointPoint, Course

_MOST_CHECKPOINTS = 40  # rows of the table
_MOST_VERSIONS = 10  # of a translation
_TEMPLATE = "report.html.j2"


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What does not change while a job runs.

    Attributes:
        optimized: The metric that decides which checkpoint is best.
        hyperparameters: All of them, as JSON values.
        counts: What the job works with and on, by what it is.
        fill: How well batches are filled.
        artifact: Where the model will be.
    """

    optimized: Metric
    hyperparameters: Mapping[str, Any]
    counts: Mapping[str, int | str]
    fill: Sequence[BucketFill]
    artifact: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands.

    Attributes:
        updates, epoch, samples, seconds, best_updates, best_score: As in ``TrainState``.
        end: Why it ended; ``None`` while it runs.
    """

    updates: int
    epoch: int
    samples: int
    seconds: float
    best_updates: int
    best_score: float | None
    end: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """What a sentence's translation was for some time: from one checkpoint to another, in updates."""

    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """An example over time.

    Attributes:
        source, reference: Tokens joined by blanks.
        versions: Its translations, the oldest first; of many, some.
        picture: Attention of the newest, if it is known.
    """

    source: str
    reference: str
    versions: Sequence[Version]
    picture: HeatMap | None


def render(facts: JobFacts, standing: Standing, course: Course, latest: Sequence[Shown]) -> bytes:
    """The page, in UTF-8.

    Args:
        facts: What the job is.
        standing: Where it stands.
        course: How it came there.
        latest: The examples as of the last checkpoint, with attention; may be empty.
    """
    best = next((point for point in course.checkpoints if point.updates == standing.best_updates), None)
    page = _template().render(
        facts=facts,
        standing=standing,
        duration=_duration(standing.seconds),
        charts=charts(course, best),
        sentences=sentences(course, latest),
        metrics=[name for name in METRICS if any(f"validation_{name}" in p.entry for p in course.checkpoints)],
        checkpoints=_rows(course, best),
        hidden=max(0, len(course.checkpoints) - _MOST_CHECKPOINTS),
        best=best,
        most_pairs=max((row.pairs for row in facts.fill), default=1),
        total=_total(facts.fill),
        number=label,
        written=_written,
        seconds=_duration,
    )
    # What no encoding knows, such as half a surrogate pair in a token, is shown as an unknown character.
    return page.encode("utf-8", "xmlcharrefreplace")


def charts(course: Course, best: CheckpointPoint | None) -> list[Chart]:
    """Curves over the updates, of what there are numbers for."""

    def training(name: str) -> list[tuple[float, float]]:
        return [(point.updates, getattr(point, name)) for point in course.training]

    def checkpoints(name: str) -> list[tuple[float, float]]:
        return [(point.updates, float(point.entry[name])) for point in course.checkpoints if name in point.entry]

    def mark(name: str) -> tuple[float, float] | None:
        return (best.updates, float(best.entry[name])) if best is not None and name in best.entry else None

    def of_metric(name: str, title: str) -> Chart | None:
        # A short job has no points but its checkpoints.
        train = training(f"train_{name}") if name != "bleu" else []
        lines = [
            Line("training", train if len(train) > 1 else checkpoints(f"train_{name}")),
            Line("validation", checkpoints(f"validation_{name}"), dotted=len(course.checkpoints) <= _MOST_CHECKPOINTS),
        ]
        return draw(title, lines, mark(f"validation_{name}"), may_be_logarithmic=name == "perplexity")

    rate = training("learning_rate")
    drawn = [
        of_metric("perplexity", "Perplexity"),
        of_metric("accuracy", "Accuracy"),
        of_metric("bleu", "BLEU, 0 to 1"),
        draw("Learning rate", [Line("training", rate if len(rate) > 1 else checkpoints("learning_rate"))]),
        draw("Target tokens per second", [Line("training", training("target_tokens_per_second"))]),
    ]
    return [chart for chart in drawn if chart is not None]


def sentences(course: Course, latest: Sequence[Shown]) -> list[Sentence]:
    """The examples, each with what became of its translation."""
    told = [point for point in course.checkpoints if point.examples]
    if not told:
        return []
    pictures = {shown.texts.source: heat_map(shown) for shown in latest}
    return [
        Sentence(
            newest.source,
            newest.reference,
            _versions(newest.source, told),
            pictures.get(newest.source),
        )
        for newest in told[-1].examples
    ]


def _versions(source: str, told: Sequence[CheckpointPoint]) -> list[Version]:
    versions: list[Version] = []
    for point in told:
        text = next((example.translation for example in point.examples if example.source == source), None)
        if text is None:
            continue
        if versions and versions[-1].text == text:
            versions[-1] = Version(versions[-1].first, point.updates, text)
        else:
            versions.append(Version(point.updates, point.updates, text))
    return decimated(versions, _MOST_VERSIONS)


def _rows(course: Course, best: CheckpointPoint | None) -> list[CheckpointPoint]:
    """The newest checkpoints and the best one."""
    rows = course.checkpoints[-_MOST_CHECKPOINTS:]
    return rows if best is None or best in rows else [best, *rows[1:]]


def _total(fill: Sequence[BucketFill]) -> BucketFill | None:
    if not fill:
        return None
    total = fill[0]
    for row in fill[1:]:
        total = total + row
    return total


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _written(value: Any) -> str:
    """A hyperparameter's value as a job's file would say it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files(__package__ or "").joinpath(_TEMPLATE).read_text(encoding="utf-8"))
