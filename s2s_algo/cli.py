"""The command ``s2s``: its commands are in ``s2s_algo/commands``, one a module."""

from __future__ import annotations

import click

from s2s_algo.commands.average import average
from s2s_algo.commands.describe import describe
from s2s_algo.commands.doctor import doctor
from s2s_algo.commands.evaluate import evaluate
from s2s_algo.commands.group import CommandGroup
from s2s_algo.commands.import_ import import_
from s2s_algo.commands.prepare import prepare
from s2s_algo.commands.score import score
from s2s_algo.commands.train import train
from s2s_algo.commands.translate import translate

_COMMANDS = (prepare, train, translate, score, evaluate, average, import_, describe, doctor)


@click.group(cls=CommandGroup, commands=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="s2s")
def main() -> None:
    """Sequence-to-sequence models: prepare data, train, translate, score, evaluate, and more."""


if __name__ == "__main__":
    main()
