"""s2s, as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks._configurations import COMPARED
from benchmarks._rivals.program import BATCH, BEAM, LENGTH, Command, Program, own_python
from benchmarks._rivals.texts import Texts

_TRAINING = {"optimizer_type": "adam", "learning_rate": "0.0003", "batch_size": str(BATCH)}


class Ours(Program):
    """Args: precision: Of training, or of translating: float32, bfloat16 or int8."""

    inside = "ours"
    packages = ("s2s", "torch")

    def __init__(self, precision: str) -> None:
        super().__init__(own_python())
        self.name = f"s2s, {precision}"
        self._precision = precision

    def prepare(self, texts: Texts, data: Path) -> Sequence[Command]:
        words = [*map(str, (*texts.pair("train"), *texts.pair("val"))), "--output", str(data), "--channels"]
        words += ["--word-min-count-source", "2", "--word-min-count-target", "2"]
        return [Command("s2s_algo.cli", ["prepare", *words])]

    def train(self, configuration: str, texts: Texts, data: Path, output: Path, updates: int | None) -> Command:
        job = {**_TRAINING, **COMPARED[configuration]}
        if self._precision != "int8":  # which is for translating alone
            job["precision"] = self._precision
        if updates:
            job["max_num_batches"] = str(updates)
        (output / "input/config").mkdir(parents=True)
        (output / "input/data").symlink_to(data)
        (output / "input/config/hyperparameters.json").write_text(json.dumps(job), encoding="utf-8")
        return Command("container.entrypoint", ["train"], {"SAGEMAKER_BASE_DIR": str(output)})

    def translate(self, texts: Texts, data: Path, model: Path, batch: int) -> Command:
        words = ["translate", "--model", str(model / "model"), "--beam-size", str(BEAM), "--precision", self._precision]
        return Command(
            "s2s_algo.cli",
            words,
            {
                "BENCHMARK_LENGTH": str(LENGTH),
                "BENCHMARK_BATCH": str(batch),
                "BENCHMARK_ROWS": str(batch * BEAM),  # searched together; its command has no option for this
            },
            texts.file("first" if batch == 1 else "test", texts.source),
        )
