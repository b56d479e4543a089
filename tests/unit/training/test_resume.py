"""A job that was stopped, killed or whose newest checkpoint is damaged ends as if nothing had happened."""

import hashlib
import json
import logging
import shutil

import pytest

from s2s_algo.errors import ClientError
from s2s_algo.training.stopping import StopRequested
from s2s_algo.training.trainer import train
from tests.tiny_job import assemble_job, copies, differing, draw_pairs, never, weights_of

PAIRS = {
    "train_pairs": draw_pairs(14, seed=3, longest=4),
    "validation_pairs": draw_pairs(5, seed=4, longest=4),
}

# An epoch has 4 batches.
COMMON = {
    "max_seq_len_source": "4",
    "max_seq_len_target": "4",
    "bleu_sample_size": "3",
    "embed_dropout_source": "0.3",
    "embed_dropout_target": "0.2",
    "rnn_decoder_hidden_dropout": "0.4",
    "optimized_metric": "accuracy",
    "plateau_reduce_lr_threshold": "1",
}
JOBS = {
    "adam, plateau, a last checkpoint out of turn": {
        "optimizer_type": "adam",
        "max_num_batches": "12",
        "checkpoint_frequency_num_batches": "5",
    },
    "momentum, falling rate, all limits at the end of an epoch": {
        "optimizer_type": "sgd",
        "momentum": "0.9",
        "learning_rate": "0.3",
        "lr_scheduler_type": "fixed_rate_inv_t",
        "fixed_rate_lr_half_life": "1",
        "max_num_batches": "12",
        "max_num_epochs": "3",
        "checkpoint_frequency_num_batches": "4",
    },
    "rmsprop, falling rate, an end in the midst of an epoch": {
        "optimizer_type": "rmsprop",
        "lr_scheduler_type": "fixed_rate_inv_sqrt_t",
        "fixed_rate_lr_half_life": "1",
        "max_num_batches": "10",
        "checkpoint_frequency_num_batches": "5",
    },
    "sgd, plateau, patience": {
        "optimizer_type": "sgd",
        "learning_rate": "0.5",
        "max_num_batches": "-1",
        "min_num_epochs": "2",
        "checkpoint_frequency_num_batches": "2",
        "checkpoint_threshold": "1",
    },
}


class StopAt:
    """Wants the job to end when it is asked for the nth time; from then on it has no more wishes."""

    def __init__(self, call, error=StopRequested):
        self.calls = 0
        self.call = call
        self.error = error

    def __call__(self):
        self.calls += 1
        if self.calls == self.call and self.error is not StopRequested:
            raise self.error
        return self.calls == self.call


class KilledError(Exception):
    """What is not saved is lost."""


def job(folder, raw, stop_requested=never):
    return assemble_job(folder, raw, stop_requested=stop_requested, **PAIRS)


def interrupted(folder, raw, call, error=StopRequested):
    """Runs a job up to its interruption."""
    begun = job(folder, raw, StopAt(call, error))
    with pytest.raises(error):
        train(begun.job, begun.state)
    return begun


def finished(folder, raw):
    """Runs a job to its end, from wherever it stands."""
    assembled = job(folder, raw)
    train(assembled.job, assembled.state)
    return assembled


def outcome(assembled):
    """All that a job counts, but the time it took; and all tensors that it computed with or made."""
    values = assembled.state.to_json()
    for entry in [values, *values["history"]]:
        del entry["seconds"]
    del values["saved_updates"]
    values["optimizer updates"] = assembled.job.optimizer.updates
    values["schedule"] = assembled.job.schedule.state()
    tensors = {f"last {name}": weight for name, weight in assembled.job.model.named_parameters()}
    tensors = copies(tensors | assembled.job.optimizer.state())
    best = assembled.artifact().model.named_parameters()
    return values, tensors | copies({f"best {name}": weight for name, weight in best})


def assert_equal(ours, expected):
    values, tensors = outcome(ours)
    assert values == expected[0]
    assert differing(tensors, expected[1]) == []


@pytest.fixture(scope="module", params=JOBS)
def setting(request, tmp_path_factory):
    """The hyperparameters, how often such a job asks whether to stop, and how it ends if nobody interrupts it."""
    raw = COMMON | JOBS[request.param]
    asked = StopAt(0)
    whole = job(tmp_path_factory.mktemp("whole"), raw, asked)
    train(whole.job, whole.state)
    return raw, asked.calls, outcome(whole)


def test_the_job_of_these_tests_would_show_every_mistake(setting):
    _, calls, (values, _) = setting
    assert 8 <= values["updates"] <= 14
    assert values["checkpoint"] >= 2
    assert len({entry["learning_rate"] for entry in values["history"]}) > 1
    # The best model is not the last one, so the artifact comes from an earlier checkpoint.
    assert values["best_updates"] < values["updates"]
    # Asked before every update, before each of 2 validation batches, and before the translations.
    assert calls == values["updates"] + values["checkpoint"] * (2 + 1)


def test_a_stop_at_any_moment_changes_nothing(setting, tmp_path):
    raw, calls, expected = setting
    for call in range(1, calls + 1):
        folder = tmp_path / str(call)
        interrupted(folder, raw, call)
        assert_equal(finished(folder, raw), expected)


def test_a_kill_at_one_of_many_moments_changes_nothing(setting, tmp_path):
    raw, calls, expected = setting
    for call in range(2, calls + 1, 4):
        folder = tmp_path / str(call)
        interrupted(folder, raw, call, KilledError)
        assert_equal(finished(folder, raw), expected)


