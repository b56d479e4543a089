"""Watches JoeyNMT; translations are all of ``BENCHMARK_LENGTH`` tokens."""

from __future__ import annotations

import functools
import os
import sys
from importlib import import_module
from typing import Any

from benchmarks._rivals.inside.stamping import Stamps, run

_PAD = 1


def main() -> None:
    """Runs a command of JoeyNMT."""
    stamps = Stamps()
    if sys.argv[2] == "train":
        trainer = import_module("joeynmt.training").TrainManager
        stamps.watch(trainer, "_train_step", lambda given, _: (given[1].nseqs, given[1].ntokens))
    else:
        prediction: Any = import_module("joeynmt.prediction")
        # It has a setting of this name, which never reaches the search.
        prediction.search = functools.partial(prediction.search, min_output_length=int(os.environ["BENCHMARK_LENGTH"]))
        stamps.watch(
            prediction, "search", lambda _, found: (len(found[0]), sum(int((ids != _PAD).sum()) for ids in found[0]))
        )
    run()


if __name__ == "__main__":
    main()
