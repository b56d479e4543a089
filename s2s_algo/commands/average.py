"""``s2s average``."""

from __future__ import annotations

from pathlib import Path

import click

from s2s_algo.commands.output_folder import require_new_or_empty
from s2s_algo.commands.parameters import PATH, POSITIVE, model_option, output_option


@click.command()
@click.argument("checkpoints", type=PATH)
@model_option(help="Folder of the job's artifact.")
@output_option
@click.option("--best", type=POSITIVE, metavar="N", help="Average the N best on the optimized_metric.")
@click.option("--last", type=POSITIVE, metavar="N", help="Average the last N.")
def average(checkpoints: Path, folder: Path, output: Path, best: int | None, last: int | None) -> None:
    """Averages the weights of checkpoints of a training job into a new artifact.

    CHECKPOINTS is the job's checkpoint folder; evaluated checkpoints alone count. The rest of the artifact is that of
    the job's own. The average has no score until you evaluate it.

    \b
    Example:
        s2s average /opt/ml/checkpoints --model /opt/ml/model --output averaged --best 4
    """  # noqa: D301 (click looks for the character itself)
    count = best or last
    if count is None or (best and last):
        raise click.UsageError("Give either --best N or --last N.")
    require_new_or_empty(output)

    from s2s_algo.checkpoints.artifact import save_artifact
    from s2s_algo.training.averaging import average_checkpoints

    artifact = average_checkpoints(checkpoints, folder, "best" if best else "last", count)
    save_artifact(artifact, output)
    metric, averaged = artifact.training["optimized_metric"], artifact.training["average_of"]
    for checkpoint in averaged:
        number, updates, score = checkpoint["checkpoint"], checkpoint["updates"], checkpoint["score"]
        click.echo(f"checkpoint {number} after {updates} updates: validation {metric} {score:.6f}")
    click.echo(f"average of checkpoints: {len(averaged)}, written to {output}")
