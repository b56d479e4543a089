"""Costs that grow with something, the powers that fit them, and a picture of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_COLOURS = {"training": "#1f5fa8", "translating": "#c8641e"}
_OTHER = "#4c7a34"
_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Growth:
    """A row of measurements.

    Attributes:
        name: What is done.
        size: What grows.
        sizes: How large it was.
        costs: Seconds for each target token, or for each pair of a corpus that is read.
    """

    name: str
    size: str
    sizes: Sequence[int]
    costs: Sequence[float]

    @property
    def exponent(self) -> float:
        """Of the power of the size that fits the costs best."""
        return exponent(self.sizes, self.costs)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The k for which ``costs`` are nearest to a constant times ``sizes ** k``."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def save_plot(rows: Sequence[Growth], path: Path) -> None:
    """Draws a panel for each thing that grows, with two logarithmic axes, into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    sizes = list(dict.fromkeys(row.size for row in rows))
    lines = -(-len(sizes) // _COLUMNS)
    figure = Figure(figsize=(3.4 * _COLUMNS, 2.9 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, _COLUMNS, squeeze=False).flatten()
    plain = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    for panel, size in zip(panels, sizes, strict=False):
        for row in rows:
            if row.size == size:
                micros = [1e6 * cost for cost in row.costs]
                label = f"{row.name}, exponent {row.exponent:+.2f}"
                panel.plot(row.sizes, micros, marker="o", color=_COLOURS.get(row.name, _OTHER), label=label)
        panel.set(xscale="log", yscale="log", xlabel=size)
        panel.set_xticks(next(row.sizes for row in rows if row.size == size))
        panel.xaxis.set(major_formatter=plain, minor_locator=NullLocator())
        ticks = LogLocator(subs=(1, 2, 5), numticks=20)
        panel.yaxis.set(major_locator=ticks, major_formatter=plain, minor_locator=NullLocator())
        panel.tick_params(labelsize=8)
        panel.grid(color="#dddddd")
        low, high = panel.get_ylim()
        panel.set_ylim(low / 1.3, high * 2.2)  # room for the legend
        panel.legend(loc="upper left", fontsize=8, frameon=False)
    for panel in panels[len(sizes) :]:
        panel.set_visible(False)
    for panel in panels[::_COLUMNS]:
        panel.set_ylabel("µs of one core per target token")
    figure.savefig(path, dpi=100)
