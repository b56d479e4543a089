"""A program that learns to translate, as its command line has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import click

from benchmarks._rivals.texts import Texts

# Target tokens of every translation, ``</s>`` included, as near as a program's options allow.
LENGTH = 13
BATCH = 64
BEAM = 5
# Of the models that are there to be searched; too few to learn when a sentence ends.
UPDATES = 20
SEARCHED = "A"

_ROOT = Path(__file__).parents[2]
_LINES_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Command:
    """``python -m MODULE ARGUMENTS``.

    Attributes:
        environment: Variables it needs besides those of all.
        stdin: What it reads.
    """

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: Path | None = None


class Program(ABC):
    """A program in an environment of its own.

    Attributes:
        name: How the table calls it.
        inside: The module of ``_rivals.inside`` that watches it.
        packages: Its distribution, and the one that does its arithmetic.
        configurations: Those it can train.
        environment: Variables it needs.
        python: Its Python.
    """

    inside: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    configurations: ClassVar[tuple[str, ...]] = ("A", "B", "C")
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(self, python: Path) -> None:
        self.name = self.inside
        self.python = python

    @abstractmethod
    def prepare(self, texts: Texts, data: Path) -> Sequence[Command]:
        """Makes of the texts what training reads; the folder is there and empty."""

    @abstractmethod
    def train(self, configuration: str, texts: Texts, data: Path, output: Path, updates: int | None) -> Command:
        """Trains.

        Args:
            configuration: One of ``configurations``.
            texts: The corpus.
            data: What ``prepare`` made.
            output: An empty folder.
            updates: After which it saves a model and ends; ``None`` if it is to go on and on.
        """

    @abstractmethod
    def translate(self, texts: Texts, data: Path, model: Path, batch: int) -> Command:
        """Translates ``test``, or with batches of one sentence ``first``, to ``LENGTH`` tokens a sentence.

        Args:
            texts: The corpus.
            data: What ``prepare`` made.
            model: The output folder of ``train``.
            batch: Sentences at a time.
        """

    def versions(self) -> str:
        """Of its packages."""
        listed = subprocess.run(
            [self.python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        found = {package["name"].lower(): package["version"] for package in json.loads(listed.stdout)}
        return ", ".join(f"{name} {found[name.lower()]}" for name in self.packages)

    def run(
        self, command: Command, folder: Path, threads: int, log: str, stamps: Mapping[str, str] | None = None
    ) -> None:
        """Runs a command to its end.

        Args:
            command: What to run.
            folder: To run it in; its log goes there.
            threads: That compute.
            log: Name of the log.
            stamps: Settings of ``inside.stamping``; by default nothing is measured.

        Raises:
            ClickException: It failed; with the end of its log.
        """
        watched = ["-m", f"benchmarks._rivals.inside.{self.inside}"] if stamps else ["-m"]
        environment = {**self._variables, **self.environment, **command.environment, **(stamps or {})}
        environment["OMP_NUM_THREADS"] = str(threads)
        file = folder / f"{log}.log"
        with file.open("wb") as output, (command.stdin or Path(os.devnull)).open("rb") as stdin:
            done = subprocess.run(
                [self.python, *watched, command.module, *command.arguments],
                cwd=folder,
                env=environment,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES_SHOWN:]
            raise click.ClickException("\n".join([f"{self.name} failed; the end of {file}:", *lines]))

    @property
    def _variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**kept, "PYTHONPATH": str(_ROOT), "CUDA_VISIBLE_DEVICES": ""}


def own_python() -> Path:
    """The one that runs this."""
    return Path(sys.executable)
