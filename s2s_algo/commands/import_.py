"""``s2s import``."""

from __future__ import annotations

from pathlib import Path

import click

from s2s_algo.commands.output_folder import require_new_or_empty
from s2s_algo.commands.parameters import PATH, output_option


@click.command("import")
@click.argument("model", type=PATH)
@output_option
def import_(model: Path, output: Path) -> None:
    """Turns a model of Sockeye 1, a folder or a model.tar.gz, into one of ours.

    It then translates as that version did. What cannot be imported is refused by name.

    \b
    Example:
        s2s import model.tar.gz --output /opt/ml/model
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.checkpoints.artifact import save_artifact
    from s2s_algo.legacy.importer import import_model

    require_new_or_empty(output)
    artifact = import_model(model)
    save_artifact(artifact, output)
    click.echo(f"{artifact.training['imported_from']} model written to {output}")