def test_stops_after_every_few_steps_change_nothing(setting, tmp_path):
    raw, calls, expected = setting
    stops = 0
    begun = job(tmp_path, raw, StopAt(4))
    while stops < calls:
        try:
            train(begun.job, begun.state)
            break
        except StopRequested:
            stops += 1
            begun = job(tmp_path, raw, StopAt(4))
    # A stop in the midst of an evaluation makes it begin again, so a stop every 3 steps would never end.
    assert stops >= 4
    assert_equal(begun, expected)


def test_a_damaged_newest_checkpoint_costs_only_its_updates(setting, tmp_path, caplog):
    raw, _, expected = setting
    begun = interrupted(tmp_path, raw, 11)
    newest, older = begun.job.store.stored()[::-1][:2]
    damaged = begun.job.store.folder(newest) / "training.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    caplog.set_level(logging.INFO)
    again = job(tmp_path, raw)
    assert again.state.updates == older
    assert f"{damaged.parent} is passed over: training.safetensors differs from its sum in manifest.json" in caplog.text
    train(again.job, again.state)
    assert_equal(again, expected)


SHORT = COMMON | {"max_num_batches": "6", "checkpoint_frequency_num_batches": "2"}


def test_a_resumed_job_says_where_it_goes_on(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    begun = interrupted(tmp_path, SHORT, 12)
    job(tmp_path, SHORT)
    folder = tmp_path / "checkpoints" / "checkpoint-000000005"
    assert begun.state.updates == 5
    assert f"Resuming from {folder}: update 5, epoch 1" in caplog.messages


def test_a_job_without_checkpoints_begins_anew(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    finished(tmp_path, SHORT)
    shutil.rmtree(tmp_path / "checkpoints")
    again = job(tmp_path, SHORT)
    assert again.state.updates == 0
    assert "Resuming" not in caplog.text


def test_a_stop_before_the_first_update_leaves_no_checkpoint(tmp_path):
    begun = interrupted(tmp_path, SHORT, 1)
    assert begun.state.updates == 0
    assert begun.job.store.stored() == []


def test_the_time_of_training_is_that_of_all_runs(tmp_path):
    begun = interrupted(tmp_path, SHORT, 12)
    before = begun.state.seconds
    assert before > 0
    again = job(tmp_path, SHORT)
    assert again.state.seconds == before
    train(again.job, again.state)
    assert again.state.seconds > before


def test_a_finished_job_that_is_run_again_only_ends(tmp_path, caplog):
    whole = finished(tmp_path, SHORT)
    expected = outcome(whole)
    stored = whole.job.store.stored()
    caplog.set_level(logging.INFO)
    again = finished(tmp_path, SHORT)
    assert_equal(again, expected)
    assert again.job.store.stored() == stored
    assert "Maximum # of updates (6) or epochs (None) reached." in caplog.messages
    assert not [message for message in caplog.messages if message.startswith("Checkpoint [")]


def test_raised_limits_let_a_finished_job_go_on(tmp_path):
    finished(tmp_path / "resumed", SHORT)
    longer = SHORT | {"max_num_batches": "10"}
    assert_equal(finished(tmp_path / "resumed", longer), outcome(finished(tmp_path / "whole", longer)))


def test_checkpoints_of_other_settings_are_refused(tmp_path):
    begun = interrupted(tmp_path, SHORT, 12)
    with pytest.raises(ClientError) as caught:
        job(tmp_path, SHORT | {"learning_rate": "0.2", "batch_size": "5"})
    assert str(caught.value) == (
        f"{begun.job.store.folder(5)}: the checkpoint belongs to another job: batch_size was 4 and is 5; learning_rate "
        "was 0.01 and is 0.2. Resume with the settings and data of the first run, or give the new job an empty "
        "checkpoint folder."
    )


def test_a_checkpoint_from_before_there_was_a_hyperparameter_is_gone_on_from(tmp_path):
    whole = finished(tmp_path / "whole", SHORT)
    begun = interrupted(tmp_path / "job", SHORT, 12)
    file = begun.job.store.folder(begun.job.store.newest()) / "state.json"
    values = json.loads(file.read_text())
    del values["identity"]["hyperparameters"]["label_smoothing"]
    file.write_text(json.dumps(values))
    manifest = file.with_name("manifest.json")
    sums = json.loads(manifest.read_text()) | {"state.json": hashlib.sha256(file.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(sums))
    with pytest.raises(ClientError, match=r"label_smoothing was 0\.0 and is 0\.1"):
        job(tmp_path / "job", SHORT | {"label_smoothing": "0.1"})
    again = finished(tmp_path / "job", SHORT)
    assert differing(weights_of(again), weights_of(whole)) == []


def test_checkpoints_of_other_data_are_refused(tmp_path):
    interrupted(tmp_path, SHORT, 12)
    other = {**PAIRS, "train_pairs": PAIRS["train_pairs"][:-1]}
    with pytest.raises(ClientError, match="belongs to another job: the train channel changed"):
        assemble_job(tmp_path, SHORT, **other)


def test_the_artifact_is_made_of_the_best_weights_that_are_left(tmp_path, caplog):
    whole = finished(tmp_path, SHORT)
    now = copies(dict(whole.job.model.named_parameters()))
    shutil.rmtree(whole.job.store.folder(whole.state.best_updates))
    best = copies(dict(whole.artifact().model.named_parameters()))
    assert differing(best, now) == []
    assert "The best checkpoint cannot be read: " in caplog.text
