"""Full and read-only disks end a job with words that help, and cost nothing but time; a clock that jumps does no harm.

Where the tests may not mount disks, those of test_failures.py that limit the size of files are left.
"""

import json
import math
import re
from datetime import datetime
from pathlib import Path

import pytest

from s2s_algo.checkpoints.artifact import load_artifact
from s2s_algo.checkpoints.atomic import TEMPORARY_SUFFIX
from s2s_algo.checkpoints.store import CheckpointStore
from tests.contract.train.disks import disk_of_its_own, fill, read_only
from tests.contract.train.jobs import REPOSITORY, TINY, OptMl, digest, framed, random_pairs
from tests.contract.train.phases import halted_when

EVERY, LAST = 10, 120  # updates

JOB = {
    **TINY,
    "rnn_decoder_hidden_dropout": "0.3",
    "learning_rate": "0.01",
    "batch_size": "2",
    "bleu_sample_size": "4",
    "checkpoint_frequency_num_batches": str(EVERY),
    "cleanup_old_models": '{"keep_last_n": 3, "keep_best_n": 0, "keep": []}',
    "checkpoint_threshold": "1000",
    "plateau_reduce_lr_threshold": "1",
    "max_num_batches": str(LAST),
}
SHORT = {**TINY, "checkpoint_frequency_num_batches": "5", "max_num_batches": "10"}

JUMPING_CLOCK = {"PYTHONPATH": f"{Path(__file__).with_name('jumping_clock')}:{REPOSITORY}"}


def prepared(base, processes=1):
    """A job whose learning rate falls: to reverse, which it learns, does not help to copy."""
    opt_ml = OptMl.ready(base, {**JOB, "processes": str(processes)})
    opt_ml.put("train/train.rec", framed(random_pairs(150, seed=7)))
    opt_ml.put("validation/val.rec", framed([(source, source) for source, _ in random_pairs(12, seed=2)]))
    opt_ml.checkpoints.mkdir()
    return opt_ml


def outcome(opt_ml):
    """All that a job computes, without the time it took."""
    last = opt_ml.checkpoints / f"checkpoint-{LAST:09}"
    files = [last / "model.safetensors", last / "training.safetensors", opt_ml.model / "model.safetensors"]
    history = json.loads((opt_ml.model / "metrics.json").read_text())
    for entry in history:
        del entry["seconds"]
    return [digest(file) for file in files], history


def refused(path, job):
    """Whether a job says that the disk has no room for a path, a regular expression, and how to mend it."""
    return re.fullmatch(
        rf"InternalServerError: {path}: cannot write \([^()]*No space left on device( \(os error 28\))?\)\. "
        r"Free space on the disk or mend its permissions\.",
        job.failure,
    )


@pytest.fixture(scope="module")
def whole(jobs, tmp_path_factory):
    """Runs a job of so many processes that no disk disturbs, once; its clock jumps."""
    ended = {}

    def of(processes):
        if processes not in ended:
            opt_ml = prepared(tmp_path_factory.mktemp("whole") / "ml", processes)
            ended[processes] = jobs.run_cold(opt_ml, JUMPING_CLOCK)
        assert ended[processes].exit_code == 0, ended[processes].log
        return ended[processes]

    return of


# Disks


@pytest.mark.parametrize("processes", [1, 2])
def test_a_checkpoint_disk_that_fills_up_costs_nothing_but_time(jobs, tmp_path, whole, processes):
    opt_ml = prepared(tmp_path / "ml", processes)
    store = CheckpointStore(opt_ml.checkpoints)
    with disk_of_its_own(opt_ml.checkpoints, "size=1m"):
        # (1) Several checkpoints are there when the disk is full.
        job = jobs.start(opt_ml)
        job.wait_for(r"Training started\.")
        with halted_when(job, lambda: len(store.stored()) >= 3, "third checkpoint"):
            ballast = fill(opt_ml.checkpoints)
        ended = job.wait()
        assert ended.exit_code == 3, ended.log
        assert refused(f"{opt_ml.checkpoints}/checkpoint-.........", ended)
        assert "Traceback" not in ended.log
        # (2) They are all there and whole, and so is a model.
        ballast.unlink()
        assert len(store.stored()) >= 3
        assert not list(store.root.glob(f"checkpoint-*{TEMPORARY_SUFFIX}"))
        for updates in store.stored():
            store.load(updates)
        load_artifact(opt_ml.model)
        # (3) With room again, the job ends as if nothing had happened.
        newest = store.stored()[-1]
        again = jobs.run(opt_ml)
        assert again.exit_code == 0, again.log
        assert again.found(r"Resuming from \S+: update (\d+)") == [str(newest)]
        assert outcome(opt_ml) == outcome(whole(processes).opt_ml)
    assert not opt_ml.failure.exists()


