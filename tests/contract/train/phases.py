"""What a training job can be about when a signal comes, and how to meet it there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.train.jobs import TINY, Job

# Nothing but a signal ends such a job.
ENDLESS = {**TINY, "checkpoint_threshold": "1000000"}
# A batch whose trial takes longer than a signal.
WIDE = {"rnn_num_hidden": "512", "batch_size": "32", "bucketing_enabled": "false", "max_seq_len_target": "40"}
# With so many words, files are written for some time.
MANY_WORDS = 50_000

# Waits until a job of so many processes is there; it stays at least as long as the context is entered.
Reach = Callable[[Job, int], AbstractContextManager[None]]


@dataclass(frozen=True)
class Phase:
    """Something that a job is about.

    Attributes:
        reach: How to meet it there.
        learnt: Whether there has been an update.
        proof: What the log of a job that was stopped there says, as a regular expression.
        excluded: What it does not.
        hyperparameters: With which it takes its time there.
        train: So often the training pairs are repeated.
        validation: So often the validation pairs are.
        words: In each vocabulary.
        cold: Whether it is before everything is imported, if there is a single process.
        processes: How many may be there.
    """

    reach: Reach
    learnt: bool
    proof: str
    excluded: str
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    train: int = 1
    validation: int = 1
    words: int | None = None
    cold: bool = False
    processes: tuple[int, ...] = (1, 2)


def _said(*patterns: str, seconds: float = 0.0) -> Reach:
    """There when the log matches, or so many seconds later; the last of two patterns is that of several processes."""

    @contextmanager
    def reach(job: Job, processes: int) -> Iterator[None]:
        job.wait_for(patterns[0] if processes == 1 else patterns[-1])
        time.sleep(seconds)
        yield

    return reach


def _writing(pattern: str) -> Reach:
    """There while such a path exists, under a name that it will soon lose: the process that writes it is halted."""

    @contextmanager
    def reach(job: Job, processes: int) -> Iterator[None]:
        job.wait_for(r"Training started\.")

        def exists() -> bool:
            return any(job.opt_ml.base.glob(pattern))

        with halted_when(job, exists, pattern):
            yield

    return reach


@contextmanager
def halted_when(job: Job, condition: Callable[[], bool], what: str) -> Iterator[None]:
    """Halts the process that writes files for some time, while a condition holds."""
    pid = job.pid if "Training with" not in job.log else job.worker(0)

    def is_halted() -> bool:
        if not condition():
            return False
        os.kill(pid, signal.SIGSTOP)
        while _state(pid) != "T":
            time.sleep(0.001)
        if condition():
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    job.wait_until(is_halted, what)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str:
    """``T`` if a process is halted."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


_STOPPED = r"Stopped by a signal after [1-9]\d* updates"
_FIRST_EVALUATION = {"checkpoint_frequency_num_batches": "50"}
# The last line before it.
_UPDATE_50 = r"Epoch\[\d+\] Batch"

PHASES = {
    "checking": Phase(
        _said("Docker entrypoint called"),
        learnt=False,
        proof="Docker entrypoint called",
        excluded="Training on ",
        cold=True,
        processes=(1,),  # there are no others yet
    ),
    "importing": Phase(
        _said("Final configuration", "Training with 2 processes"),
        learnt=False,
        proof="Final configuration",
        excluded="Training on ",
        cold=True,
    ),
    "loading": Phase(
        _said("Training on "),
        learnt=False,
        proof="Training on ",
        excluded="train channel: ",
        train=500,
    ),
    "building": Phase(
        _said("Mean training target/source length ratio"),
        learnt=False,
        proof="validation channel: ",
        excluded="Training started",
        hyperparameters=WIDE,
        processes=(1,),  # the trial is like it
    ),
    "trial": Phase(
        _said(r"Training started\."),
        learnt=False,
        proof=r"Training started\.",
        excluded=_STOPPED,
        hyperparameters=WIDE,
    ),
    "update": Phase(
        _said(_UPDATE_50),
        learnt=True,
        proof=_STOPPED,
        excluded=r"Checkpoint \[",
        hyperparameters={"checkpoint_frequency_num_batches": "1000000"},
    ),
    "validation": Phase(
        _said(_UPDATE_50),
        learnt=True,
        proof="Stopped by a signal after 50 updates",
        excluded=r"Checkpoint \[",
        hyperparameters=_FIRST_EVALUATION,
        validation=500,
    ),
    # Validation, which comes before, takes less than these seconds with few batches; translating takes more.
    "BLEU": Phase(
        _said(_UPDATE_50, seconds=0.4),
        learnt=True,
        proof="Stopped by a signal after 50 updates",
        excluded=r"Checkpoint \[",
        hyperparameters={**_FIRST_EVALUATION, "bleu_sample_size": "-1", "beam_size": "15", "batch_size": "64"},
        validation=200,
    ),
    "checkpoint": Phase(
        _writing("checkpoints/checkpoint-?????????.sagemaker-ignore"),
        learnt=True,
        proof=_STOPPED,
        excluded="Training finished",
        hyperparameters={"checkpoint_frequency_num_batches": "5"},
        words=MANY_WORDS,
    ),
    "export": Phase(
        _writing("model/*.sagemaker-ignore"),
        learnt=True,
        proof="Training finished",
        excluded=_STOPPED,
        hyperparameters={"max_num_batches": "5"},
        words=MANY_WORDS,
    ),
}
