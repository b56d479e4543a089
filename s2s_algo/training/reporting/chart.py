"""Line charts: from numbers to the lines, ticks and marks that the page's template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

# The size of a chart in units of its own; shown at about one pixel each on a phone.
WIDTH, HEIGHT = 380, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 26  # margins, for the labels of the axes

_MOST_POINTS = 300  # of a line; more than the pixels that it has
_LOGARITHMIC_FROM = 12.0  # largest by smallest value
_MOST_DECADES = 8  # with a tick each

Point = tuple[float, float]

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Line:
    """A curve to draw.

    Attributes:
        name: In the legend.
        points: x ascending, all finite.
        dotted: Whether each point is marked, as those of checkpoints are.
    """

    name: str
    points: Sequence[Point]
    dotted: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, and what is written there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A marked place, and what is shown when it is pointed at."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """A line in the units of the chart.

    Attributes:
        name: In the legend.
        path: The ``points`` of an SVG polyline.
        dots: Its marked points.
    """

    name: str
    path: str
    dots: Sequence[Dot]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as the template draws it.

    Attributes:
        title: What is drawn.
        lines: Its lines.
        x_ticks, y_ticks: Of both axes.
        best: The best checkpoint, if it is marked.
        logarithmic: Whether the y axis is.
    """

    title: str
    lines: Sequence[DrawnLine]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    best: Dot | None
    logarithmic: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True)
class _Axis:
    """Turns values into places."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return round(self.begin + (value - low) / (high - low) * (self.end - self.begin), 1)


def draw(
    title: str, lines: Sequence[Line], best: Point | None = None, may_be_logarithmic: bool = False
) -> Chart | None:
    """Lays out a chart; ``None`` if there is nothing to draw.

    Args:
        title: What is drawn.
        lines: Those without points are left out.
        best: The best checkpoint.
        may_be_logarithmic: Whether the y axis may be so where the values call for it.
    """
    lines = [Line(line.name, decimated(line.points), line.dotted) for line in lines if line.points]
    if not lines:
        return None
    every = [point for line in lines for point in line.points] + ([best] if best else [])
    ys = [y for _, y in every]
    x_low, x_high = 0.0, max(x for x, _ in every) or 1.0
    logarithmic = may_be_logarithmic and min(ys) > 0 and max(ys) / min(ys) >= _LOGARITHMIC_FROM
    y_low, y_high = _with_room(min(ys), max(ys), logarithmic)
    x_axis = _Axis(x_low, x_high, _LEFT, WIDTH - _RIGHT)
    y_axis = _Axis(y_low, y_high, HEIGHT - _BOTTOM, _TOP, logarithmic)
    y_values = _logarithmic_ticks(y_low, y_high) if logarithmic else _ticks(y_low, y_high, 5)
    return Chart(
        title=title,
        lines=[_drawn(line, x_axis, y_axis) for line in lines],
        x_ticks=[Tick(x_axis(value), label(value)) for value in _ticks(x_low, x_high, 5)],
        y_ticks=[Tick(y_axis(value), label(value)) for value in y_values],
        best=Dot(x_axis(best[0]), y_axis(best[1]), f"best checkpoint: {label(best[1])}") if best else None,
        logarithmic=logarithmic,
    )


def decimated(points: Sequence[_Item], most: int = _MOST_POINTS) -> list[_Item]:
    """At most so many points, evenly taken, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(number * (len(points) - 1) / (most - 1))] for number in range(most)]


def label(value: float) -> str:
    """A number in few characters."""
    size = abs(value)
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= factor:
            return f"{value / factor:.4g}{suffix}"
    return f"{value:.4g}" if size >= 1e-3 or not value else f"{value:.2e}".replace("e-0", "e-")


def _drawn(line: Line, x_axis: _Axis, y_axis: _Axis) -> DrawnLine:
    places = [(x_axis(x), y_axis(y)) for x, y in line.points]
    dots = [
        Dot(*place, f"{line.name}: {label(y)} after {x:.0f} updates")
        for place, (x, y) in zip(places, line.points, strict=True)
        # A line of one point cannot be seen otherwise.
        if line.dotted or len(places) == 1
    ]
    return DrawnLine(line.name, " ".join(f"{x:g},{y:g}" for x, y in places), dots)


def _with_room(low: float, high: float, logarithmic: bool) -> tuple[float, float]:
    if logarithmic:
        return low / 1.1, high * 1.1
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high."""
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= about)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{number * step:.9g}") for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    """Powers of 10, with 2 and 5 between them where there are few; some of them where there are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = range(first, last + 1, -(-(last - first) // _MOST_DECADES))
    factors: tuple[int, ...] = (1, 2, 5) if len(decades) <= 4 else (1,)

    def candidates() -> Iterator[float]:
        for decade in decades:
            for factor in factors:
                yield factor * 10.0**decade

    return [value for value in candidates() if low <= value <= high]
