"""SIGTERM at any time: the job ends in seconds with exit code 0, and keeps what it has learnt.

``pytest -s`` shows how long each kind of work makes the signal wait.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2s_algo.checkpoints.artifact import FILES, METRICS_FILE
from s2s_algo.checkpoints.atomic import TEMPORARY_SUFFIX
from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.decoding.translator import Translator
from tests.contract.train.jobs import digest, framed, random_pairs
from tests.contract.train.phases import ENDLESS, PHASES, WIDE

# The platform kills the container after 120 seconds; a job of milliseconds per update must need far less, even if it is
# importing torch on a machine that does much else.
SECONDS = 30

SO_FAR = "Stopped by a signal before the first update of this run. The model so far is in {}"

NOTHING = "Stopped by a signal before the first update: there is no model to save."


@pytest.fixture(scope="module")
def waits() -> Iterator[dict[tuple[str, int], float]]:
    """Seconds from the signal to the end, by what the job was about and by its processes.

    No number is smaller than the time until the second signal is sent.
    """
    measured: dict[tuple[str, int], float] = {}
    yield measured
    print("\n\nseconds from SIGTERM to the end\n\nphase                     1 process  2 processes")
    for name in dict.fromkeys(name for name, _ in measured):
        one, two = (f"{measured[name, count]:.2f}" if (name, count) in measured else "-" for count in (1, 2))
        print(f"{name:24} {one:>10} {two:>12}")
    for (name, count), longest in sorted(measured.items(), key=lambda item: item[1])[-1:]:
        print(f"longest: {longest:.2f}, {name}, processes: {count}")


def assert_stopped(job):
    assert job.exit_code == 0, job.log
    assert job.stop_seconds < SECONDS
    assert "Traceback" not in job.log
    assert "Exception ignored" not in job.log
    assert not list(job.opt_ml.scratch.iterdir())
    assert not job.opt_ml.failure.exists()


def assert_whole(opt_ml):
    """Nothing is half written: each checkpoint can be loaded, and there is all of a model or nothing."""
    checkpoints = CheckpointStore(opt_ml.checkpoints)
    for updates in checkpoints.stored():
        checkpoints.load(updates)
    assert {path.name for path in opt_ml.model.iterdir()} in (set(), {*FILES, METRICS_FILE})
    temporary = {name for name in opt_ml.files() if name.endswith(TEMPORARY_SUFFIX)}
    assert temporary <= {"checkpoints/lock.sagemaker-ignore"}


def assert_translates(opt_ml):
    (translation,) = Translator.load(opt_ml.model).translate([[4, 5]])
    assert translation.attention.shape == (len(translation.tokens), 2)


def updates_of(job):
    (updates,) = job.found(r"Stopped by a signal after (\d+) updates\.")
    return int(updates)


def send_twice(job):
    job.terminate()
    time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):  # it has ended
        job.terminate()


@pytest.mark.parametrize(
    ("name", "processes"), [(name, count) for name, phase in PHASES.items() for count in phase.processes]
)
def test_a_stop_at_any_time_keeps_what_was_learnt(jobs, opt_ml, waits, name, processes):
    phase = PHASES[name]
    opt_ml.configure("hyperparameters.json", {**ENDLESS, **phase.hyperparameters, "processes": str(processes)})
    opt_ml.put("train/train.rec", phase.train * framed(random_pairs(40, seed=1)))
    opt_ml.put("validation/val.rec", phase.validation * framed(random_pairs(12, seed=2)))
    if phase.words:
        opt_ml.put_vocabularies(phase.words)
    opt_ml.checkpoints.mkdir()
    job = jobs.start_cold(opt_ml) if phase.cold and processes == 1 else jobs.start(opt_ml)
    with phase.reach(job, processes):
        job.terminate()
    send_twice(job)
    ended = job.wait()
    assert_stopped(ended)
    assert re.search(phase.proof, ended.log)
    assert not re.search(phase.excluded, ended.log)
    assert ended.messages.count(NOTHING) == (not phase.learnt)
    if phase.learnt:
        assert_translates(opt_ml)
        assert CheckpointStore(opt_ml.checkpoints).newest()
    else:
        assert opt_ml.files() <= {"checkpoints/lock.sagemaker-ignore"}
    assert_whole(opt_ml)
    waits[name, processes] = ended.stop_seconds


@pytest.mark.parametrize("processes", [1, 2])
def test_a_resumed_job_that_is_stopped_in_its_trial_leaves_the_model_it_had(jobs, opt_ml, waits, processes):
    opt_ml.configure("hyperparameters.json", {**ENDLESS, **WIDE, "max_num_batches": "1"})
    opt_ml.checkpoints.mkdir()
    assert jobs.run(opt_ml).exit_code == 0
    before = digest(opt_ml.model / "model.safetensors")
    (opt_ml.model / "model.safetensors").unlink()
    opt_ml.configure("hyperparameters.json", {**ENDLESS, **WIDE, "processes": str(processes)})
    job = jobs.start(opt_ml)
    job.wait_for(r"Training started\.")
    send_twice(job)
    ended = job.wait()
    assert_stopped(ended)
    # Several processes have nothing to lose yet, so that the launcher ends them and leaves the model in their place.
    assert updates_of(ended) == 1 if processes == 1 else SO_FAR.format(opt_ml.model) in ended.messages
    assert digest(opt_ml.model / "model.safetensors") == before
    assert_whole(opt_ml)
    waits["trial of a resumed job", processes] = ended.stop_seconds


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("moment", ["Final configuration", "Vocabulary sizes"])
def test_a_resumed_job_that_is_stopped_before_it_has_read_its_data_leaves_the_model_it_had(
    jobs, opt_ml, waits, moment, processes
):
    opt_ml.configure("hyperparameters.json", {**ENDLESS, "max_num_batches": "3"})
    opt_ml.checkpoints.mkdir()
    assert jobs.run(opt_ml).exit_code == 0
    before = {name: digest(opt_ml.model / name) for name in FILES}
    for file in opt_ml.model.iterdir():
        file.unlink()
    # To read so much takes longer than anybody waits here; that it is not the same is seen afterwards.
    opt_ml.put("train/train.rec", 20_000 * framed(random_pairs(40, seed=1)))
    opt_ml.configure("hyperparameters.json", {**ENDLESS, "processes": str(processes)})
    job = jobs.start(opt_ml)
    job.wait_for(moment)
    send_twice(job)
    ended = job.wait()
    assert_stopped(ended)
    assert SO_FAR.format(opt_ml.model) in ended.messages
    config = json.loads((opt_ml.model / "config.json").read_text())
    assert config["training"]["updates"] == 3
    same = {name for name in FILES if digest(opt_ml.model / name) == before[name]}
    assert same >= {*FILES} - {"config.json"}
    assert_whole(opt_ml)
    assert_translates(opt_ml)
    waits[f"resumed: {moment}", processes] = ended.stop_seconds


def test_a_stop_without_a_checkpoint_folder_leaves_the_model_alone(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", {**ENDLESS, "checkpoint_frequency_num_batches": "1000000"})
    job = jobs.start(opt_ml)
    job.wait_for(r"Epoch\[\d+\] Batch")
    job.terminate()
    ended = job.wait()
    assert_stopped(ended)
    assert f"The model is in {opt_ml.model}" in ended.messages
    training = json.loads((opt_ml.model / "config.json").read_text())["training"]
    assert (training["updates"], training["best_checkpoint"]) == (updates_of(ended), 0)
    assert {name.split("/")[0] for name in opt_ml.files()} == {"model"}
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


def test_a_job_of_defaults_makes_updates_and_can_be_stopped(jobs, opt_ml, waits):
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
    waits["update, default sizes", 1] = ended.stop_seconds


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
