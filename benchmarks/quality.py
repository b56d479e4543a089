"""How well a model translates after so many minutes of a processor.

Give a folder with ``train.*``, ``val.*`` and ``test2016.*``: one sentence per line, tokens separated by blanks. Words
that occur twice are known. The training is the product's own, on one thread, in this process. All the processor's time
since the process began counts, but for the preparation of the records and for the checkpoints, which are made as soon
as a time is reached. The translations are the product's as well, by the model of each checkpoint; they do not count.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import torch
from sacrebleu.metrics.chrf import CHRF

from benchmarks._assembly import put_together
from benchmarks._corpus import prepared, texts
from benchmarks._timed_training import Point, Watch, train_to
from s2s_algo.bleu import bleu_metric
from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.checkpoints.tensors import fill
from s2s_algo.data.parallel_text import TwoTexts
from s2s_algo.decoding.translator import Translator
from s2s_algo.training.assembly import Assembled

RECIPES = Path(__file__).parents[1] / "examples" / "recipes"


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--recipe", help=f"A file of {RECIPES.parent.name}/{RECIPES.name}; without one, the defaults.")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Hyperparameters that differ from it.")
@click.option("--minutes", default="", metavar="M,...", help="Processor time of the checkpoints.")
@click.option("--updates", default="", metavar="N,...", help="Updates after which there are checkpoints as well.")
@click.option("--seed", default=1, show_default=True)
@click.option("--beam", default=5, show_default=True)
@click.option("--languages", default="en,de", show_default=True, help="Endings of the source and the target files.")
@click.option("--test", is_flag=True, help="Translate test2016 too: once, when the choice is made.")
@click.option("--no-translation", is_flag=True, help="No BLEU and chrF.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for the models of the checkpoints.")
def main(
    folder: Path | None,
    recipe: str | None,
    changes: tuple[str, ...],
    minutes: str,
    updates: str,
    seed: int,
    beam: int,
    languages: str,
    test: bool,
    no_translation: bool,
    keep: Path | None,
) -> None:
    """Prints what each checkpoint has cost and its perplexities; then BLEU and chrF of the translations."""
    if folder is None:
        print("Nothing is measured: give a folder of text, as the head of benchmarks/quality.py tells.")
        return
    logging.getLogger("s2s_algo").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    watch = Watch(
        [float(text) for text in minutes.split(",") if text], [int(n) for n in updates.split(",") if n], _tell
    )
    if watch.is_over:
        raise click.UsageError("Give --minutes or --updates, such as --minutes 4.3,10.8,15.1.")
    hyperparameters = {
        **(json.loads((RECIPES / f"{recipe}.json").read_text()) if recipe else {}),
        **dict(change.split("=", 1) for change in changes),
        "seed": str(seed),
        "cleanup_old_models": json.dumps({"keep_last_n": len(watch.minutes) + len(watch.updates)}),
    }
    with tempfile.TemporaryDirectory(prefix="s2s-bench-") as scratch:
        assembled = _assemble(Path(scratch), folder, languages, hyperparameters, watch)
        train_to(assembled, watch)
        for point in watch.points:
            model = _model(assembled, point, keep or Path(scratch) / "models")
            for name in [] if no_translation else ["val", "test2016"] if test else ["val"]:
                print(f"after {point.updates} updates, {name}: {_scores(model, texts(folder, name, languages), beam)}")


def _assemble(scratch: Path, folder: Path, languages: str, hyperparameters: dict[str, str], watch: Watch) -> Assembled:
    began = time.process_time()
    train, validation = texts(folder, "train", languages), texts(folder, "val", languages)
    data = prepared(train, validation, scratch / "data")
    watch.not_counted = time.process_time() - began
    return put_together(hyperparameters, data.channels, data.vocabularies, scratch)


def _tell(point: Point) -> None:
    history = point.history
    print(
        f"{point.minutes:.2f} minutes, {point.updates} updates, {point.tokens / 1e3:.0f} k target tokens; perplexity: "
        f"train {history['train_perplexity']:.2f}, val {history['validation_perplexity']:.2f}",
        flush=True,
    )


def _model(assembled: Assembled, point: Point, folder: Path) -> Path:
    """The folder of the model as it was at a point."""
    job, place = assembled.job, folder / f"updates-{point.updates}"
    fill(job.model, job.store.load(point.updates).weights, where=str(place))
    save_artifact(Artifact(job.model, job.inference, *assembled.vocabularies), place)
    return place


def _scores(model: Path, text: TwoTexts, beam: int) -> str:
    sources, references = zip(*text.pairs(), strict=True)
    translations = _translate(model, sources, beam)
    bleu = bleu_metric().corpus_score(translations, [[" ".join(line.split()) for line in references]])
    chrf = CHRF().corpus_score(translations, [list(references)])
    return f"BLEU {bleu.score:.2f}, chrF {chrf.score:.2f}"


def _translate(model: Path, sources: Sequence[str], beam: int) -> list[str]:
    translator = Translator.load(model)
    options = replace(translator.options, beam_size=beam, with_attention=False)
    ids = [translator.source_vocabulary.encode(source) for source in sources]
    return [found.text for found in translator.translate(ids, options)]


if __name__ == "__main__":
    main()
