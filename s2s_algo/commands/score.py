"""``s2s score``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s2s_algo.commands.parameters import PATH, model_option
from s2s_algo.commands.sentence_bar import sentence_bar

if TYPE_CHECKING:
    from s2s_algo.training.forced_scoring import SentenceScore


@click.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@model_option(help="Folder of the artifact.")
@click.option("--json", "as_json", is_flag=True, help="Write an object per line, and one for the total.")
def score(source: Path, target: Path, folder: Path, as_json: bool) -> None:
    """Tells how probable a model finds the lines of TARGET as translations of those of SOURCE (.gz too).

    A line of the answer is the negative log-probability of the whole sentence in nats, the number of its target tokens
    with </s>, and the perplexity per token, between tabs. The total comes last, on standard error. The numbers are
    those of the loss in training. Text is cut into tokens as the model was trained; unknown tokens count as <unk>.

    \b
    Example:
        s2s score test.en test.de --model job/model > scores.tsv
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.data.parallel_text import TwoTexts
    from s2s_algo.training.forced_scoring import ForcedScorer, SentenceScore

    scorer = ForcedScorer.load(folder)
    total, sentences = SentenceScore(0.0, 0), 0
    with sentence_bar("scoring") as bar:
        for one in scorer.score(TwoTexts(source, target).pairs()):
            if as_json:
                click.echo(json.dumps(_values(one)))
            else:
                click.echo(f"{one.negative_log_probability:.6f}\t{one.tokens}\t{one.perplexity:.6f}")
            total, sentences = total + one, sentences + 1
            bar.update()
    if as_json:
        click.echo(json.dumps({"sentences": sentences, **_values(total)}), err=True)
    else:
        click.echo(
            f"total: {sentences} sentences, {total.tokens} tokens, negative log-probability "
            f"{total.negative_log_probability:.6f}, perplexity {total.perplexity:.6f}",
            err=True,
        )


def _values(score: SentenceScore) -> dict[str, Any]:
    return {
        "negative_log_probability": score.negative_log_probability,
        "tokens": score.tokens,
        # JSON has no infinity.
        "perplexity": score.perplexity if math.isfinite(score.perplexity) else None,
    }
