"""Sockeye 1 on MXNet, the engine of the original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks._rivals.program import BATCH, BEAM, LENGTH, Command, Program
from benchmarks._rivals.texts import Texts

_SIZES = {
    "A": "--encoder rnn --decoder rnn --num-layers 1:1 --rnn-cell-type lstm --rnn-num-hidden 512 --num-embed 256:256 "
    "--rnn-attention-type mlp --rnn-attention-num-hidden 512",
    "B": "--encoder rnn --decoder rnn --num-layers 1:1 --rnn-cell-type lstm --rnn-num-hidden 1024 --num-embed 512:512 "
    "--rnn-attention-type mlp --rnn-attention-num-hidden 1024",
    "C": "--encoder cnn --decoder cnn --num-layers 3:3 --cnn-num-hidden 512 --num-embed 256:256 "
    "--cnn-kernel-width 3:5 --cnn-activation-type glu --cnn-positional-embedding-type learned",
}
_TRAINING = (
    "--use-cpu --disable-device-locking --overwrite-output --batch-type sentence --bucket-width 10 --max-seq-len 60:60 "
    "--word-min-count 2 --num-words 50000 --optimizer adam --initial-learning-rate 0.0003 --decode-and-evaluate 0 "
    "--seed 1 --loss-normalization-type valid --label-smoothing 0 --embed-dropout 0 --rnn-dropout-inputs 0 "
    "--rnn-dropout-states 0 --rnn-decoder-hidden-dropout 0 --cnn-hidden-dropout 0"
)
_FOREVER = 1_000_000


class Sockeye(Program):
    inside = "sockeye"
    packages = ("sockeye", "mxnet-mkl")
    # Without, its MKL takes a slow path on processors of other makers.
    environment: ClassVar = {"MKL_DEBUG_CPU_TYPE": "5"}

    def prepare(self, texts: Texts, data: Path) -> Sequence[Command]:  # it reads the texts
        return []

    def train(self, configuration: str, texts: Texts, data: Path, output: Path, updates: int | None) -> Command:
        source, target = texts.pair("train")
        validation_source, validation_target = texts.pair("val")
        files = ["--source", source, "--target", target, "--validation-source", validation_source]
        files += ["--validation-target", validation_target, "--output", output]
        ending = ["--batch-size", BATCH, "--checkpoint-interval", updates or _FOREVER, "--max-updates"]
        ending.append(updates or _FOREVER)
        words = [*map(str, [*files, *ending]), *_TRAINING.split(), *_SIZES[configuration].split()]
        return Command("sockeye.train", words)

    def translate(self, texts: Texts, data: Path, model: Path, batch: int) -> Command:
        words = ["--models", model, "--input", texts.file("first" if batch == 1 else "test", texts.source)]
        words += ["--output", model / "translated", "--beam-size", BEAM, "--batch-size", batch]
        words += ["--chunk-size", 1 if batch == 1 else 1000, "--use-cpu"]
        return Command("sockeye.translate", list(map(str, words)), {"BENCHMARK_LENGTH": str(LENGTH)})
