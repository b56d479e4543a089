"""fairseq, with its own LSTM (attention by products) and its own convolutional model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks._rivals.program import BATCH, BEAM, LENGTH, Command, Program
from benchmarks._rivals.texts import Texts

_SIZES = {
    "A": "--arch lstm --encoder-embed-dim 256 --encoder-hidden-size 256 --encoder-layers 1 --encoder-bidirectional "
    "--decoder-embed-dim 256 --decoder-hidden-size 512 --decoder-layers 1 --decoder-attention 1 "
    "--decoder-out-embed-dim 512 --dropout 0",
    "B": "--arch lstm --encoder-embed-dim 512 --encoder-hidden-size 512 --encoder-layers 1 --encoder-bidirectional "
    "--decoder-embed-dim 512 --decoder-hidden-size 1024 --decoder-layers 1 --decoder-attention 1 "
    "--decoder-out-embed-dim 1024 --dropout 0",
    "C": "--arch fconv --encoder-embed-dim 256 --decoder-embed-dim 256 --encoder-layers [(512,3)]*3 "
    "--decoder-layers [(512,5)]*3 --decoder-out-embed-dim 256 --decoder-attention True --dropout 0",
}
_TRAINING = (
    "--cpu --optimizer adam --adam-betas (0.9,0.999) --lr 0.0003 --clip-norm 0 --lr-scheduler fixed "
    "--criterion cross_entropy --seed 1 --num-workers 0 --disable-validation --no-epoch-checkpoints"
)


class Fairseq(Program):
    inside = "fairseq"
    packages = ("fairseq-fixed", "torch")
    # It reads its own checkpoints in the way that torch had before 2.6.
    environment: ClassVar = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}

    def prepare(self, texts: Texts, data: Path) -> Sequence[Command]:
        words = ["--source-lang", texts.source, "--target-lang", texts.target, "--destdir", str(data)]
        words += ["--trainpref", str(texts.folder / "train"), "--validpref", str(texts.folder / "val")]
        words += ["--testpref", f"{texts.folder / 'test'},{texts.folder / 'first'}"]
        return [Command("fairseq_cli.preprocess", [*words, "--thresholdsrc", "2", "--thresholdtgt", "2"])]

    def train(self, configuration: str, texts: Texts, data: Path, output: Path, updates: int | None) -> Command:
        words = [str(data), "--save-dir", str(output), "--batch-size", str(BATCH)]
        words += [*_TRAINING.split(), *_SIZES[configuration].split()]
        return Command("fairseq_cli.train", [*words, *(["--max-update", str(updates)] if updates else [])])

    def translate(self, texts: Texts, data: Path, model: Path, batch: int) -> Command:
        length = str(LENGTH - 1)  # </s> comes on top
        words = [str(data), "--path", str(model / "checkpoint_last.pt"), "--cpu", "--lenpen", "1", "--max-len-a", "0"]
        words += ["--gen-subset", "test1" if batch == 1 else "test", "--batch-size", str(batch), "--num-workers", "0"]
        words += ["--beam", str(BEAM), "--min-len", length, "--max-len-b", length]
        return Command("fairseq_cli.generate", words)
