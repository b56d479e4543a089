"""One run of one program: its data made ready, its command run, its stamps read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks._rivals.program import SEARCHED, UPDATES, Program
from benchmarks._rivals.stamps import Speed, Stamp, decoding_speed, read_stamps, training_speed
from benchmarks._rivals.texts import Texts

# The first updates, and the first batches, pay for memory and code that later ones find ready.
_UPDATES_TO_WARM_UP, _BATCHES_TO_WARM_UP = 4, 1


@dataclass(frozen=True, slots=True)
class Bench:
    """Where programs are measured.

    Attributes:
        texts: The corpus.
        folder: Holds what each program has made of it.
        threads: That compute.
    """

    texts: Texts
    folder: Path
    threads: int

    def train(self, program: Program, configuration: str, seconds: float) -> Speed:
        """Trains for so many seconds of processor time after the warm-up."""
        data, output = self._data(program), self._place(program, "training")
        _empty(output)
        command = program.train(configuration, self.texts, data, output, None)
        stamps = output.with_name("training.stamps")
        settings = {"BENCHMARK_SECONDS": str(seconds), "BENCHMARK_WARM_UP": str(_UPDATES_TO_WARM_UP)}
        program.run(command, output.parent, self.threads, "training", {"BENCHMARK_STAMPS": str(stamps), **settings})
        return _judged(program, stamps, lambda found: training_speed(found, _UPDATES_TO_WARM_UP))

    def translate(self, program: Program, batch: int) -> Speed:
        """Translates with a model that has learned next to nothing."""
        data, model = self._data(program), self._place(program, "model")
        with _Once(model) as missing:
            if missing:
                command = program.train(SEARCHED, self.texts, data, model, UPDATES)
                program.run(command, model.parent, self.threads, "model")
        stamps = model.with_name("translating.stamps")
        command = program.translate(self.texts, data, model, batch)
        program.run(command, model.parent, self.threads, "translating", {"BENCHMARK_STAMPS": str(stamps)})
        return _judged(program, stamps, lambda found: decoding_speed(found, _BATCHES_TO_WARM_UP))

    def _data(self, program: Program) -> Path:
        data = self._place(program, "data")
        with _Once(data) as missing:
            for command in program.prepare(self.texts, data) if missing else ():
                program.run(command, data.parent, self.threads, "data")
        return data

    def _place(self, program: Program, name: str) -> Path:
        return self.folder / program.name.replace(", ", "-") / name


class _Once:
    """A folder that is filled once; tells whether it has to be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done = folder.with_name(f"{folder.name}.done")

    def __enter__(self) -> bool:
        if self._done.exists():
            return False
        _empty(self._folder)
        return True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._done.touch()


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _judged(program: Program, stamps: Path, judge: Callable[[Sequence[Stamp]], Speed]) -> Speed:
    try:
        return judge(read_stamps(stamps))
    except ValueError as error:
        raise click.ClickException(f"{program.name}: {error}") from None
