"""Resident memory that training and serving really take on this machine's CPU, beside what `s2s describe model` says.

Each measurement runs in a process of its own, because memory that was freed does not always go back to the system:
once with the C library's heap as it is, and once told to give every larger block back as soon as it is freed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from s2s_algo.data.batches import Batch
from s2s_algo.decoding.beam_search import BeamSearch, Sentence
from s2s_algo.decoding.memory_estimate import estimate_serving
from s2s_algo.decoding.ranking import LengthPenalty, Ranking
from s2s_algo.hyperparameters import Hyperparameters, validate
from s2s_algo.model.memory import MemoryEstimate
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.loss import batch_loss
from s2s_algo.training.memory_estimate import estimate_training
from s2s_algo.training.optimizers import build_optimizer
from s2s_algo.training.settings import model_config, optimizer_config

# Blocks of at least this many bytes are given back to the system at once.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "262144"}
_VOCABULARY = 5_000
_MIB = 2**20
_RNN = {"rnn_num_hidden": "256", "num_embed_source": "128", "num_embed_target": "128"}
_SIZES = {"batch_size": "32", "max_seq_len_source": "50", "max_seq_len_target": "50", "optimizer_type": "sgd"}
CONFIGURATIONS = {
    "rnn, lstm, mlp": _RNN,
    "rnn, lstm, dot": {**_RNN, "rnn_attention_type": "dot"},
    "rnn, gru, bilinear, 3 layers": {
        **_RNN,
        "rnn_cell_type": "gru",
        "rnn_attention_type": "bilinear",
        "num_layers_encoder": "3",
        "num_layers_decoder": "3",
    },
    "cnn, glu, 4 layers": {
        "encoder_type": "cnn",
        "decoder_type": "cnn",
        "cnn_num_hidden": "256",
        "num_layers_encoder": "4",
        "num_layers_decoder": "4",
    },
    "rnn encoder, cnn decoder": {**_RNN, "decoder_type": "cnn", "cnn_num_hidden": "512"},
    "rnn, lstm, dot, adam": {**_RNN, "rnn_attention_type": "dot", "rnn_num_hidden": "512", "optimizer_type": "adam"},
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """MiB of one task.

    Attributes:
        estimated: At most at one time.
        measured: Growth of the process's resident memory, from before the model was built to its peak, where blocks
            are given back.
        default: The same with the C library's heap as it is.
    """

    estimated: float
    measured: float
    default: float


@click.command()
@click.option("--only", type=(click.Choice(["training", "serving"]), click.Choice(list(CONFIGURATIONS))))
def main(only: tuple[str, str] | None) -> None:
    """Prints a table in MiB; with --only, one measurement in bytes, made in this process."""
    if only:
        print({"training": _train, "serving": _serve}[only[0]](configuration(only[1])))
        return
    print("| hyperparameters | task | estimated | measured, blocks given back | measured, default heap |")
    print("| --- | --- | --: | --: | --: |")
    for name in CONFIGURATIONS:
        for task in ("training", "serving"):
            found = measure(task, name)
            cells = f"{found.estimated:.0f} | {found.measured:.0f} | {found.default:.0f}"
            print(f"| {name} | {task} | {cells} |", flush=True)


def configuration(name: str) -> Hyperparameters:
    """The hyperparameters of a row."""
    return validate({**_SIZES, **CONFIGURATIONS[name]}).hyperparameters


def estimate(task: str, name: str) -> MemoryEstimate:
    """What `s2s describe model` would say of a row."""
    h = configuration(name)
    config, source, target = model_config(h, _VOCABULARY, _VOCABULARY), h.max_seq_len_source, h.max_seq_len_target + 1
    if task == "serving":
        return estimate_serving(config, source, target, h.beam_size)
    return estimate_training(config, optimizer_config(h), h.batch_size, source, target)


def measure(task: str, name: str) -> Measurement:
    """Measures a row."""
    measured, default = (resident(task, name, settings) for settings in (GIVE_BACK, {}))
    return Measurement(estimate(task, name).peak / _MIB, measured / _MIB, default / _MIB)


def resident(task: str, name: str, settings: Mapping[str, str]) -> int:
    """Bytes by which the memory of a process grows at most.

    Args:
        task: training or serving.
        name: Of a row.
        settings: Environment variables of the process.
    """
    command = [sys.executable, "-m", "benchmarks.memory", "--only", task, name]
    environment = {**os.environ, **settings}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout)


def _train(hyperparameters: Hyperparameters) -> int:
    h = hyperparameters

    def update() -> None:
        model = _model(h).train()
        optimizer = build_optimizer(model, optimizer_config(h))
        source, target = (
            torch.randint(4, _VOCABULARY, (h.batch_size, length))
            for length in (h.max_seq_len_source, h.max_seq_len_target + 1)
        )
        lengths = [torch.full((h.batch_size,), tensor.shape[1]) for tensor in (source, target)]
        loss, _ = batch_loss(model, Batch(source, lengths[0], target, target, lengths[1]))
        loss.backward()
        optimizer.step(0.001)

    return _growth(update)


def _serve(hyperparameters: Hyperparameters) -> int:
    h = hyperparameters
    sentences = 320 // h.beam_size

    def search() -> None:
        model = _model(h).eval()
        running = BeamSearch(
            model,
            bos_id=2,
            eos_id=3,
            beam_size=h.beam_size,
            ranking=Ranking(LengthPenalty()),
            places=sentences,
            width=h.max_seq_len_source,
        )
        source = torch.randint(4, _VOCABULARY, (sentences, h.max_seq_len_source))
        running.enter([Sentence(ids, h.max_seq_len_target + 1) for ids in source.tolist()])
        while running.sentences:
            running.step()

    return _growth(search)


def _model(hyperparameters: Hyperparameters) -> Seq2Seq:
    model = Seq2Seq(model_config(hyperparameters, _VOCABULARY, _VOCABULARY))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.05, 0.05)
    return model


def _growth(task: Callable[[], None]) -> int:
    """Bytes by which the resident memory of this process grows at most; Linux only."""
    torch.set_num_threads(1)
    # What the libraries allocate once and for all is not counted.
    warm = torch.nn.LSTM(4, 4)(torch.zeros(2, 2, 4))[0] @ torch.zeros(4, 4)
    warm.log_softmax(-1).sum().backward()
    # Sets the peak back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    task()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
