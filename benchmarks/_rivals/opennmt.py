"""OpenNMT-py; its convolutional model has embeddings as large as its layers, and one kernel width for both sides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from benchmarks._rivals.program import BATCH, BEAM, LENGTH, Command, Program
from benchmarks._rivals.texts import Texts

_RECURRENT = {
    "encoder_type": "brnn",
    "decoder_type": "rnn",
    "rnn_type": "LSTM",
    "layers": 1,
    "global_attention": "mlp",
    "input_feed": 1,
    "bridge": True,
}
_SIZES = {
    "A": {**_RECURRENT, "word_vec_size": 256, "hidden_size": 512},
    "B": {**_RECURRENT, "word_vec_size": 512, "hidden_size": 1024},
    "C": {
        "encoder_type": "cnn",
        "decoder_type": "cnn",
        "layers": 3,
        "cnn_kernel_width": 3,
        "word_vec_size": 512,
        "hidden_size": 512,
    },
}
_FOREVER = 1_000_000


class OpenNMT(Program):
    inside = "opennmt"
    packages = ("OpenNMT-py", "torch")
    environment: ClassVar = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}

    def prepare(self, texts: Texts, data: Path) -> Sequence[Command]:
        file = data / "vocabularies.yaml"
        file.write_text(json.dumps({**_corpus(texts, data), "overwrite": True}), encoding="utf-8")  # JSON is YAML
        return [Command("onmt.bin.build_vocab", ["-config", str(file), "-n_sample", "-1"])]

    def train(self, configuration: str, texts: Texts, data: Path, output: Path, updates: int | None) -> Command:
        settings = {
            **_corpus(texts, data),
            **_SIZES[configuration],
            "src_words_min_frequency": 2,
            "tgt_words_min_frequency": 2,
            "vocab_size_multiple": 1,
            "save_model": str(output / "model"),
            "batch_type": "sents",
            "batch_size": BATCH,
            "bucket_size": 29_000,
            "num_workers": 0,
            "normalization": "tokens",
            "max_grad_norm": 0,
            "optim": "adam",
            "learning_rate": 0.0003,
            "dropout": [0.0],
            "attention_dropout": [0.0],
            "valid_steps": _FOREVER,
            "save_checkpoint_steps": updates or _FOREVER,
            "train_steps": updates or _FOREVER,
            "seed": 1,
        }
        file = output / "train.yaml"
        file.write_text(json.dumps(settings), encoding="utf-8")
        return Command("onmt.bin.train", ["-config", str(file)])

    def translate(self, texts: Texts, data: Path, model: Path, batch: int) -> Command:
        (checkpoint,) = model.glob("model_step_*.pt")
        words = ["-model", checkpoint, "-src", texts.file("first" if batch == 1 else "test", texts.source), "-output"]
        words += [model / "translated", "-beam_size", BEAM, "-batch_type", "sents", "-batch_size", batch]
        words += ["-min_length", LENGTH, "-max_length", LENGTH]
        return Command("onmt.bin.translate", list(map(str, words)))


def _corpus(texts: Texts, data: Path) -> dict[str, Any]:
    train, validation = texts.pair("train"), texts.pair("val")
    return {
        "data": {
            "corpus": {"path_src": str(train[0]), "path_tgt": str(train[1])},
            "valid": {"path_src": str(validation[0]), "path_tgt": str(validation[1])},
        },
        "src_vocab": str(data / "vocabulary.source"),
        "tgt_vocab": str(data / "vocabulary.target"),
        "save_data": str(data / "samples"),
    }
