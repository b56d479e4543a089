"""Watches s2s; translations are all of ``BENCHMARK_LENGTH`` tokens."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

from benchmarks._rivals.inside.stamping import Stamps, run

_NEVER = -1e4


def main() -> None:
    """Runs a command of ours."""
    stamps = Stamps()
    if sys.argv[1] == "container.entrypoint":
        trainer = import_module("s2s_algo.training.trainer")
        stamps.watch(trainer, "update", lambda given, totals: (len(given[2].pairs), totals.tokens))
    else:
        _watch_translations(stamps)
    run()


def _watch_translations(stamps: Stamps) -> None:
    translate: Any = import_module("s2s_algo.commands.translate")
    translator: Any = import_module("s2s_algo.decoding.translator")
    load_model, load = translator.load_model, translator.Translator.load

    def endless(folder: Any) -> Any:
        artifact = load_model(folder)
        artifact.model.output_layer.bias.data[artifact.target_vocabulary.eos_id] = _NEVER
        return artifact

    def of_one_length(*arguments: Any, **named: Any) -> Any:
        loaded = load(*arguments, **{**named, "most_rows": int(os.environ["BENCHMARK_ROWS"])})
        loaded.options = replace(loaded.options, max_output_length=int(os.environ["BENCHMARK_LENGTH"]))
        return loaded

    translator.load_model, translator.Translator.load = endless, of_one_length
    if os.environ["BENCHMARK_BATCH"] == "1":
        translate._LINES_AT_ONCE = 1
    stamps.watch(
        translator.Translator,
        "translate_n_best",
        lambda _, found: (len(found), sum(len(translations[0].token_ids) for translations in found)),
    )


if __name__ == "__main__":
    main()
