"""Watches OpenNMT-py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks._rivals.inside.stamping import Stamps, run


def main() -> None:
    """Runs a command of OpenNMT-py."""
    stamps = Stamps()
    if sys.argv[1].endswith("train"):
        stamps.watch(import_module("onmt.trainer").Trainer, "_gradient_accumulation", _trained)
    elif sys.argv[1].endswith("translate"):
        stamps.watch(import_module("onmt.translate").Translator, "translate_batch", _translated)
    run()


def _trained(given: Sequence[Any], _: Any) -> tuple[int, int]:
    trainer, batches = given[:2]
    targets = [batch["tgt"][:, 1:, 0] for batch in batches]
    padding = trainer.train_loss.padding_idx
    return sum(map(len, targets)), sum(int(target.ne(padding).sum()) for target in targets)


def _translated(_: Sequence[Any], found: Any) -> tuple[int, int]:
    best = [predictions[0] for predictions in found["predictions"]]
    return len(best), sum(map(len, best))


if __name__ == "__main__":
    main()
