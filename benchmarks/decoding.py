"""Speed of translating a text with a trained model, in batches and one sentence at a time.

Give the folder of the model and the text: a sentence per line, tokens separated by blanks; it may be packed by gzip.

Beside it stands its share of the speed of large square products in the same numbers, measured in the same run, if every
hypothesis of a beam were as long as the best one. There is no such figure of int8.

Compare two versions of the code only by running both in turn on the same quiet machine; with one thread, processor time
tells more than time.
"""

from __future__ import annotations

import gzip
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import click
import torch

from benchmarks._ceiling import ceiling, operations
from s2s_algo.decoding.options import PrecisionName, SearchOptions
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.memory import empty_model


@dataclass(frozen=True, slots=True)
class _Translated:
    """Some texts: target tokens, seconds of the processor, seconds."""

    tokens: int
    processor: float
    seconds: float


@click.command()
@click.argument("model", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("text", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--precision", "precisions", multiple=True, type=click.Choice(get_args(PrecisionName)))
@click.option("--beam-size", default=5, show_default=True)
@click.option("--batch", default=64, show_default=True, help="Sentences searched together.")
@click.option("--sentences", default=1000, show_default=True, help="The first ones of the text.")
@click.option("--alone", default=100, show_default=True, help="Of these, so many are translated one by one as well.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--profile", is_flag=True, help="Show which operators take the time.")
def main(
    model: Path | None,
    text: Path | None,
    precisions: Sequence[PrecisionName],
    beam_size: int,
    batch: int,
    sentences: int,
    alone: int,
    rounds: int,
    threads: int,
    profile: bool,
) -> None:
    """Translates TEXT, one sentence of tokens per line, with MODEL; the median of the rounds is shown."""
    if model is None or text is None:
        print("Nothing is measured: give a model and a text, as the head of benchmarks/decoding.py tells.")
        return
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, {threads} threads, beam {beam_size}; target tokens with </s>")
    content = gzip.decompress(text.read_bytes()) if text.suffix == ".gz" else text.read_bytes()
    lines = content.decode().splitlines()[:sentences]
    clock = time.process_time if threads == 1 else time.perf_counter
    for precision in precisions or get_args(PrecisionName):
        translator = Translator.load(model, most_rows=batch * beam_size, precision=precision)
        options = replace(translator.options, beam_size=beam_size, with_attention=False)
        sources = [translator.source_vocabulary.encode(line) for line in lines]
        for name, groups in (
            (f"{batch} at a time", [sources]),
            ("one at a time", [[source] for source in sources[:alone]]),
        ):
            _translate(translator, groups[:10], options)  # pays for memory and code that later ones find ready
            found, shares = [], []
            for _ in range(rounds):
                most = None if precision == "int8" else ceiling(getattr(torch, precision), clock)
                found.append(_translate(translator, groups, options))
                if most:
                    needed = _operations(translator, groups, found[-1].tokens * beam_size)
                    # Of one thread the processor's seconds count, which others on this machine change less.
                    taken = found[-1].processor if threads == 1 else found[-1].seconds
                    shares.append(needed / taken / most)
            processor = statistics.median(one.processor for one in found)
            seconds = statistics.median(one.seconds for one in found)
            tokens, number = found[0].tokens, sum(map(len, groups))
            share = f"; {statistics.median(shares):.0%} of the products' speed" if shares else ""
            print(
                f"{precision:9} {name:15} {tokens / processor:6.0f} tokens per processor second, "
                f"{tokens / seconds:6.0f} per second; {1000 * processor / number:6.2f} ms of processor per sentence of "
                f"{tokens / number:.1f} tokens{share}",
                flush=True,
            )
            if profile:
                with torch.profiler.profile() as profiler:
                    _translate(translator, groups, options)
                print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=30))


def _translate(
    translator: Translator, groups: Sequence[Sequence[Sequence[int]]], options: SearchOptions
) -> _Translated:
    began, processor = time.perf_counter(), time.process_time()
    tokens = sum(len(found.token_ids) + 1 for group in groups for found in translator.translate(group, options))
    return _Translated(tokens, time.process_time() - processor, time.perf_counter() - began)


def _operations(translator: Translator, groups: Sequence[Sequence[Sequence[int]]], rows: int) -> float:
    """Of the products with weights that a search of so many rows needs."""
    sources = [source for group in groups for source in group]
    return operations(empty_model(translator.model.config), len(sources), sum(map(len, sources)), rows)


if __name__ == "__main__":
    main()
