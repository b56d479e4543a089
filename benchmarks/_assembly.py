"""A job put together as the container does, without its folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from s2s_algo.data.channels import Channels
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.hyperparameters import validate
from s2s_algo.training.assembly import Assembled, assemble
from s2s_algo.training.workers import Workers


def put_together(
    hyperparameters: Mapping[str, str],
    channels: Channels,
    words: tuple[Vocabulary, Vocabulary],
    scratch: Path,
    workers: Workers | None = None,
) -> Assembled:
    """A job that has not begun.

    Args:
        hyperparameters: Of the job.
        channels: Its input.
        words: Source and target vocabulary.
        scratch: For its corpus and its checkpoints.
        workers: Who trains together; by default this process alone.
    """
    return assemble(
        validate(dict(hyperparameters)).hyperparameters,
        channels,
        words,
        scratch=scratch / "corpus",
        checkpoints=scratch / "checkpoints",
        host="benchmark",
        stop_requested=lambda: False,
        workers=workers,
    )
