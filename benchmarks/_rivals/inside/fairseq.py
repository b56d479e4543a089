"""Watches fairseq."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks._rivals.inside.stamping import Stamps, run


def main() -> None:
    """Runs a command of fairseq."""
    stamps = Stamps()
    if sys.argv[1].endswith("train"):
        stamps.watch(import_module("fairseq.trainer").Trainer, "train_step", _trained)
    else:
        task = import_module("fairseq.tasks.translation").TranslationTask
        stamps.watch(
            task, "inference_step", lambda _, found: (len(found), sum(len(best[0]["tokens"]) for best in found))
        )
    run()


def _trained(given: Sequence[Any], _: Any) -> tuple[int, int]:
    batches = given[1]
    return sum(batch["nsentences"] for batch in batches), sum(batch["ntokens"] for batch in batches)


if __name__ == "__main__":
    main()
