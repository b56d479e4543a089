"""The command ``s2s``."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args

import click

from s2s_algo.decoding.options import PrecisionName
from s2s_algo.errors import ClientError, S2SError

if TYPE_CHECKING:
    from s2s_algo.hyperparameters import Hyperparameters

_LINES_AT_ONCE = 256

# What `prepare` makes at most by default: 50,000 words and four special tokens.
_LARGEST_VOCABULARY = 50_004
_SIZE = click.IntRange(4, 2**31 - 1)


_PRECISION = partial(click.option, "--precision", type=click.Choice(get_args(PrecisionName)))


class _Group(click.Group):
    """Shows errors of ours as one line, with their family's exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except S2SError as error:
            click.echo(f"{error.family}: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="s2s")
def main() -> None:
    """Sequence-to-sequence models: prepare data, translate, average, import, describe."""


_POSITIVE = click.IntRange(min=1)
_FILE = click.Path(path_type=Path)


@main.command()
@click.argument(
    "texts", nargs=-1, type=_FILE, metavar="[TRAIN_SOURCE TRAIN_TARGET] [VALIDATION_SOURCE VALIDATION_TARGET]"
)
@click.option("--train", type=_FILE, help="A .tsv or .tmx in place of the two texts to train on.")
@click.option("--validation", type=_FILE, help="A .tsv or .tmx in place of the two texts to validate on.")
@click.option("--source-language", metavar="CODE", help="Source of a .tmx, such as en, which stands for en-US too.")
@click.option("--target-language", metavar="CODE", help="Target of a .tmx.")
@click.option("--output", "-o", required=True, type=_FILE, help="Folder to write into.")
@click.option("--channels", is_flag=True, help="Write into the folders train, validation and vocab below OUTPUT.")
@click.option("--subwords-source", type=_POSITIVE, metavar="N", help="Learn N pieces from the source text.")
@click.option("--subwords-target", type=_POSITIVE, metavar="N", help="Learn N pieces from the target text.")
@click.option("--subword-model-source", type=_FILE, help="Cut the source text with this model of SentencePiece.")
@click.option("--subword-model-target", type=_FILE, help="Cut the target text with this model of SentencePiece.")
@click.option("--subword-type", type=click.Choice(["unigram", "bpe"]), help="How pieces are learnt; default: unigram.")
@click.option("--num-words-source", type=_POSITIVE, metavar="N", help="Most source words; default: 50000.")
@click.option("--num-words-target", type=_POSITIVE, metavar="N", help="Most target words; default: 50000.")
@click.option("--word-min-count-source", type=_POSITIVE, metavar="N", help="Occurrences of a word; default: 1.")
@click.option("--word-min-count-target", type=_POSITIVE, metavar="N", help="Occurrences of a word; default: 1.")
@click.option("--single-vocabulary", is_flag=True, help="One vocabulary of both sides, with the source's options.")
@click.option("--vocabulary-source", type=_FILE, help="Use this file; needs one of the target, or its sub-words.")
@click.option("--vocabulary-target", type=_FILE, help="Use this file; needs one of the source, or its sub-words.")
@click.option("--max-length", type=_POSITIVE, metavar="N", help="Skip training pairs with more tokens on a side.")
@click.option(
    "--max-ratio",
    type=click.FloatRange(min=1),
    metavar="R",
    help="Skip training pairs of which a side has more than R times the tokens of the other.",
)
@click.option("--drop-duplicates", is_flag=True, help="Skip training pairs that are equal to an earlier one.")
def prepare(
    texts: tuple[Path, ...],
    train: Path | None,
    validation: Path | None,
    source_language: str | None,
    target_language: str | None,
    **options: Any,
) -> None:
    """Turns parallel text (.gz too) into the files of the channels: train.rec, val.rec and two vocabularies.

    Text is cut at white space or, with sub-words, into pieces; then there are their models too, and the trained model
    takes and gives raw text.

    \b
    Example:
        s2s prepare train.en train.de val.en val.de --output data --channels
    \b
    Example with sub-words:
        s2s prepare train.en train.de val.en val.de -o data --channels --subwords-source 8000 --subwords-target 8000
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.data.parallel_text import open_corpora
    from s2s_algo.data.prepare import prepare as write
    from s2s_algo.data.prepare_options import PrepareOptions

    corpora = open_corpora(texts, train, validation, source_language, target_language)
    for line in write(PrepareOptions(train=corpora[0], validation=corpora[1], **options)).lines():
        click.echo(line)


@main.command()
@click.option("--model", "folder", required=True, type=click.Path(path_type=Path), help="Folder of the artifact.")
@click.option("--beam-size", type=click.IntRange(min=1), help="Hypotheses kept per sentence; default: the model's own.")
@click.option("--n-best", default=1, type=click.IntRange(min=1), show_default=True, help="Translations per sentence.")
@click.option("--scores", is_flag=True, help="Put the score and a tab before each translation; lower is better.")
@click.option("--json", "as_json", is_flag=True, help="Write an object per line, with tokens, score and attention.")
@_PRECISION(default="float32", show_default=True, help="Of products with the weights.")
def translate(
    folder: Path, beam_size: int | None, n_best: int, scores: bool, as_json: bool, precision: PrecisionName
) -> None:
    """Translates standard input to standard output, a sentence of whitespace-separated tokens per line.

    With --n-best N, a line is "number of the sentence ||| translation ||| score", best first; a blank sentence, or one
    that is translated in pieces, has only one. With --json, the object has them under n_best.

    \b
    Example:
        echo "h e l l o" | s2s translate --model /opt/ml/model
    """  # noqa: D301 (click looks for the character itself)
    from dataclasses import replace

    from s2s_algo.decoding.translator import Translator

    translator = Translator.load(folder, precision=precision)
    options = replace(translator.options, n_best=n_best, with_attention=as_json)
    if beam_size is not None:
        options = replace(options, beam_size=beam_size)
    options.check(len(translator.target_vocabulary))
    _use_utf8()
    number = 0
    # A person at a terminal wants each answer at once.
    for lines in _chunks(sys.stdin, 1 if sys.stdin.isatty() else _LINES_AT_ONCE):
        sources = [translator.source_vocabulary.encode(line) for line in lines]
        for found in translator.translate_n_best(sources, options):
            if as_json:
                values = [_values(translation) for translation in found]
                best = values[0] if n_best == 1 else {**values[0], "n_best": values}
                click.echo(json.dumps(best, ensure_ascii=False))
            elif n_best > 1:
                for translation in found:
                    click.echo(f"{number} ||| {translation.text} ||| {translation.score:.6f}")
            else:
                click.echo(f"{found[0].score:.6f}\t{found[0].text}" if scores else found[0].text)
            number += 1


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--model", "folder", required=True, type=click.Path(path_type=Path), help="Folder of the artifact.")
@click.option("--beam-size", type=click.IntRange(min=1), help="Hypotheses kept per sentence; default: the model's own.")
@_PRECISION(multiple=True, default=("float32",), help="Of products with the weights; may be given several times.")
def evaluate(
    source: Path, target: Path, folder: Path, beam_size: int | None, precision: tuple[PrecisionName, ...]
) -> None:
    """Translates SOURCE and compares the translations with TARGET, line by line (.gz too).

    BLEU is on whitespace tokens, as in training. The numbers behind the scores are 95 % confidence intervals. "same" is
    the share of the sentences that are translated as in the first precision.

    \b
    Example:
        s2s evaluate test.en test.de --model job/model --precision float32 --precision int8
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.evaluation import evaluate as evaluate_in
    from s2s_algo.evaluation import read_parallel

    rows, signatures = [], {}
    for found in evaluate_in(folder, *read_parallel(source, target), precision, beam_size):
        cells = [f"{score.value:.2f} ± {score.interval:.2f}" for score in found.scores]
        speed = f"{found.per_second:.1f}"
        rows.append((found.precision, *cells, f"{found.exact:.1%}", f"{found.same:.1%}", speed))
        signatures = {score.name: score.signature for score in found.scores}
    _table(("precision", *signatures, "exact", "same", "sentences/s"), rows)
    click.echo()
    for name, signature in signatures.items():
        click.echo(f"{name}|{signature}")


def _use_utf8() -> None:
    """Makes texts UTF-8 in every locale, with U+FFFD in place of what is not, as in ``prepare``."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace", newline="\n")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")


def _values(translation: Any) -> dict[str, Any]:
    return {
        "translation": translation.text,
        "tokens": list(translation.tokens),
        # JSON has no infinity, which an imported model may give to an empty translation.
        "score": translation.score if math.isfinite(translation.score) else None,
        "attention": translation.attention.tolist(),
    }


def _chunks(lines: TextIO, size: int) -> Iterator[Sequence[str]]:
    """Lists of at most ``size`` lines, so that an endless input needs no endless memory."""
    while chunk := list(islice(lines, size)):
        yield chunk


@main.command("import")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="New or empty folder.")
def import_(model: Path, output: Path) -> None:
    """Turns a model of Sockeye 1, a folder or a model.tar.gz, into one of ours.

    It then translates as that version did. What cannot be imported is refused by name.

    \b
    Example:
        s2s import model.tar.gz --output /opt/ml/model
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.checkpoints.artifact import save_artifact
    from s2s_algo.legacy.importer import import_model

    _require_new_or_empty(output)
    artifact = import_model(model)
    save_artifact(artifact, output)
    click.echo(f"{artifact.training['imported_from']} model written to {output}")


@main.command()
@click.argument("checkpoints", type=click.Path(path_type=Path))
@click.option("--model", "folder", required=True, type=click.Path(path_type=Path), help="Folder of the job's artifact.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="New or empty folder.")
@click.option("--best", type=click.IntRange(min=1), metavar="N", help="Average the N best on the optimized_metric.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Average the last N.")
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
    _require_new_or_empty(output)

    from s2s_algo.checkpoints.artifact import save_artifact
    from s2s_algo.training.averaging import average_checkpoints

    artifact = average_checkpoints(checkpoints, folder, "best" if best else "last", count)
    save_artifact(artifact, output)
    metric, averaged = artifact.training["optimized_metric"], artifact.training["average_of"]
    for checkpoint in averaged:
        number, updates, score = checkpoint["checkpoint"], checkpoint["updates"], checkpoint["score"]
        click.echo(f"checkpoint {number} after {updates} updates: validation {metric} {score:.6f}")
    click.echo(f"average of checkpoints: {len(averaged)}, written to {output}")


def _require_new_or_empty(output: Path) -> None:
    if os.path.lexists(output) and not (output.is_dir() and not any(output.iterdir())):
        raise click.UsageError(f"{output} is there already. Name a folder that is new or empty.")
    if any(parent.exists() and not parent.is_dir() for parent in output.absolute().parents):
        raise click.UsageError(f"{output} would lie in a file. Name a folder that is new or empty.")


@main.group()
def describe() -> None:
    """Prints what the product knows about itself."""


@describe.command("hyperparameters")
def describe_hyperparameters() -> None:
    """Prints all hyperparameters as Markdown."""
    from s2s_algo.hyperparameters import as_markdown

    click.echo(as_markdown(), nl=False)


@describe.command("metrics")
def describe_metrics() -> None:
    """Prints the metric definitions of training and tuning jobs as JSON."""
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
    hyperparameters = _validated(file, target_size)

    from s2s_algo.decoding.memory_estimate import estimate_serving
    from s2s_algo.model.memory import empty_model
    from s2s_algo.model.summary import model_file_size, summarize
    from s2s_algo.training.memory_estimate import estimate_training
    from s2s_algo.training.settings import model_config, optimizer_config

    config = model_config(hyperparameters, source_size, target_size)
    parts = summarize(empty_model(config))
    total, file_size = sum(part.count for part in parts), model_file_size(parts)
    source, target = hyperparameters.max_seq_len_source, hyperparameters.max_seq_len_target + 1
    optimizer = optimizer_config(hyperparameters)
    estimates = {
        "training": estimate_training(config, optimizer, hyperparameters.batch_size, source, target),
        "serving": estimate_serving(config, source, target, hyperparameters.beam_size),
    }
    if as_json:
        values = {
            "hyperparameters": hyperparameters.model_dump(mode="json"),
            "vocabulary_sizes": {"source": source_size, "target": target_size},
            "parts": [
                {
                    "name": part.name,
                    "count": part.count,
                    "parameters": [{"name": p.name, "shape": p.shape, "count": p.count} for p in part.parameters],
                }
                for part in parts
            ],
            "count": total,
            "model_file": file_size,
            "memory": {
                name: {
                    "task": estimate.task,
                    "items": {item.name: item.size for item in estimate.items},
                    "total": estimate.total,
                    "peak": estimate.peak,
                }
                for name, estimate in estimates.items()
            },
        }
        click.echo(json.dumps(values, indent=1, ensure_ascii=False))
        return
    click.echo(f"hyperparameters: {file or 'all defaults'}")
    click.echo(f"vocabulary sizes: source {source_size:,}, target {target_size:,}\n")
    rows = []
    for part in parts:
        rows.append((part.name, "", "", f"{part.count:,}"))
        for parameter in part.parameters:
            shape = " x ".join(f"{size:,}" for size in parameter.shape)
            rows.append((f"  {parameter.layer}", parameter.name.rpartition(".")[2], shape, f"{parameter.count:,}"))
    rows.append(("total", "", "", f"{total:,}"))
    _table(("layer", "parameter", "shape", "count"), rows)
    for estimate in estimates.values():
        sizes = [*((item.description, item.size) for item in estimate.items), ("sum", estimate.total)]
        sizes.append(("most at one time", estimate.peak))
        click.echo()
        _table((estimate.task, "MiB"), [(description, _mebibytes(size)) for description, size in sizes])
    click.echo(f"\nmodel.safetensors: {_mebibytes(file_size)} MiB")


def _validated(file: Path | None, target_vocabulary_size: int) -> Hyperparameters:
    """The hyperparameters of a file, checked as a job checks them.

    Raises:
        ClientError: With all problems.
    """
    from s2s_algo.hyperparameters import read_hyperparameters_file, valid_part, validate
    from s2s_algo.training.preconditions import check_beam

    raw = read_hyperparameters_file(file) if file else {}
    problems = []
    try:
        check_beam(valid_part(raw), target_vocabulary_size)
    except ClientError as error:
        problems.append(str(error))
    try:
        validated = validate(raw)
    except ClientError as error:
        problems.insert(0, str(error))
    if problems:
        raise ClientError("\n".join(problems))
    for notice in validated.notices:
        click.echo(f"{notice.level}: {notice.text}", err=True)
    return validated.hyperparameters


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns, the last one flush right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
        click.echo("  ".join([*cells, row[-1].rjust(widths[-1])]))


if __name__ == "__main__":
    main()
