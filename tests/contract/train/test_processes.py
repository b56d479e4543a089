"""Several training processes on one machine learn what one would, and fail as one would.

tests/unit/training/test_together.py compares more of what they learn; test_stopping.py stops them.
"""

import json
import math
import os
import signal
import time
from pathlib import Path

import pytest

from s2s_algo.decoding.translator import Translator
from tests.contract.train.jobs import TINY, OptMl, framed, random_pairs

UPDATES = 50

# A checkpoint after every update tells the loss of each. No dropout: its masks depend on the number of processes.
JOB = {
    **TINY,
    "learning_rate": "0.03",
    "bleu_sample_size": "5",
    "max_num_batches": str(UPDATES),
    "checkpoint_frequency_num_batches": "1",
    "checkpoint_threshold": "1000",
}
ENDLESS = {**TINY, "checkpoint_threshold": "1000000", "processes": "2"}

# Losses are computed in float32, and added up in another order by another number of processes.
TOLERANCE = 1e-4


def trained(jobs, base, **more):
    """A job that has ended well."""
    opt_ml = OptMl.ready(base / "ml", {**JOB, **more})
    opt_ml.put("train/train.rec", framed(random_pairs(41, seed=1)))
    opt_ml.checkpoints.mkdir(exist_ok=True)
    job = jobs.run(opt_ml)
    assert job.exit_code == 0, job.log
    assert not list(opt_ml.scratch.iterdir())
    return job


def curve(job, score="train_perplexity"):
    """The loss of each update, or the logarithm of another score that was taken after it."""
    return [math.log(entry[score]) for entry in json.loads((job.opt_ml.model / "metrics.json").read_text())]


def strings(job):
    sources = [list(source) for source, _ in random_pairs(30, seed=3)]
    return [translation.text for translation in Translator.load(job.opt_ml.model).translate(sources)]


def largest_deviation(one, other):
    assert len(one) == len(other)
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def alone(jobs, tmp_path_factory):
    """The job of a single process."""
    return trained(jobs, tmp_path_factory.mktemp("alone"))


def test_four_processes_learn_what_one_does(jobs, alone, tmp_path, capsys):
    together = trained(jobs, tmp_path, processes="4")
    assert together.found(r"processes: (\d+)") == ["4"]  # and one of them alone writes the log
    assert curve(alone)[-1] < curve(alone)[0] - 0.1
    for score in ("train_perplexity", "validation_perplexity", "validation_bleu"):
        deviation = largest_deviation(curve(together, score), curve(alone, score))
        assert deviation < TOLERANCE
        if score == "train_perplexity":
            with capsys.disabled():
                print(f"\n4 processes: largest deviation of the loss over {UPDATES} updates {deviation:.1e}")
    assert strings(together) == strings(alone)
    assert len(set(strings(alone))) > 3
    assert together.found(r"Samples=(\d+)") == alone.found(r"Samples=(\d+)")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_fails_the_job_which_goes_on_when_it_is_started_again(jobs, tmp_path, rank):
    opt_ml = OptMl.ready(tmp_path / "ml", {**ENDLESS, "checkpoint_frequency_num_batches": "20"})
    opt_ml.checkpoints.mkdir()
    job = jobs.start(opt_ml)
    job.wait_for(r"Checkpoint \[2\]")
    os.kill(job.worker(rank), signal.SIGKILL)
    ended = job.wait()
    assert ended.exit_code == 3, ended.log
    assert ended.failure == (
        f"InternalServerError: training process {rank} on host algo-1 was killed by signal 9. The machine may have "
        "run out of memory: lower batch_size or use a larger one. Start the job again: it goes on from its last "
        "checkpoint."
    )
    assert "Traceback" not in ended.log
    assert not list(opt_ml.scratch.iterdir())
    newest = max(name for name in opt_ml.checkpoint_names() if name[-1].isdigit())  # half written ones are others
    if rank == 0:
        return
    again = jobs.start(opt_ml)
    again.wait_for(rf"Resuming from \S+{newest}: update {int(newest.removeprefix('checkpoint-'))}")
    again.terminate()
    assert again.wait().exit_code == 0
    assert not opt_ml.failure.exists()


def test_processes_end_soon_after_a_launcher_that_was_killed(jobs, tmp_path):
    opt_ml = OptMl.ready(tmp_path / "ml", ENDLESS)
    job = jobs.start_cold(opt_ml)
    job.wait_for("Training started")
    workers = [job.worker(rank) for rank in (0, 1)]
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    limit = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_mistake_of_the_user_is_told_as_by_one_process(jobs, tmp_path):
    failures = []
    for processes in ("1", "2"):
        opt_ml = OptMl.ready(tmp_path / processes / "ml", {**TINY, "processes": processes})
        opt_ml.put("train/more.rec", framed([([4], [5]), ([4], [99])]))
        job = jobs.run(opt_ml)
        assert job.exit_code == 2, job.log
        assert job.found("ClientError: ") == ["ClientError: "]
        assert "Traceback" not in job.log
        failures.append(job.failure)
    assert failures[0] == failures[1]
    assert failures[1].startswith("ClientError: train channel, file more.rec, record 2: target id 99 is outside")
