"""The folder that a container finds as /opt/ml when it is to train on random pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks._synthetic import vocabularies, write_channels

_VALIDATION_PAIRS = 1_000


def lay_out(base: Path, hyperparameters: Mapping[str, str]) -> Path:
    """Writes all but the training channel, whose empty folder it returns.

    Args:
        base: The folder; absent.
        hyperparameters: Of the job.
    """
    data = base / "input/data"
    for channel in ("train", "validation", "vocab"):
        (data / channel).mkdir(parents=True)
    write_channels(data / "validation", _VALIDATION_PAIRS)
    for name, vocabulary in zip(("vocab.src.json", "vocab.trg.json"), vocabularies(), strict=True):
        ids = {token: number for number, token in enumerate(vocabulary.tokens)}
        (data / "vocab" / name).write_text(json.dumps(ids), encoding="utf-8")
    (base / "input/config").mkdir()
    (base / "input/config/hyperparameters.json").write_text(json.dumps(dict(hyperparameters)), encoding="utf-8")
    return data / "train"
