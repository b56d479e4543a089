"""``s2s translate``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click

from s2s_algo.commands.parameters import POSITIVE, beam_option, model_option, precision_option
from s2s_algo.commands.sentence_bar import sentence_bar
from s2s_algo.commands.utf8 import use_utf8
from s2s_algo.decoding.options import PrecisionName

_LINES_AT_ONCE = 256


@click.command()
@model_option(help="Folder of the artifact.")
@beam_option
@click.option("--n-best", default=1, type=POSITIVE, show_default=True, help="Translations per sentence.")
@click.option("--scores", is_flag=True, help="Put the score and a tab before each translation; lower is better.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Write an object per line, with tokens, score and attention: a row per token, a column per source token.",
)
@precision_option(default="float32", show_default=True, help="Of products with the weights.")
def translate(
    folder: Path, beam_size: int | None, n_best: int, scores: bool, as_json: bool, precision: PrecisionName
) -> None:
    """Translates standard input to standard output, a sentence per line.

    A model of sub-words takes and gives raw text, any other one tokens between white space.

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
    use_utf8()
    number = 0
    with sentence_bar("translating") as bar:
        # A person at a terminal wants each answer at once.
        for lines in _chunks(sys.stdin, 1 if sys.stdin.isatty() else _LINES_AT_ONCE):
            sources = [translator.source_vocabulary.segmentation.split(line) for line in lines]
            ids = [translator.source_vocabulary.encode_tokens(source) for source in sources]
            for source, found in zip(sources, translator.translate_n_best(ids, options, bar.update), strict=True):
                if as_json:
                    values = [_values(translation, source) for translation in found]
                    best = values[0] if n_best == 1 else {**values[0], "n_best": values}
                    click.echo(json.dumps(best, ensure_ascii=False))
                elif n_best > 1:
                    for translation in found:
                        click.echo(f"{number} ||| {translation.text} ||| {translation.score:.6f}")
                else:
                    click.echo(f"{found[0].score:.6f}\t{found[0].text}" if scores else found[0].text)
                number += 1


def _values(translation: Any, source: Sequence[str]) -> dict[str, Any]:
    return {
        "translation": translation.text,
        "tokens": list(translation.tokens),
        # JSON has no infinity, which an imported model may give to an empty translation.
        "score": translation.score if math.isfinite(translation.score) else None,
        "attention": translation.attention.tolist(),
        "source_tokens": source,
    }


def _chunks(lines: TextIO, size: int) -> Iterator[Sequence[str]]:
    """Lists of at most ``size`` lines, so that an endless input needs no endless memory."""
    while chunk := list(islice(lines, size)):
        yield chunk
