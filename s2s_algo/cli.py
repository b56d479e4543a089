"""The command ``s2s``."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click

from s2s_algo.errors import S2SError

_LINES_AT_ONCE = 256


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
    """Sequence-to-sequence models: prepare data, translate, describe."""


@main.command()
@click.argument("train_source", type=click.Path(path_type=Path))
@click.argument("train_target", type=click.Path(path_type=Path))
@click.argument("validation_source", type=click.Path(path_type=Path))
@click.argument("validation_target", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder to write into.")
@click.option("--channels", is_flag=True, help="Write into the folders train, validation and vocab below OUTPUT.")
@click.option("--num-words-source", default=50_000, type=click.IntRange(min=1), show_default=True)
@click.option("--num-words-target", default=50_000, type=click.IntRange(min=1), show_default=True)
@click.option("--word-min-count-source", default=1, type=click.IntRange(min=1), show_default=True)
@click.option("--word-min-count-target", default=1, type=click.IntRange(min=1), show_default=True)
@click.option("--single-vocabulary", is_flag=True, help="One vocabulary of both sides, with the source's limits.")
@click.option("--vocabulary-source", type=click.Path(path_type=Path), help="Use this file; needs --vocabulary-target.")
@click.option("--vocabulary-target", type=click.Path(path_type=Path), help="Use this file; needs --vocabulary-source.")
def prepare(**options: Any) -> None:
    r"""Turns parallel text (.gz too) into the files of the channels: train.rec, val.rec and two vocabularies.

    \b
    Example:
        s2s prepare train.en train.de val.en val.de --output data --channels
    """
    from s2s_algo.data.prepare import PrepareOptions
    from s2s_algo.data.prepare import prepare as write

    report = write(PrepareOptions(**options))
    for name, counts in (("train", report.train), ("validation", report.validation)):
        click.echo(f"{name}: {counts.written} pairs written, {counts.skipped} with an empty side skipped")
    click.echo(f"vocabularies: source {report.source_vocabulary_size}, target {report.target_vocabulary_size} entries")
    for file in report.files:
        click.echo(file)


@main.command()
@click.option("--model", "folder", required=True, type=click.Path(path_type=Path), help="Folder of the artifact.")
@click.option("--beam-size", type=click.IntRange(min=1), help="Hypotheses kept per sentence; default: the model's own.")
@click.option("--n-best", default=1, type=click.IntRange(min=1), show_default=True, help="Translations per sentence.")
@click.option("--scores", is_flag=True, help="Put the score and a tab before each translation; lower is better.")
@click.option("--json", "as_json", is_flag=True, help="Write an object per line, with tokens, score and attention.")
def translate(folder: Path, beam_size: int | None, n_best: int, scores: bool, as_json: bool) -> None:
    r"""Translates standard input to standard output, a sentence of whitespace-separated tokens per line.

    With --n-best N, a line is "number of the sentence ||| translation ||| score", best first; a blank sentence, or one
    that is translated in pieces, has only one. With --json, the object has them under n_best.

    \b
    Example:
        echo "h e l l o" | s2s translate --model /opt/ml/model
    """
    from dataclasses import replace

    from s2s_algo.decoding.translator import Translator

    translator = Translator.load(folder)
    options = replace(translator.options, n_best=n_best)
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
        "score": translation.score,
        "attention": translation.attention.tolist(),
    }


def _chunks(lines: TextIO, size: int) -> Iterator[Sequence[str]]:
    """Lists of at most ``size`` lines, so that an endless input needs no endless memory."""
    while chunk := list(islice(lines, size)):
        yield chunk


@main.group()
def describe() -> None:
    """Prints what the product knows about itself."""


@describe.command("hyperparameters")
def describe_hyperparameters() -> None:
    """Prints all hyperparameters as Markdown."""
    from s2s_algo.hyperparameters import as_markdown

    click.echo(as_markdown(), nl=False)
