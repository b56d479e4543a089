"""Kinds of arguments and options that several commands take."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import get_args

import click

from s2s_algo.decoding.options import PrecisionName

POSITIVE = click.IntRange(min=1)
PATH = click.Path(path_type=Path)

model_option = partial(click.option, "--model", "folder", required=True, type=PATH)
beam_option = click.option("--beam-size", type=POSITIVE, help="Hypotheses kept per sentence; default: the model's own.")
output_option = click.option("--output", "-o", required=True, type=PATH, help="New or empty folder.")
precision_option = partial(click.option, "--precision", type=click.Choice(get_args(PrecisionName)))
