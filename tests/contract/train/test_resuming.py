"""A job that is stopped and started again with its checkpoints ends as if it had never been stopped."""

import json
import re
import shutil

import pytest

from tests.contract.train.jobs import TINY, OptMl, digest, framed, random_pairs

EVERY, LAST = 20, 160  # updates
EPOCH = 75  # batches

# With dropout, so that the random numbers count; long epochs, so that it is stopped within one.
JOB = {
    **TINY,
    "rnn_decoder_hidden_dropout": "0.3",
    "embed_dropout_source": "0.1",
    "learning_rate": "0.01",
    "batch_size": "2",
    "bleu_sample_size": "4",
    "checkpoint_frequency_num_batches": str(EVERY),
    "checkpoint_threshold": "1000",
    "plateau_reduce_lr_threshold": "1",
    "max_num_batches": str(LAST),
}


def prepared(base):
    """A job whose checkpoints outlive it."""
    opt_ml = OptMl.ready(base, JOB)
    opt_ml.put("train/train.rec", framed(random_pairs(2 * EPOCH, seed=7)))
    # Training does not help to copy, so the learning rate falls and the best checkpoint is not the last.
    opt_ml.put("validation/val.rec", framed([(source, source) for source, _ in random_pairs(12, seed=2)]))
    opt_ml.checkpoints.mkdir()
    return opt_ml


def last_checkpoint(opt_ml, updates=LAST):
    folder = opt_ml.checkpoints / f"checkpoint-{updates:09}"
    return {name: digest(folder / name) for name in ("model.safetensors", "training.safetensors")}


def scores(opt_ml):
    """The history without the time it took."""
    history = json.loads((opt_ml.model / "metrics.json").read_text())
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]


@pytest.fixture(scope="module")
def uninterrupted(jobs, tmp_path_factory):
    """The folder of the job that nobody stopped."""
    opt_ml = prepared(tmp_path_factory.mktemp("uninterrupted") / "ml")
    job = jobs.run(opt_ml)
    assert job.exit_code == 0, job.log
    rates = [entry["learning_rate"] for entry in scores(opt_ml)]
    assert rates[-1] < rates[0]
    return opt_ml


@pytest.fixture(scope="module")
def stopped(jobs, tmp_path_factory):
    """The job that was stopped in the middle of an epoch."""
    opt_ml = prepared(tmp_path_factory.mktemp("stopped") / "ml")
    job = jobs.start(opt_ml)
    job.wait_for(r"Epoch\[0\] Batch \[50\]")
    job.terminate()
    job = job.wait()
    assert job.exit_code == 0, job.log
    return job


@pytest.fixture
def stopped_updates(stopped):
    (updates,) = map(int, stopped.found(r"Stopped by a signal after (\d+) updates"))
    return updates


@pytest.fixture
def updates_before(stopped_updates):
    """Updates at the checkpoint before the newest one."""
    return (stopped_updates - 1) // EVERY * EVERY


@pytest.fixture
def again(stopped, tmp_path):
    """A new machine for the stopped job: its input and its checkpoints."""
    opt_ml = OptMl(tmp_path / "ml")
    for name in ("input", "checkpoints"):
        shutil.copytree(stopped.opt_ml.base / name, opt_ml.base / name)
    return opt_ml


def test_a_stopped_job_leaves_a_checkpoint_of_its_last_update(stopped, stopped_updates):
    assert 50 <= stopped_updates < LAST
    assert f"checkpoint-{stopped_updates:09}" in stopped.opt_ml.checkpoint_names()


