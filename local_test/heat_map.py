"""Pictures of attention: which letters the model looked at for each phoneme it said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Panel(NamedTuple):
    """One translated sequence.

    Attributes:
        source: Tokens that were read.
        target: Tokens that were written.
        matrix: Attention weights; a row for each target token, a column for each source token.
    """

    source: Sequence[str]
    target: Sequence[str]
    matrix: Sequence[Sequence[float]]


def save_heat_map(panels: Sequence[Panel], path: Path) -> None:
    """Draws one panel for each sequence, side by side, into a PNG file.

    Raises:
        ValueError: There is no panel, or a matrix does not have a row for each target token and a column for each
            source token.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("there is nothing to draw")
    for panel in panels:
        if len(panel.matrix) != len(panel.target) or any(len(row) != len(panel.source) for row in panel.matrix):
            raise ValueError(
                f"the attention matrix for {' '.join(panel.source)!r} must have {len(panel.target)} rows "
                f"of {len(panel.source)} columns"
            )
    columns = [len(panel.source) for panel in panels]
    height = max(len(panel.target) for panel in panels)
    figure = Figure(figsize=(1.5 * len(panels) + 0.4 * sum(columns), 1.2 + 0.4 * height), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, panel in zip(
        figure.subplots(1, len(panels), squeeze=False, width_ratios=columns)[0], panels, strict=True
    ):
        image = axes.imshow(panel.matrix, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(panel.source)), labels=panel.source)
        axes.set_yticks(range(len(panel.target)), labels=panel.target)
        axes.xaxis.tick_top()
        axes.set_title("".join(panel.source))
    figure.colorbar(image, ax=axes, label="attention weight")
    # Tight: a title above the ticks at the top may lie outside the layout.
    figure.savefig(path, dpi=120, bbox_inches="tight")
