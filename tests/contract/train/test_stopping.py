"""SIGTERM at any time: the job ends in seconds with exit code 0, and keeps what it has learnt."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s2s_algo.decoding.translator import Translator
from tests.contract.train.jobs import TINY, framed, random_pairs

# The platform kills the container after 120 seconds; a job of milliseconds per update must need far less.
SECONDS = 10

NOTHING = "Stopped by a signal before the first update: there is no model to save."

ENDLESS = {**TINY, "checkpoint_threshold": "1000000"}


def assert_stopped(job):
    assert job.exit_code == 0, job.log
    assert job.stop_seconds < SECONDS
    assert "Traceback" not in job.log
    assert "Exception ignored" not in job.log
    assert not list(job.opt_ml.scratch.iterdir())
    assert not job.opt_ml.failure.exists()


def assert_translates(opt_ml):
    (translation,) = Translator.load(opt_ml.model).translate([[4, 5]])
    assert translation.attention.shape == (len(translation.tokens), 2)


def updates_of(job):
    (updates,) = job.found(r"Stopped by a signal after (\d+) updates\.")
    return int(updates)


@pytest.mark.parametrize(
    "moment",
    [
        # Long before, during and after the import of torch.
        pytest.param("Docker entrypoint called", id="checking"),
        pytest.param("Final configuration", id="importing"),
        pytest.param("Training on ", id="loading"),
    ],
)
def test_a_stop_before_training_leaves_no_model(jobs, opt_ml, moment):
    # So many pairs that they take a while to read.
    opt_ml.put("train/train.rec", 100 * framed(random_pairs(200, seed=1)))
    job = jobs.start_cold(opt_ml)
    job.wait_for(moment)
    job.terminate()
    ended = job.wait()
    assert_stopped(ended)
    assert NOTHING in ended.messages
    assert "Training started." not in ended.messages
    assert opt_ml.files() == set()


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_a_stop_during_updates_leaves_a_model_that_translates(jobs, opt_ml, twice):
    opt_ml.configure("hyperparameters.json", {**ENDLESS, "checkpoint_frequency_num_batches": "1000000"})
    job = jobs.start(opt_ml)
    job.wait_for(r"Epoch\[\d+\] Batch")
    job.terminate()
    if twice:
        job.terminate()
    ended = job.wait()
    assert_stopped(ended)
    assert updates_of(ended) >= 50
    assert f"The model is in {opt_ml.model}" in ended.messages
    training = json.loads((opt_ml.model / "config.json").read_text())["training"]
    assert (training["updates"], training["best_checkpoint"]) == (updates_of(ended), 0)
    assert_translates(opt_ml)


def test_a_stop_after_checkpoints_leaves_the_best_of_them(jobs, opt_ml):
    standstill = {"learning_rate": "1e-30", "checkpoint_frequency_num_batches": "5"}
    opt_ml.configure("hyperparameters.json", {**ENDLESS, **standstill})
    job = jobs.start(opt_ml)
    job.wait_for(r"Model has not improved for 2 checkpoints")
    job.terminate()
    ended = job.wait()
    assert_stopped(ended)
    assert json.loads((opt_ml.model / "config.json").read_text())["training"]["best_checkpoint"] == 1
    assert_translates(opt_ml)


@pytest.mark.parametrize("work", ["validation", "BLEU"])
def test_a_stop_during_an_evaluation_does_not_wait_for_its_end(jobs, opt_ml, work):
    evaluation = {"checkpoint_frequency_num_batches": "50", "bleu_sample_size": "-1", "beam_size": "15"}
    opt_ml.configure("hyperparameters.json", {**ENDLESS, **evaluation})
    opt_ml.put("validation/val.rec", 100 * framed(random_pairs(60, seed=2)))
    job = jobs.start(opt_ml)
    # The line about 50 updates is the last one before validation, of which most is BLEU.
    job.wait_for(r"Epoch\[\d+\] Batch")
    if work == "BLEU":
        time.sleep(2)
    job.terminate()
    ended = job.wait()
    assert_stopped(ended)
    assert updates_of(ended) == 50
    assert not re.search(r"Checkpoint \[1\]", ended.log)
    assert_translates(opt_ml)


def test_a_stop_before_the_first_update_leaves_no_model(jobs, opt_ml):
    # A batch whose trial takes longer than a signal.
    wide = {"rnn_num_hidden": "512", "batch_size": "32", "bucketing_enabled": "false", "max_seq_len_target": "40"}
    opt_ml.configure("hyperparameters.json", {**ENDLESS, **wide})
    job = jobs.start(opt_ml)
    job.wait_for(r"Training started\.")
    job.terminate()
    ended = job.wait()
    assert_stopped(ended)
    assert NOTHING in ended.messages
    assert opt_ml.files() == set()


def test_a_job_of_defaults_makes_updates_and_can_be_stopped(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", {})
    opt_ml.put("train/train.rec", framed(random_pairs(1, seed=1, longest=1)))
    # No line tells of the first updates, so the job is given more and more time for them.
    for seconds in (2, 8, 32):
        job = jobs.start(opt_ml)
        job.wait_for(r"Training started\.")
        time.sleep(seconds)
        job.terminate()
        ended = job.wait()
        assert_stopped(ended)
        if NOTHING not in ended.messages:
            break
    assert updates_of(ended) >= 1
    values = json.loads((opt_ml.model / "config.json").read_text())["training"]["hyperparameters"]
    assert (values["rnn_num_hidden"], values["learning_rate"], values["batch_size"]) == (1024, 0.0003, 64)
    assert_translates(opt_ml)


def test_process_1_of_a_container_obeys_the_signal_too(opt_ml, tmp_path):
    """Linux gives process 1 only the signals that it listens to."""
    alone = ["unshare", "--pid", "--fork"]
    if subprocess.run([*alone, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this user may not make a namespace of processes")
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*alone, sys.executable, "-m", "container.entrypoint", "train"], env=opt_ml.environment(), stdout=output
        ) as parent,
    ):
        while "Docker entrypoint called" not in log.read_text() and parent.poll() is None:
            time.sleep(0.01)
        (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        assert parent.wait() == 0
    assert NOTHING in log.read_text()
