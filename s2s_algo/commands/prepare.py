"""``s2s prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from s2s_algo.commands.parameters import PATH, POSITIVE


@click.command()
@click.argument(
    "texts", nargs=-1, type=PATH, metavar="[TRAIN_SOURCE TRAIN_TARGET] [VALIDATION_SOURCE VALIDATION_TARGET]"
)
@click.option("--train", type=PATH, help="A .tsv or .tmx in place of the two texts to train on.")
@click.option("--validation", type=PATH, help="A .tsv or .tmx in place of the two texts to validate on.")
@click.option("--source-language", metavar="CODE", help="Source of a .tmx, such as en, which stands for en-US too.")
@click.option("--target-language", metavar="CODE", help="Target of a .tmx.")
@click.option("--output", "-o", required=True, type=PATH, help="Folder to write into.")
@click.option("--channels", is_flag=True, help="Write into the folders train, validation and vocab below OUTPUT.")
@click.option("--subwords-source", type=POSITIVE, metavar="N", help="Learn N pieces from the source text.")
@click.option("--subwords-target", type=POSITIVE, metavar="N", help="Learn N pieces from the target text.")
@click.option("--subword-model-source", type=PATH, help="Cut the source text with this model of SentencePiece.")
@click.option("--subword-model-target", type=PATH, help="Cut the target text with this model of SentencePiece.")
@click.option("--subword-type", type=click.Choice(["unigram", "bpe"]), help="How pieces are learnt; default: unigram.")
@click.option("--num-words-source", type=POSITIVE, metavar="N", help="Most source words; default: 50000.")
@click.option("--num-words-target", type=POSITIVE, metavar="N", help="Most target words; default: 50000.")
@click.option("--word-min-count-source", type=POSITIVE, metavar="N", help="Occurrences of a word; default: 1.")
@click.option("--word-min-count-target", type=POSITIVE, metavar="N", help="Occurrences of a word; default: 1.")
@click.option("--single-vocabulary", is_flag=True, help="One vocabulary of both sides, with the source's options.")
@click.option("--vocabulary-source", type=PATH, help="Use this file; needs one of the target, or its sub-words.")
@click.option("--vocabulary-target", type=PATH, help="Use this file; needs one of the source, or its sub-words.")
@click.option("--max-length", type=POSITIVE, metavar="N", help="Skip training pairs with more tokens on a side.")
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
