"""Training jobs of a few tiny pairs, from the texts of their hyperparameters on the way that the container takes."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2s_algo.data.channels import Channels, RecordChannel, VocabularyFiles
from s2s_algo.data.corpus import Corpus, Sequences
from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.recordio import write_record
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.hyperparameters import validate
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training import trainer
from s2s_algo.training.assembly import Assembled, assemble
from s2s_algo.training.data import BatchSource
from s2s_algo.training.loss import Totals
from s2s_algo.training.precision import Precision
from s2s_algo.training.reporting.reporter import Outputs
from s2s_algo.training.trainer import train
from s2s_algo.training.validation import Watch
from s2s_algo.training.workers import Workers

Pairs = Sequence[tuple[Sequence[int], Sequence[int]]]

FIRST_WORD = len(SPECIAL_TOKENS)
# Of different sizes, so that neither can be mistaken for the other.
SOURCE_VOCABULARY = Vocabulary.from_tokens([*SPECIAL_TOKENS, *"abcdefgh"])
TARGET_VOCABULARY = Vocabulary.from_tokens([*SPECIAL_TOKENS, *"ABCDEF"])

# All sizes differ from one another. Nothing ends such a job but its 3 updates, unless a test says otherwise.
TINY = {
    "rnn_num_hidden": "8",
    "num_embed_source": "5",
    "num_embed_target": "6",
    "rnn_attention_num_hidden": "7",
    "batch_size": "4",
    "max_num_batches": "3",
    "checkpoint_frequency_num_batches": "1000",
    "learning_rate": "0.01",
    "beam_size": "2",
}

# Extensions beside which one of these must not be passed.
TAKES_THE_PLACE_OF = {"max_batch_tokens": "batch_size", "save_interval": "checkpoint_frequency_num_batches"}


def draw_pairs(count: int, seed: int = 0, shortest: int = 1, longest: int = 9) -> Pairs:
    """Pairs of random words, which share their length or nearly so."""
    draw = random.Random(seed)
    pairs = []
    for _ in range(count):
        length = draw.randint(shortest, longest)
        source = draw.choices(range(FIRST_WORD, len(SOURCE_VOCABULARY)), k=length)
        target = draw.choices(range(FIRST_WORD, len(TARGET_VOCABULARY)), k=max(1, length - draw.randint(0, 1)))
        pairs.append((source, target))
    return pairs


TRAIN = draw_pairs(14, seed=1)
VALIDATION = draw_pairs(7, seed=2)


def corpus_of(pairs: Pairs) -> Corpus:
    """A corpus in memory."""
    return Corpus(*(_sequences(side) for side in zip(*pairs, strict=True)))


def _sequences(lists: Sequence[Sequence[int]]) -> Sequences:
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return Sequences.joined(np.array([token for tokens in lists for token in tokens], np.int32), offsets)


def write_channels(folder: Path, train_pairs: Pairs, validation_pairs: Pairs, sharded: bool = False) -> Channels:
    """The record files of both channels; no vocabulary files, since vocabularies are handed over as objects.

    Sharded: every machine has files of its own.
    """
    channels = []
    for name, pairs in (("train", train_pairs), ("validation", validation_pairs)):
        file = folder / name / f"{name}.rec"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as stream:
            for source, target in pairs:
                write_record(stream, encode_pair(source, target))
        channels.append(RecordChannel(name, (file,), "ShardedByS3Key" if sharded else "FullyReplicated"))
    return Channels(*channels, VocabularyFiles(folder / "source", folder / "target"))


def never() -> bool:
    """Nobody wants the job to end."""
    return False


def assemble_job(
    folder: Path,
    raw: Mapping[str, object] | None = None,
    *,
    train_pairs: Pairs = TRAIN,
    validation_pairs: Pairs = VALIDATION,
    vocabularies: tuple[Vocabulary, Vocabulary] = (SOURCE_VOCABULARY, TARGET_VOCABULARY),
    model: Path | None = None,
    stop_requested: Callable[[], bool] = never,
    workers: Workers | None = None,
    sharded: bool = False,
    outputs: Outputs | None = None,
    job_name: str | None = None,
) -> Assembled:
    """A job in a folder; assembled again in the same folder, it goes on from its checkpoints there.

    Args:
        folder: For input, scratch files and checkpoints.
        raw: Hyperparameters as a user passes them, put over those of `TINY`.
        train_pairs: The training channel.
        validation_pairs: The validation channel.
        vocabularies: Source and target.
        model: The model channel.
        stop_requested: Asked wherever a job may be stopped.
        workers: Who trains together; by default this process alone.
        sharded: Whether every machine has pairs of its own.
        outputs: Where reports go; by default there are none.
        job_name: What the platform calls it.
    """
    raw = raw or {}
    tiny = {name: value for name, value in TINY.items() if name not in [TAKES_THE_PLACE_OF.get(other) for other in raw]}
    validated = validate({**tiny, **raw})
    # Each process reads files of its own, which nobody else is just writing.
    own = folder / f"input of {workers.rank}" if workers else folder / "input"
    return assemble(
        validated.hyperparameters,
        replace(write_channels(own, train_pairs, validation_pairs, sharded), model=model),
        vocabularies,
        scratch=folder / "scratch",
        checkpoints=folder / "checkpoints",
        host="algo-1",
        stop_requested=stop_requested,
        workers=workers,
        outputs=outputs,
        job_name=job_name,
    )


def train_job(folder: Path, raw: Mapping[str, object] | None = None, **parts: Any) -> Assembled:
    """Such a job, trained to its end."""
    assembled = assemble_job(folder, raw, **parts)
    train(assembled.job, assembled.state)
    return assembled


def copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies of tensors as they are now."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def weights_of(assembled: Assembled) -> dict[str, torch.Tensor]:
    """A copy of the weights as they are now."""
    return copies(dict(assembled.job.model.named_parameters()))


def differing(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of the tensors that are not equal in every bit, or that only one side has."""
    return sorted(first.keys() ^ second.keys()) + sorted(
        name for name in first.keys() & second.keys() if _bits(first[name]) != _bits(second[name])
    )


def _bits(tensor: torch.Tensor) -> tuple[torch.Size, bytes]:
    return tensor.shape, tensor.detach().numpy().tobytes()


def script_validation(
    monkeypatch: pytest.MonkeyPatch, perplexities: Sequence[float] = (), accuracies: Sequence[float] = ()
) -> None:
    """Makes up what validation finds at the checkpoints to come; the last value stays."""
    found = itertools.count()

    def evaluate(model: Seq2Seq, data: BatchSource, precision: Precision, workers: Workers, watch: Watch) -> Totals:
        checkpoint = next(found)
        perplexity = perplexities[min(checkpoint, len(perplexities) - 1)] if perplexities else 2.0
        accuracy = accuracies[min(checkpoint, len(accuracies) - 1)] if accuracies else 0.5
        return Totals(1000 * math.log(perplexity), round(1000 * accuracy), 1000)

    monkeypatch.setattr(trainer, "evaluate", evaluate)
