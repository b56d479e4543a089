"""When a job ends, and that nothing of its last updates is lost."""

import json

import pytest

from tests.contract.train.jobs import TINY, framed, random_pairs

# With a rate this small nothing changes that float32 could show, so no checkpoint is better than the first.
STANDSTILL = {**TINY, "learning_rate": "1e-30", "checkpoint_threshold": "1", "checkpoint_frequency_num_batches": "3"}


def checkpoints(job):
    """Updates of all checkpoints."""
    return [int(updates) for updates in job.found(r"Checkpoint \[\d+\]\tUpdates=(\d+) ")]


@pytest.mark.parametrize(
    ("limit", "frequency", "expected"),
    [(25, 10, [10, 20, 25]), (20, 10, [10, 20]), (3, 1000, [3]), (1, 1, [1])],
)
def test_the_last_update_is_always_evaluated_once(jobs, opt_ml, limit, frequency, expected):
    limits = {"max_num_batches": str(limit), "checkpoint_frequency_num_batches": str(frequency)}
    opt_ml.configure("hyperparameters.json", {**TINY, **limits})
    job = jobs.run(opt_ml)
    assert job.exit_code == 0
    assert checkpoints(job) == expected
    assert f"Maximum # of updates ({limit}) or epochs (None) reached." in job.messages
    assert json.loads((opt_ml.model / "config.json").read_text())["training"]["updates"] == limit


def test_a_limit_of_epochs_switches_patience_off_and_still_the_best_checkpoint_counts(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", {**STANDSTILL, "max_num_epochs": "4"})
    job = jobs.run(opt_ml)
    assert job.exit_code == 0
    assert (
        "max_num_epochs: 4 epochs are trained without early stopping; the best checkpoint is the result" in job.messages
    )
    assert checkpoints(job) == [3, 6, 9, 12, 15, 18, 20]  # 40 pairs are 5 batches
    assert "Maximum # of updates (None) or epochs (4) reached." in job.messages
    assert job.found(r"Training finished\. Best checkpoint: 1\. Best validation perplexity: ")


def test_patience_ends_a_job_at_the_first_checkpoint_it_may(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", STANDSTILL)
    job = jobs.run(opt_ml)
    assert checkpoints(job) == [3, 6]
    assert "Maximum number of not improved checkpoints (1) reached: 1" in job.messages


def test_a_least_number_of_epochs_delays_patience_but_no_other_limit(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", {**STANDSTILL, "min_num_epochs": "2"})
    job = jobs.run(opt_ml)
    assert checkpoints(job) == [3, 6, 9, 12]
    assert "Minimum number of epochs (2) not reached yet: 1" in job.messages
    assert "Maximum number of not improved checkpoints (1) reached: 3" in job.messages
    opt_ml.configure("hyperparameters.json", {**STANDSTILL, "min_num_epochs": "2", "max_num_batches": "4"})
    assert checkpoints(jobs.run(opt_ml)) == [3, 4]


def test_every_epoch_sees_every_pair_once(jobs, opt_ml):
    opt_ml.put("train/train.rec", framed(random_pairs(43, seed=1)))
    opt_ml.configure("hyperparameters.json", {**TINY, "max_num_epochs": "3", "bucket_width": "2"})
    assert jobs.run(opt_ml).found(r"Samples=(\d+)") == [str(3 * 43)]


def test_the_first_checkpoint_counts_as_better_even_with_a_bleu_of_next_to_nothing(jobs, opt_ml):
    bleu = {"optimized_metric": "bleu", "max_num_batches": "2", "checkpoint_frequency_num_batches": "1"}
    opt_ml.configure("hyperparameters.json", {**STANDSTILL, **bleu})
    job = jobs.run(opt_ml)
    assert job.exit_code == 0
    assert "bleu_sample_size: 0 with optimized_metric bleu means the whole validation set; " in job.log
    assert job.found(r"Validation-bleu improved to 0\.")
    assert job.found(r"BLEU on 12 sentences")
    assert job.found(r"Training finished\. Best checkpoint: 1\. Best validation bleu: 0\.")
