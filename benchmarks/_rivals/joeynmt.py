"""JoeyNMT; it has no convolutional model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from benchmarks._rivals.program import BATCH, BEAM, LENGTH, Command, Program
from benchmarks._rivals.texts import Texts

# Embeddings, and units of the decoder.
_SIZES = {"A": (256, 512), "B": (512, 1024)}
_FOREVER = 1_000_000


class JoeyNMT(Program):
    inside = "joeynmt"
    packages = ("joeynmt", "torch")
    configurations = tuple(_SIZES)
    environment: ClassVar = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}

    def prepare(self, texts: Texts, data: Path) -> Sequence[Command]:  # it reads the texts
        return []

    def train(self, configuration: str, texts: Texts, data: Path, output: Path, updates: int | None) -> Command:
        file = output.with_suffix(".yaml")
        settings = self._settings(configuration, texts, output, updates)
        file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        return Command("joeynmt", ["train", str(file), "--skip-test"])

    def translate(self, texts: Texts, data: Path, model: Path, batch: int) -> Command:
        settings = json.loads(model.with_suffix(".yaml").read_text(encoding="utf-8"))
        settings["testing"]["batch_size"] = batch
        file = model.with_name(f"{model.name}-{batch}.yaml")
        file.write_text(json.dumps(settings), encoding="utf-8")
        lines = texts.file("first" if batch == 1 else "test", texts.source)
        return Command("joeynmt", ["translate", str(file)], {"BENCHMARK_LENGTH": str(LENGTH)}, lines)

    def _settings(self, configuration: str, texts: Texts, output: Path, updates: int | None) -> dict[str, Any]:
        embedding, units = _SIZES[configuration]
        side = {"max_length": 100, "level": "word", "lowercase": False, "voc_min_freq": 2}
        layer = {
            "type": "recurrent",
            "rnn_type": "lstm",
            "num_layers": 1,
            "dropout": 0.0,
            "embeddings": {"embedding_dim": embedding, "scale": False, "dropout": 0.0},
        }
        return {
            "name": "benchmark",
            "model_dir": str(output),
            "use_cuda": False,
            "random_seed": 1,
            "data": {
                "dataset_type": "plain",
                **{split: str(texts.folder / name) for split, name in (("train", "train"), ("dev", "val"))},
                "src": {**side, "lang": texts.source},
                "trg": {**side, "lang": texts.target},
            },
            "testing": {
                "load_model": str(output / "best.ckpt"),
                "n_best": 1,
                "beam_size": BEAM,
                "beam_alpha": 1.0,
                "batch_size": BATCH,
                "batch_type": "sentence",
                "max_output_length": LENGTH,
                "eval_metrics": [],
            },
            "training": {
                "optimizer": "adam",
                "learning_rate": 0.0003,
                "adam_betas": [0.9, 0.999],
                "scheduling": "exponential",  # it needs one; with a factor of 1 the rate stays
                "decrease_factor": 1.0,
                "normalization": "tokens",
                "loss": "crossentropy",
                "clip_grad_val": 1.0,
                "batch_size": BATCH,
                "batch_type": "sentence",
                "early_stopping_metric": "loss",
                "epochs": _FOREVER,
                "updates": updates or _FOREVER,
                "validation_freq": updates or _FOREVER,
                "logging_freq": updates or 10,
                "print_valid_sents": [],
                "overwrite": True,
            },
            "model": {
                "initializer": "xavier_uniform",
                "encoder": {**layer, "hidden_size": units // 2, "bidirectional": True},
                "decoder": {
                    **layer,
                    "hidden_size": units,
                    "hidden_dropout": 0.0,
                    "input_feeding": True,
                    "init_hidden": "bridge",
                    "attention": "bahdanau",
                },
            },
        }
