"""``s2s evaluate``."""

from __future__ import annotations

from pathlib import Path

import click

from s2s_algo.commands.parameters import PATH, beam_option, model_option, precision_option
from s2s_algo.commands.sentence_bar import sentence_bar
from s2s_algo.commands.table import Table
from s2s_algo.decoding.options import PrecisionName


@click.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@model_option(help="Folder of the artifact.")
@beam_option
@precision_option(multiple=True, default=("float32",), help="Of products with the weights; may be given several times.")
def evaluate(
    source: Path, target: Path, folder: Path, beam_size: int | None, precision: tuple[PrecisionName, ...]
) -> None:
    """Translates SOURCE and compares the translations with TARGET, line by line (.gz too).

    BLEU is that of training: of raw text for a model of sub-words, otherwise of whitespace tokens. The numbers behind
    the scores are 95 % confidence intervals. "same" is the share of the sentences that are translated as in the first
    precision.

    \b
    Example:
        s2s evaluate test.en test.de --model job/model --precision float32 --precision int8
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.evaluation import evaluate as evaluate_in
    from s2s_algo.evaluation import read_parallel

    rows, signatures = [], {}
    sources, references = read_parallel(source, target)
    with sentence_bar("translating", len(precision) * len(sources), writes_lines=False) as bar:
        for found in evaluate_in(folder, sources, references, precision, beam_size, bar.update):
            cells = [f"{score.value:.2f} ± {score.interval:.2f}" for score in found.scores]
            speed = f"{found.per_second:.1f}"
            rows.append((found.precision, *cells, f"{found.exact:.1%}", f"{found.same:.1%}", speed))
            signatures = {score.name: score.signature for score in found.scores}
    Table(("precision", *signatures, "exact", "same", "sentences/s"), rows).print()
    click.echo()
    for name, signature in signatures.items():
        click.echo(f"{name}|{signature}")