def test_a_scratch_folder_that_fills_up_is_told_of(jobs, opt_ml):
    # Several processes leave their words in the same folder before they become those of the job.
    opt_ml.configure("hyperparameters.json", {**SHORT, "processes": "2"})
    opt_ml.put("train/train.rec", 300 * framed(random_pairs(100, seed=1)))
    with disk_of_its_own(opt_ml.scratch, "size=200k"):
        job = jobs.run_cold(opt_ml)
        assert not list(opt_ml.scratch.iterdir())
    assert job.exit_code == 3, job.log
    assert re.fullmatch(
        rf"InternalServerError: cannot write {opt_ml.scratch}/s2s-\w+/corpus/train\.\w+\.\w+: No space left on device; "
        r"the corpus needs 4 bytes a token and 16 bytes a pair of free space",
        job.failure,
    )
    assert not list(opt_ml.model.iterdir())


def test_a_model_folder_that_is_full_costs_nothing_but_another_start(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", SHORT)
    opt_ml.checkpoints.mkdir()
    with disk_of_its_own(opt_ml.model, "size=8k"):
        job = jobs.run(opt_ml)
        assert not list(opt_ml.model.iterdir())
    assert job.exit_code == 3, job.log
    assert refused(opt_ml.model, job)
    store = CheckpointStore(opt_ml.checkpoints)
    assert store.newest() == 10
    again = jobs.run(opt_ml)
    assert again.exit_code == 0, again.log
    best = json.loads((opt_ml.model / "config.json").read_text())["training"]["best_checkpoint"] * 5
    assert digest(opt_ml.model / "model.safetensors") == digest(store.folder(best) / "model.safetensors")


def test_a_checkpoint_folder_without_room_for_all_checkpoints_is_told_of_before_training(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", SHORT)
    with disk_of_its_own(opt_ml.checkpoints, "size=20k"):
        job = jobs.run(opt_ml)
    assert job.exit_code == 3, job.log
    assert re.fullmatch(
        rf"InternalServerError: {opt_ml.checkpoints}: \d+ checkpoints of \d+ MiB need \d+ MiB more, but only \d+ MiB "
        r"are free\. Free space, or keep fewer with cleanup_old_models\.",
        job.failure,
    )
    assert "Training started." not in job.log


@pytest.mark.parametrize("name", ["checkpoints", "model"])
def test_a_read_only_folder_is_told_of_before_training(jobs, opt_ml, name):
    with read_only(opt_ml.base / name):
        job = jobs.run(opt_ml)
    assert job.exit_code == 3, job.log
    reason = r"\((Read-only file system|Permission denied)\)"
    assert re.fullmatch(
        rf"InternalServerError: {opt_ml.base / name}: the folder is not writable {reason}\. Mount it writable for the "
        r"container's user\.",
        job.failure,
    )
    assert "Training on " not in job.log


def test_a_read_only_output_folder_ends_no_job(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", SHORT)
    with read_only(opt_ml.base / "output"):
        job = jobs.run(opt_ml)
    assert job.exit_code == 0, job.log
    assert job.log.count("Cannot write the reports of the training, which goes on: ") == 1
    assert (opt_ml.model / "model.safetensors").exists()


def test_a_full_output_folder_ends_no_job(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", SHORT)
    with disk_of_its_own(opt_ml.base / "output", "size=40k") as output:
        fill(output)
        job = jobs.run(opt_ml)
    assert job.exit_code == 0, job.log
    assert job.log.count("Cannot write the reports of the training, which goes on: ") == 1
    assert "Exception ignored" not in job.log
    assert (opt_ml.model / "model.safetensors").exists()


def test_without_an_output_folder_a_mistake_is_told_in_the_log(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", SHORT)
    opt_ml.put("train/more.rec", framed([([4], [99])]))
    with read_only(opt_ml.base / "output"):
        job = jobs.run(opt_ml)
    assert job.exit_code == 2, job.log
    assert job.found("ClientError: train channel, file more.rec, record 1: target id 99 is outside the vocabulary")


# Clocks


@pytest.mark.parametrize("processes", [1, 2])
def test_a_clock_that_jumps_by_days_does_no_harm(whole, processes):
    """That it changes nothing, the test of the checkpoint disk shows, whose jobs have a steady clock."""
    job = whole(processes)
    days = {datetime.strptime(day, "%m/%d/%Y") for day in job.found(r"\[(\d\d/\d\d/\d{4}) [\d:]{8} ")}
    assert (max(days) - min(days)).days >= 2
    # (1) The log.
    numbers = [float(text) for text in job.found(r"(?:Speed: |Time-cost=|avg-sec-per-sent-val': )([^\s,}]+)")]
    assert len(numbers) > LAST // EVERY
    assert all(0 <= number < math.inf for number in numbers)
    # (2) The numbers of the reports.
    reports = job.opt_ml.base / "output/data"
    points = [json.loads(line) for line in (reports / "metrics.jsonl").read_text().splitlines()]
    assert [point["updates"] for point in points if point["kind"] == "checkpoint"] == [*range(EVERY, LAST + 1, EVERY)]
    seconds = [point["seconds"] for point in points]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] <= seconds[-1] < 1000
    assert all(0 < point.get("target_tokens_per_second", 1) < math.inf for point in points)
    # (3) The page.
    page = (reports / "report.html").read_text()
    assert f"Maximum # of updates ({LAST}) or epochs (None) reached." in page
    assert not re.search(r"-?\d+ days?,|\bnan\b|\binf\b", page)