def test_a_resumed_job_ends_with_the_same_bits_as_an_uninterrupted_one(jobs, again, uninterrupted, stopped_updates):
    job = jobs.run(again)
    assert job.exit_code == 0, job.log
    newest = f"{again.checkpoints}/checkpoint-{stopped_updates:09}"
    ((where, update, epoch),) = job.found(r"Resuming from (\S+): update (\d+), epoch (\d+)")
    assert (where, int(update), int(epoch)) == (newest, stopped_updates, stopped_updates // EPOCH)
    assert last_checkpoint(again) == last_checkpoint(uninterrupted)
    assert digest(again.model / "model.safetensors") == digest(uninterrupted.model / "model.safetensors")
    assert scores(again) == scores(uninterrupted)


def test_a_torn_checkpoint_is_passed_over_with_a_line_in_the_log(
    jobs, again, uninterrupted, stopped_updates, updates_before
):
    torn = again.checkpoints / f"checkpoint-{stopped_updates:09}" / "training.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    # A limit may change from one run to the next.
    again.configure("hyperparameters.json", {**JOB, "max_num_batches": str(LAST + 5)})
    job = jobs.run(again)
    assert job.exit_code == 0, job.log
    assert f"{torn.parent} is passed over: training.safetensors differs from its sum in manifest.json" in job.messages
    assert job.found(r"Resuming from \S+: update (\d+),") == [str(updates_before)]
    assert last_checkpoint(again) == last_checkpoint(uninterrupted)
    assert f"Maximum # of updates ({LAST + 5}) or epochs (None) reached." in job.messages


def test_a_stop_before_the_first_update_of_a_resumed_job_leaves_the_model_of_the_runs_before(jobs, again, stopped):
    job = jobs.start_cold(again)
    job.wait_for("Final configuration")
    job.terminate()
    job = job.wait()
    assert job.exit_code == 0, job.log
    so_far = f"Stopped by a signal before the first update of this run. The model so far is in {again.model}"
    assert so_far in job.messages
    assert digest(again.model / "model.safetensors") == digest(stopped.opt_ml.model / "model.safetensors")
    assert again.checkpoint_names() == stopped.opt_ml.checkpoint_names()


@pytest.mark.parametrize("damage", ["no manifest", "empty manifest", "no weights", "half-written name"])
def test_whatever_is_wrong_with_the_newest_checkpoint_the_one_before_is_taken(
    jobs, again, stopped_updates, updates_before, damage
):
    newest = again.checkpoints / f"checkpoint-{stopped_updates:09}"
    if damage == "no manifest":
        (newest / "manifest.json").unlink()
    elif damage == "empty manifest":
        (newest / "manifest.json").write_text("")
    elif damage == "no weights":
        (newest / "model.safetensors").unlink()
    else:
        newest.rename(newest.with_name(newest.name + ".sagemaker-ignore"))
    again.configure("hyperparameters.json", {**JOB, "max_num_batches": str(EVERY)})  # reached already
    job = jobs.run(again)
    assert job.exit_code == 0, job.log
    assert job.found(r"Resuming from \S+: update (\d+),") == [str(updates_before)]
    assert f"{newest} is passed over: " in job.log or damage == "half-written name"


def test_other_hyperparameters_and_other_data_are_told_together(jobs, again, stopped_updates):
    again.configure(
        "hyperparameters.json", {**JOB, "learning_rate": "0.02", "rnn_num_hidden": "10", "max_num_batches": "7"}
    )
    again.put("train/more.rec", framed(random_pairs(1, seed=8)))
    again.put_vocabularies(words=13)
    before = {path: digest(path) for path in again.checkpoints.rglob("*.*")}
    job = jobs.run(again)
    assert job.exit_code == 2
    assert job.failure == (
        f"ClientError: {again.checkpoints}/checkpoint-{stopped_updates:09}: the checkpoint belongs to another job: "
        "rnn_num_hidden was 8 and is 10; learning_rate was 0.01 and is 0.02; the source vocabulary changed; "
        "the target vocabulary changed; the train channel changed. Resume with the settings and data of the first "
        "run, or give the new job an empty checkpoint folder."
    )
    assert {path: digest(path) for path in again.checkpoints.rglob("*.*")} == before
    assert not again.model.exists() or not list(again.model.iterdir())


def test_other_pairs_of_the_same_number_and_lengths_are_other_data(jobs, again):
    pairs = [(source, source) for source, _ in random_pairs(2 * EPOCH, seed=7)]
    again.put("train/train.rec", framed(pairs))
    job = jobs.run(again)
    assert job.exit_code == 2
    assert "the checkpoint belongs to another job: the train channel changed." in job.failure


def test_a_finished_job_started_again_makes_no_update_and_gives_the_same_model(jobs, uninterrupted, tmp_path):
    opt_ml = OptMl(tmp_path / "ml")
    for name in ("input", "checkpoints"):
        shutil.copytree(uninterrupted.base / name, opt_ml.base / name)
    job = jobs.run(opt_ml)
    assert job.exit_code == 0, job.log
    assert not job.found(r"Checkpoint \[")
    assert digest(opt_ml.model / "model.safetensors") == digest(uninterrupted.model / "model.safetensors")
    assert scores(opt_ml) == scores(uninterrupted)


def test_the_last_two_checkpoints_and_the_best_are_kept(uninterrupted):
    best = json.loads((uninterrupted.model / "config.json").read_text())["training"]["best_checkpoint"]
    kept = {LAST - EVERY, LAST, best * EVERY}
    assert uninterrupted.checkpoint_names() == [f"checkpoint-{updates:09}" for updates in sorted(kept)]
    assert digest(uninterrupted.model / "model.safetensors") == digest(
        uninterrupted.checkpoints / f"checkpoint-{best * EVERY:09}" / "model.safetensors"
    )


@pytest.mark.parametrize("there", [True, False], ids=["mounted", "named only"])
def test_checkpoints_go_where_the_platform_says(jobs, tmp_path, there):
    opt_ml = OptMl.ready(tmp_path / "ml", {**TINY, "max_num_batches": "4"})
    elsewhere = tmp_path / "mirror" / "checkpoints"
    if there:
        elsewhere.mkdir(parents=True)
    opt_ml.configure("checkpointconfig.json", {"LocalPath": str(elsewhere), "S3Uri": "s3://bucket/prefix"})
    assert jobs.run(opt_ml).exit_code == 0
    assert sorted(path.name for path in elsewhere.iterdir()) == ["checkpoint-000000004", "lock.sagemaker-ignore"]
    assert not opt_ml.checkpoints.exists()
    again = jobs.run(opt_ml)
    assert again.found(rf"Resuming from {re.escape(str(elsewhere))}/checkpoint-000000004: update 4, epoch 0")


@pytest.mark.parametrize("text", ["{", "[]", '{"LocalPath": 5}'])
def test_a_damaged_checkpoint_configuration_is_named(jobs, tmp_path, text):
    opt_ml = OptMl.ready(tmp_path / "ml")
    opt_ml.configure("checkpointconfig.json", {})
    path = opt_ml.base / "input/config/checkpointconfig.json"
    path.write_text(text)
    job = jobs.run(opt_ml)
    assert job.exit_code == 2
    assert job.failure.startswith(f"ClientError: {path}: ")
    assert '"LocalPath": "/opt/ml/checkpoints"' in job.failure


def test_without_a_checkpoint_folder_nothing_is_kept_but_the_model(jobs, tmp_path):
    opt_ml = OptMl.ready(tmp_path / "ml", {**TINY, "max_num_batches": "10", "checkpoint_frequency_num_batches": "5"})
    job = jobs.run(opt_ml)
    assert job.exit_code == 0
    assert {name.split("/")[0] for name in opt_ml.files()} == {"model"}
    assert not list(opt_ml.scratch.iterdir())
    assert "Resuming" not in jobs.run(opt_ml).log
