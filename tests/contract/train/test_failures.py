"""Jobs that fail under way: the machine refuses, or training diverges. What was learnt before is kept."""

import json

from tests.contract.train.jobs import TINY, digest

# Every update multiplies all weights by 1 - 100 = -99: beyond float32 after some twenty updates.
DIVERGING = {**TINY, "optimizer_type": "sgd", "learning_rate": "100", "weight_decay": "1", "clip_gradient": "-1"}


def manifest_holds(checkpoint):
    """Whether the files of a checkpoint have the sums that are written beside them."""
    sums = json.loads((checkpoint / "manifest.json").read_text())
    return len(sums) == 3 and all(digest(checkpoint / name) == value for name, value in sums.items())


def assert_no_leftovers(job):
    assert not list(job.opt_ml.scratch.iterdir())
    left = [name for name in job.opt_ml.files() if name.endswith(".sagemaker-ignore")]
    assert left in ([], ["checkpoints/lock.sagemaker-ignore"])


def test_a_file_in_the_place_of_the_model_folder_is_an_error_of_the_machine_before_training(jobs, opt_ml):
    opt_ml.model.write_text("in the way")
    job = jobs.run(opt_ml)
    assert job.exit_code == 3
    assert job.failure == (
        f"InternalServerError: {opt_ml.model}: the folder is not writable (File exists). "
        "Mount it writable for the container's user."
    )
    assert "Training started." not in job.log
    assert opt_ml.model.read_text() == "in the way"


def test_a_file_in_the_place_of_the_failure_file_s_folder_leaves_the_reason_in_the_log(jobs, opt_ml):
    (opt_ml.base / "output").write_text("in the way")
    opt_ml.configure("hyperparameters.json", {"batch_size": "0"})
    job = jobs.run(opt_ml)
    assert job.exit_code in (2, 3)
    assert f"{opt_ml.failure}" in job.log


def test_a_disk_that_fills_up_fails_the_job_and_leaves_the_checkpoint_before_whole(jobs, opt_ml):
    opt_ml.checkpoints.mkdir()
    opt_ml.configure("hyperparameters.json", {**TINY, "checkpoint_frequency_num_batches": "40"})
    job = jobs.start(opt_ml)
    first = opt_ml.checkpoints / "checkpoint-000000040"
    job.wait_until(first.exists, "first checkpoint")
    job.limit_file_size(1000)  # bytes; a checkpoint has several thousand
    ended = job.wait()
    assert ended.exit_code == 3
    assert ended.failure.startswith(f"InternalServerError: {opt_ml.checkpoints}/checkpoint-")
    assert ended.failure.endswith("Free space on the disk or mend its permissions.")
    assert "File too large" in ended.failure
    kept = opt_ml.checkpoint_names()
    assert kept
    assert all(manifest_holds(opt_ml.checkpoints / checkpoint) for checkpoint in kept)
    assert_no_leftovers(ended)
    # With room again, the job goes on from there.
    opt_ml.configure(
        "hyperparameters.json", {**TINY, "checkpoint_frequency_num_batches": "40", "max_num_batches": "1000"}
    )
    resumed = jobs.start(opt_ml)
    resumed.wait_for(r"Resuming from .*checkpoint-0000")
    resumed.terminate()
    assert resumed.wait().exit_code == 0
    assert not opt_ml.failure.exists()


def test_a_disk_without_room_for_the_model_fails_the_job_and_leaves_no_half_model(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", {**TINY, "max_num_batches": "300"})
    job = jobs.start(opt_ml)
    job.limit_file_size(1000)
    ended = job.wait()
    assert ended.exit_code == 3
    assert ended.failure.startswith("InternalServerError: ")
    assert "cannot write (" in ended.failure
    assert opt_ml.files() == {"output/failure"}
    assert_no_leftovers(ended)


def test_a_diverging_job_names_tensors_and_exports_the_best_checkpoint_before(jobs, opt_ml):
    opt_ml.configure(
        "hyperparameters.json", {**DIVERGING, "checkpoint_frequency_num_batches": "5", "checkpoint_threshold": "9"}
    )
    opt_ml.checkpoints.mkdir()
    job = jobs.run(opt_ml)
    assert job.exit_code == 2
    assert job.failure.startswith("ClientError: the ")
    assert job.found(r"not finite first: (?:the gradient of )?[a-z_]+\.")
    assert "Training has diverged: lower learning_rate, or set clip_gradient to a positive value." in job.failure
    best = json.loads((opt_ml.model / "config.json").read_text())["training"]["best_checkpoint"]
    assert digest(opt_ml.model / "model.safetensors") == digest(
        opt_ml.checkpoints / f"checkpoint-{5 * best:09}" / "model.safetensors"
    )
    assert not job.found(r"(?i)=(nan|-?inf)")
    assert "Traceback" not in job.log


def test_a_job_that_diverges_before_its_first_checkpoint_leaves_no_model(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", DIVERGING)
    job = jobs.run(opt_ml)
    assert job.exit_code == 2
    assert "Training has diverged" in job.failure
    assert opt_ml.files() == {"output/failure"}
    assert_no_leftovers(job)
