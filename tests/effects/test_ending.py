"""When a job evaluates, and when it ends."""

import logging

import pytest

from tests.tiny_job import script_validation

# An epoch has 4 batches.
ENDLESS = {"max_num_batches": "-1", "checkpoint_frequency_num_batches": "2"}
WORSE = [5, 6]  # after the first checkpoint nothing improves


def evaluated(assembled):
    return [entry["updates"] for entry in assembled.state.history]


@pytest.mark.effect_of("max_num_batches")
@pytest.mark.parametrize("updates", [1, 5, 8])
def test_a_job_ends_after_so_many_updates(jobs, monkeypatch, updates):
    script_validation(monkeypatch, [1 / number for number in range(1, 99)])
    assembled = jobs.train(ENDLESS | {"max_num_batches": str(updates)})
    assert assembled.state.updates == assembled.job.optimizer.updates == updates
    assert evaluated(assembled)[-1] == updates


@pytest.mark.effect_of("max_num_batches")
def test_without_a_number_of_updates_a_job_goes_on_until_something_else_ends_it(jobs, monkeypatch):
    script_validation(monkeypatch, [*range(30, 1, -1), 99])
    # 29 improvements and 3 misses.
    assert jobs.train(ENDLESS).state.updates == 2 * (29 + 3)


@pytest.mark.effect_of("checkpoint_frequency_num_batches")
@pytest.mark.parametrize(
    ("frequency", "expected"), [("1", [1, 2, 3, 4, 5, 6, 7]), ("3", [3, 6, 7]), ("7", [7]), ("1000", [7])]
)
def test_checkpoints_come_after_every_so_many_updates_and_at_the_end(jobs, frequency, expected):
    raw = {
        "max_num_batches": "7",
        "checkpoint_frequency_num_batches": frequency,
        "checkpoint_threshold": "99",
    }
    assembled = jobs.train(raw)
    assert evaluated(assembled) == expected
    assert assembled.job.store.newest() == 7


@pytest.mark.effect_of("checkpoint_threshold")
@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_a_job_ends_after_so_many_checkpoints_without_improvement(jobs, monkeypatch, caplog, threshold):
    caplog.set_level(logging.INFO)
    script_validation(monkeypatch, WORSE)
    assembled = jobs.train(ENDLESS | {"checkpoint_threshold": str(threshold)})
    assert assembled.state.checkpoint == 1 + threshold
    assert assembled.state.updates == 2 * (1 + threshold)
    reason = f"Maximum number of not improved checkpoints ({threshold}) reached: {threshold}"
    assert reason in caplog.messages


@pytest.mark.effect_of("checkpoint_threshold")
def test_checkpoints_without_improvement_count_in_a_row_only(jobs, monkeypatch):
    script_validation(monkeypatch, [5, 6, 4, 6, 3, 6, 7])
    assert jobs.train(ENDLESS | {"checkpoint_threshold": "2"}).state.checkpoint == 7


@pytest.mark.effect_of("max_num_epochs")
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_a_job_ends_after_so_many_epochs_and_no_earlier(jobs, monkeypatch, caplog, epochs):
    caplog.set_level(logging.INFO)
    script_validation(monkeypatch, WORSE)
    assembled = jobs.train(ENDLESS | {"max_num_epochs": str(epochs), "checkpoint_threshold": "1"})
    assert (assembled.state.epoch, assembled.state.updates) == (epochs, 4 * epochs)
    assert f"Maximum # of updates (None) or epochs ({epochs}) reached." in caplog.messages
    # The best model is the result all the same.
    assert assembled.artifact().training["best_checkpoint"] == 1


@pytest.mark.effect_of("max_num_epochs")
def test_epochs_that_were_not_passed_are_no_limit(jobs, monkeypatch):
    script_validation(monkeypatch, WORSE)
    assert jobs.train(ENDLESS | {"max_num_epochs": "None"}).state.checkpoint == 4


@pytest.mark.effect_of("max_num_epochs", "max_num_batches")
@pytest.mark.parametrize(("epochs", "batches", "updates"), [("2", "7", 7), ("2", "9", 8), ("2", "8", 8)])
def test_of_two_limits_the_first_one_reached_ends_a_job(jobs, epochs, batches, updates):
    raw = ENDLESS | {"max_num_epochs": epochs, "max_num_batches": batches}
    assert jobs.train(raw).state.updates == updates


@pytest.mark.effect_of("min_num_epochs")
@pytest.mark.parametrize(("epochs", "updates"), [("0", 4), ("1", 4), ("2", 8), ("3", 12)])
def test_a_job_does_not_end_early_before_so_many_epochs(jobs, monkeypatch, epochs, updates):
    script_validation(monkeypatch, WORSE)
    assembled = jobs.train(ENDLESS | {"min_num_epochs": epochs, "checkpoint_threshold": "1"})
    assert assembled.state.updates == updates


@pytest.mark.effect_of("min_num_epochs")
def test_a_least_number_of_epochs_delays_no_other_limit(jobs):
    assert jobs.train(ENDLESS | {"min_num_epochs": "3", "max_num_batches": "5"}).state.updates == 5


@pytest.mark.effect_of("min_num_epochs")
def test_improvement_in_the_meantime_takes_the_misses_back(jobs, monkeypatch):
    script_validation(monkeypatch, [5, 6, 7, 4, 6])
    # Misses after the updates 4 and 6, in epoch 1 and 2; then one more improvement and one more miss.
    raw = ENDLESS | {"min_num_epochs": "2", "checkpoint_threshold": "1"}
    assert jobs.train(raw).state.updates == 10
