"""Speed of translating a text with a trained model, in batches and one sentence at a time.

Compare two versions of the code only by running both in turn on the same quiet machine; with one thread, processor time
tells more than time.
"""

from __future__ import annotations

import gzip
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import click
import torch

from s2s_algo.decoding.options import PrecisionName, SearchOptions
from s2s_algo.decoding.translator import Translator


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("text", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--precision", "precisions", multiple=True, type=click.Choice(get_args(PrecisionName)))
@click.option("--beam-size", default=5, show_default=True)
@click.option("--batch", default=64, show_default=True, help="Sentences searched together.")
@click.option("--sentences", default=1000, show_default=True, help="The first ones of the text.")
@click.option("--alone", default=100, show_default=True, help="Of these, so many are translated one by one as well.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--profile", is_flag=True, help="Show which operators take the time.")
def main(
    model: Path,
    text: Path,
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
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, {threads} threads, beam {beam_size}; target tokens with </s>")
    content = gzip.decompress(text.read_bytes()) if text.suffix == ".gz" else text.read_bytes()
    lines = content.decode().splitlines()[:sentences]
    for precision in precisions or get_args(PrecisionName):
        translator = Translator.load(model, most_rows=batch * beam_size, precision=precision)
        options = replace(translator.options, beam_size=beam_size, with_attention=False)
        sources = [translator.source_vocabulary.encode(line) for line in lines]
        for name, groups in (
            (f"{batch} at a time", [sources]),
            ("one at a time", [[source] for source in sources[:alone]]),
        ):
            _translate(translator, groups[:10], options)  # pays for memory and code that later ones find ready
            found = [_translate(translator, groups, options) for _ in range(rounds)]
            processor, seconds = (statistics.median(part) for part in list(zip(*found, strict=True))[1:])
            tokens, number = found[0][0], sum(map(len, groups))
            print(
                f"{precision:9} {name:15} {tokens / processor:6.0f} tokens per processor second, "
                f"{tokens / seconds:6.0f} per second; {1000 * processor / number:6.2f} ms of processor per sentence of "
                f"{tokens / number:.1f} tokens",
                flush=True,
            )
            if profile:
                with torch.profiler.profile() as profiler:
                    _translate(translator, groups, options)
                print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=30))


def _translate(
    translator: Translator, groups: Sequence[Sequence[Sequence[int]]], options: SearchOptions
) -> tuple[int, float, float]:
    """Target tokens, seconds of the processor, seconds."""
    began, processor = time.perf_counter(), time.process_time()
    tokens = sum(len(found.token_ids) + 1 for group in groups for found in translator.translate(group, options))
    return tokens, time.process_time() - processor, time.perf_counter() - began


if __name__ == "__main__":
    main()
