"""Training and translating, next to other programs of the field on the same corpus, text and machine.

Every program runs its own command in a process of its own, ours too, and by turns with the others. Stamps after each
update, or each batch that was translated, tell what it does in a second of processor time, which with one thread says
more than time where others use the machine too. Each ``--rival`` needs a virtual environment that holds it:

    python -m benchmarks.rivals FOLDER --rival fairseq=VENV --rival sockeye=VENV --configuration A
    python -m benchmarks.rivals FOLDER --rival fairseq=VENV --decode
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from benchmarks._rivals.bench import Bench
from benchmarks._rivals.fairseq import Fairseq
from benchmarks._rivals.joeynmt import JoeyNMT
from benchmarks._rivals.opennmt import OpenNMT
from benchmarks._rivals.ours import Ours
from benchmarks._rivals.program import BATCH, BEAM, SEARCHED, Program
from benchmarks._rivals.sockeye import Sockeye
from benchmarks._rivals.stamps import Speed, median_and_range, ratios
from benchmarks._rivals.texts import lay_out

RIVALS: dict[str, type[Program]] = {program.inside: program for program in (Fairseq, OpenNMT, JoeyNMT, Sockeye)}
_MIB = 2**20


class _Installed(click.ParamType[Program]):
    name = "NAME=VENV"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Program:
        name, _, folder = value.partition("=")
        if name not in RIVALS:
            self.fail(f"{name!r} is no rival; choose one of {', '.join(RIVALS)}, such as fairseq=/some/venv")
        python = Path(folder).absolute() / "bin" / "python"
        if not folder or not python.exists():
            self.fail(f"there is no {python}; name the virtual environment that holds {name}")
        return RIVALS[name](python)


@click.command()
@click.argument("corpus", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rival", "rivals", multiple=True, type=_Installed(), help="A program and where it is installed.")
@click.option("--configuration", "names", multiple=True, type=click.Choice(["A", "B", "C"]), default=["A"])
@click.option(
    "--precision", "precisions", multiple=True, type=click.Choice(["float32", "bfloat16", "int8"]), default=["float32"]
)
@click.option("--decode", is_flag=True, help="Translate with a beam of 5, rather than train.")
@click.option(
    "--batch",
    "batches",
    multiple=True,
    default=[BATCH, 1],
    type=click.IntRange(1),
    help="Sentences translated at a time.",
)
@click.option("--rounds", default=2, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Of processor time, training in each round.")
@click.option("--threads", default=1, show_default=True)
@click.option("--languages", default="en,de", show_default=True, help="Endings of the source and the target files.")
@click.option("--test", default="test2016", show_default=True, help="What is translated.")
@click.option("--work", type=click.Path(path_type=Path), help="Keeps prepared data and models, for the next time.")
def main(
    corpus: Path | None,
    rivals: tuple[Program, ...],
    names: tuple[str, ...],
    precisions: tuple[str, ...],
    decode: bool,
    batches: tuple[int, ...],
    rounds: int,
    seconds: float,
    threads: int,
    languages: str,
    test: str,
    work: Path | None,
) -> None:
    """Prints a table in Markdown for each configuration, or for translating in batches and one by one."""
    if corpus is None:  # as `make bench` runs it
        print("nothing to measure: name the folder of a corpus, and rivals; see --help")
        return
    if "int8" in precisions and not decode:
        raise click.UsageError("int8 is for translating; add --decode, or choose float32 or bfloat16.")
    with ExitStack() as held:
        folder = (work or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="s2s-bench-")))).absolute()
        bench = Bench(lay_out(corpus, folder / "texts", languages, test), folder, threads)
        ours = [Ours(precision) for precision in precisions]
        print("; ".join(dict.fromkeys(program.versions() for program in (*ours, *rivals))))
        print(f"{threads} threads, {rounds} rounds by turns, median and range", flush=True)
        if decode:
            for batch in batches:
                found = _by_turns([*ours, *rivals], rounds, partial(bench.translate, batch=batch))
                print(f"\ntranslating, batches of {batch}, configuration {SEARCHED}, beam {BEAM}")
                _show(found, [program.name for program in ours], is_decoding=True)
            return
        for name in names:
            able = [program for program in (*ours, *rivals) if name in program.configurations]
            found = _by_turns(able, rounds, partial(bench.train, configuration=name, seconds=seconds))
            print(f"\ntraining, configuration {name}, {seconds:g} processor seconds")
            _show(found, [program.name for program in ours], is_decoding=False)


def _by_turns(programs: Sequence[Program], rounds: int, measure: Callable[[Program], Speed]) -> dict[str, list[Speed]]:
    """The speeds of each, by its name; of one that fails, only that it did."""
    found: dict[str, list[Speed]] = {program.name: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            if program.name not in found:
                continue
            try:
                found[program.name].append(measure(program))
            except click.ClickException as error:
                del found[program.name]
                error.show()
    return found


def _show(found: dict[str, list[Speed]], ours: Sequence[str], is_decoding: bool) -> None:
    """Prints a table in Markdown."""
    ours = [name for name in ours if name in found]
    per_sentence = ["ms per sentence", "tokens per sentence"] if is_decoding else ["updates"]
    heads = ["program", "target tokens per processor second", "per second", *per_sentence, "peak MiB"]
    heads += [f"{name} / it" for name in ours]
    print("", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", sep="\n")
    for name, speeds in found.items():
        cells = [name, median_and_range([speed.per_processor_second for speed in speeds])]
        cells.append(median_and_range([speed.per_second for speed in speeds]))
        if is_decoding:
            cells.append(median_and_range([speed.sentence_ms for speed in speeds], ".1f"))
            cells.append(median_and_range([speed.tokens / speed.sentences for speed in speeds], ".1f"))
        else:
            cells.append("+".join(f"{speed.sentences / BATCH:.0f}" for speed in speeds))
        cells.append(f"{max(speed.peak for speed in speeds) / _MIB:.0f}")
        cells += ["" if name in ours else median_and_range(ratios(found[own], speeds), ".2f") for own in ours]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
