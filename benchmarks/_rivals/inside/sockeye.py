"""Watches Sockeye 1; translations are all of ``BENCHMARK_LENGTH`` tokens."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks._rivals.inside.stamping import Stamps, run

_NEVER = -1e4
_BIAS, _EOS = "target_output_bias", 3


def main() -> None:
    """Runs a command of Sockeye."""
    stamps = Stamps()
    if sys.argv[1].endswith("train"):
        import_module("sockeye.multiprocessing_utils").initialize()  # it insists on being before MXNet
        stamps.watch(import_module("sockeye.training").EarlyStoppingTrainer, "_step", _trained)
    else:
        inference: Any = import_module("sockeye.inference")
        _never_end(import_module("sockeye.model").SockeyeModel)
        _end_at(inference, int(os.environ["BENCHMARK_LENGTH"]))
        # The ids of a translation, </s> among them.
        stamps.watch(
            inference.Translator,
            "_translate_nd",
            lambda _, found: (len(found), sum(len(translation.target_ids) for translation in found)),
        )
    run()


def _never_end(model: Any) -> None:
    load = model.load_params_from_file

    def endless(self: Any, name: str) -> None:
        load(self, name)
        self.params[_BIAS][_EOS] = _NEVER

    model.load_params_from_file = endless


def _end_at(inference: Any, length: int) -> None:
    limits = inference.get_max_input_output_length

    def forced(*arguments: Any, **named: Any) -> Any:
        # It begins to count at <s>. Its command line has no option for this.
        return limits(*arguments, **{**named, "forced_max_output_len": length + 1})

    inference.get_max_input_output_length = forced


def _trained(given: Sequence[Any], _: Any) -> tuple[int, int]:
    labels = given[2].label[0].asnumpy()
    return len(labels), int((labels != 0).sum())


if __name__ == "__main__":
    main()
