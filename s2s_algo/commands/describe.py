"""``s2s describe``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

# What `prepare` makes at most by default: 50,000 words and four special tokens.
_LARGEST_VOCABULARY = 50_004
_SIZE = click.IntRange(4, 2**31 - 1)


@click.group()
def describe() -> None:
    """Prints what the product knows about itself."""


@describe.command("hyperparameters")
def describe_hyperparameters() -> None:
    """Prints all hyperparameters as Markdown.

    \b
    Example:
        s2s describe hyperparameters > hyperparameters.md
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.hyperparameters import as_markdown

    click.echo(as_markdown(), nl=False)


@describe.command("metrics")
def describe_metrics() -> None:
    """Prints the metric definitions of training and tuning jobs as JSON.

    \b
    Example:
        s2s describe metrics > metric_definitions.json
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.training.metrics import metric_definitions

    click.echo(json.dumps(metric_definitions(), indent=2))


@describe.command("algorithm")
@click.option("--image", required=True, help="Where the registry has the image.")
@click.option("--name", default="s2s", show_default=True, help="Of the algorithm in the account.")
@click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True, help="Of the image.")
def describe_algorithm(image: str, name: str, device: Literal["cpu", "gpu"]) -> None:
    """Prints the request CreateAlgorithm, with which the platform checks and offers this algorithm, as JSON.

    \b
    Example:
        s2s describe algorithm --image 111111111111.dkr.ecr.eu-central-1.amazonaws.com/s2s:cpu > request.json
        aws sagemaker create-algorithm --cli-input-json file://request.json
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.algorithm_resource import create_algorithm_request

    click.echo(json.dumps(create_algorithm_request(name, image, device), indent=2, ensure_ascii=False))


@describe.command("model")
@click.option(
    "--hyperparameters",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="hyperparameters.json of a job; default: all defaults.",
)
@click.option("--source-vocabulary-size", "source_size", default=_LARGEST_VOCABULARY, type=_SIZE, show_default=True)
@click.option("--target-vocabulary-size", "target_size", default=_LARGEST_VOCABULARY, type=_SIZE, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Write one object, with all sizes in bytes.")
def describe_model(file: Path | None, source_size: int, target_size: int, as_json: bool) -> None:
    """Prints the parameters of a model and the memory that it needs; no data is read and no model made.

    The vocabularies are as large as `s2s prepare` makes them at most, unless their sizes are given. Memory is that of
    the largest batches, in float32; docs/models.md says how near that comes.

    \b
    Example:
        s2s describe model --hyperparameters hyperparameters.json
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.commands.hyperparameters_file import read_valid_hyperparameters

    validated = read_valid_hyperparameters(file, target_size)
    for notice in validated.notices:
        click.echo(f"{notice.level}: {notice.text}", err=True)

    from s2s_algo.commands.model_description import describe_model as describe_in
    from s2s_algo.commands.model_description import mebibytes

    description = describe_in(validated.hyperparameters, source_size, target_size)
    if as_json:
        click.echo(json.dumps(description.values(), indent=1, ensure_ascii=False))
        return
    click.echo(f"hyperparameters: {file or 'all defaults'}")
    click.echo(f"vocabulary sizes: source {source_size:,}, target {target_size:,}\n")
    for table in description.tables():
        table.print()
        click.echo()
    click.echo(f"model.safetensors: {mebibytes(description.file_size)} MiB")
