"""What the extensions about checkpoints, precision and the loss change."""

import json
import logging
import math
from dataclasses import replace

import pytest
import torch

import container.train
from container.signals import StopSignal
from s2s_algo.errors import ClientError
from s2s_algo.training import trainer
from s2s_algo.training.loss import batch_loss
from s2s_algo.training.stopping import StoppingRule
from s2s_algo.training.trainer import train
from tests.tiny_job import (
    SOURCE_VOCABULARY,
    TARGET_VOCABULARY,
    TINY,
    TRAIN,
    VALIDATION,
    assemble_job,
    differing,
    draw_pairs,
    train_job,
    weights_of,
    write_channels,
)

# An epoch has 3 batches.
PARTS = {"train_pairs": draw_pairs(12, seed=1, longest=5)}
EPOCHS = {"bucketing_enabled": "false", "max_num_batches": "-1", "checkpoint_threshold": "100"}


def checkpoints(assembled):
    return assembled.job.store.stored()


@pytest.mark.effect_of("save_interval")
def test_a_checkpoint_is_made_after_every_so_many_epochs_and_after_the_last(jobs):
    every = jobs.train(
        EPOCHS | {"save_interval": "2", "num_epochs": "5", "cleanup_old_models": '{"keep_last_n": 9}'}, **PARTS
    )
    assert [(entry["updates"], entry["epoch"]) for entry in every.state.history] == [(6, 2), (12, 4), (15, 5)]


@pytest.mark.effect_of("save_interval", "fixed_rate_lr_half_life")
def test_the_half_life_of_a_falling_rate_counts_intervals_of_epochs(jobs):
    raw = EPOCHS | {"num_epochs": "2", "lr_scheduler_type": "fixed_rate_inv_t", "fixed_rate_lr_half_life": "2"}
    falling = jobs.assemble(raw | {"save_interval": "2", "learning_rate": "0.5"}, **PARTS)
    # Two checkpoints of two epochs of three updates.
    assert falling.job.schedule.rate(12) == pytest.approx(0.25)


@pytest.mark.effect_of("cleanup_old_models")
def test_checkpoints_are_kept_as_told(jobs, monkeypatch):
    raw = EPOCHS | {"save_interval": "1", "num_epochs": "6"}
    usual = jobs.train(raw, **PARTS)
    assert set(checkpoints(usual)) == {15, 18, usual.state.best_updates}
    kept = jobs.train(raw | {"cleanup_old_models": '{"keep_last_n": 1, "keep_best_n": 0, "keep": [2, 4]}'}, **PARTS)
    assert set(checkpoints(kept)) == {6, 12, 18, kept.state.best_updates}
    by_default = jobs.train(raw | {"cleanup_old_models": "true"}, **PARTS)
    best = sorted(by_default.state.history, key=lambda entry: entry["validation_perplexity"])[:4]
    assert set(checkpoints(by_default)) == {15, 18, *(entry["updates"] for entry in best)}


START = EPOCHS | {"save_interval": "1", "cleanup_old_models": '{"keep_last_n": 9}'}


def continued(jobs, folder, start_epoch, epochs="3"):
    jobs.passed.add("start_epoch")
    return train_job(folder, START | {"num_epochs": epochs, "start_epoch": start_epoch}, **PARTS)


@pytest.mark.effect_of("start_epoch")
def test_a_job_goes_on_from_the_epoch_it_is_told_or_from_the_newest(jobs, tmp_path):
    whole = continued(jobs, tmp_path / "whole", "auto")
    assert checkpoints(whole) == [3, 6, 9]
    again = continued(jobs, tmp_path / "whole", "auto")
    assert (again.state.updates, again.state.epoch) == (9, 3)
    third = assemble_job(tmp_path / "whole", START | {"num_epochs": "3", "start_epoch": "3"}, **PARTS)
    assert (third.state.updates, third.state.epoch) == (6, 2)
    # Nothing is lost before there is something new.
    assert checkpoints(third) == [3, 6, 9]
    train(third.job, third.state)
    assert differing(weights_of(third), weights_of(whole)) == []


@pytest.mark.effect_of("start_epoch")
def test_what_comes_later_is_removed_when_there_is_something_new(jobs, tmp_path):
    continued(jobs, tmp_path, "auto")
    again = assemble_job(tmp_path, START | {"start_epoch": "2", "num_epochs": "2"}, **PARTS)
    train(again.job, again.state)
    assert checkpoints(again) == [3, 6]


@pytest.mark.effect_of("start_epoch")
def test_a_job_that_the_platform_interrupts_does_not_go_back_again(jobs, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    continued(jobs, tmp_path, "auto")
    raw = START | {"num_epochs": "3", "start_epoch": "2"}
    job = assemble_job(tmp_path, raw, job_name="second", **PARTS)
    assert job.state.epoch == 1
    train(replace(job.job, stopping=StoppingRule(max_updates=None, max_epochs=2, min_epochs=0, patience=9)), job.state)
    assert checkpoints(job) == [3, 6]
    caplog.clear()
    restarted = assemble_job(tmp_path, raw, job_name="second", **PARTS)
    assert restarted.state.epoch == 2
    assert "start_epoch: 2 was this job's beginning; it goes on from where it was" in caplog.messages
    # Another job, or one without a name, goes back.
    assert assemble_job(tmp_path, raw, job_name="third", **PARTS).state.epoch == 1
    assert assemble_job(tmp_path, raw, **PARTS).state.epoch == 1


@pytest.mark.effect_of("start_epoch")
def test_checkpoints_of_another_course_do_not_stay(jobs, tmp_path):
    # Every epoch has three updates; those of the second run are saved at other times.
    continued(jobs, tmp_path, "auto", epochs="4")
    raw = EPOCHS | {"save_interval": "2", "num_epochs": "4", "start_epoch": "1"}
    again = train_job(tmp_path, raw, **PARTS)
    assert checkpoints(again) == [6, 12]


@pytest.mark.effect_of("start_epoch")
@pytest.mark.parametrize("damage", ["", "no JSON", "[]", "{}"])
def test_damaged_checkpoints_that_nobody_wants_do_no_harm(jobs, tmp_path, damage, caplog):
    continued(jobs, tmp_path, "auto")
    (tmp_path / "checkpoints/checkpoint-000000009/state.json").write_text(damage)
    assert assemble_job(tmp_path, START | {"start_epoch": "2"}, **PARTS).state.epoch == 1
    assert [message for message in caplog.messages if "checkpoint-000000009 is passed over: " in message]


@pytest.mark.effect_of("start_epoch")
def test_another_start_epoch_goes_back_whatever_the_name(jobs, tmp_path):
    continued(jobs, tmp_path, "auto")
    raw = START | {"num_epochs": "3"}
    job = assemble_job(tmp_path, raw | {"start_epoch": "3"}, job_name="same", **PARTS)
    train(job.job, job.state)
    assert assemble_job(tmp_path, raw | {"start_epoch": "3"}, job_name="same", **PARTS).state.epoch == 3
    assert assemble_job(tmp_path, raw | {"start_epoch": "2"}, job_name="same", **PARTS).state.epoch == 1


@pytest.mark.effect_of("start_epoch")
def test_epoch_1_starts_afresh(jobs, tmp_path, caplog):
    continued(jobs, tmp_path, "auto")
    afresh = assemble_job(tmp_path, START | {"num_epochs": "3", "start_epoch": "1"}, **PARTS)
    assert afresh.state.updates == 0
    assert (
        "start_epoch: checkpoint-000000003, checkpoint-000000006, checkpoint-000000009 will be removed from "
        f"{tmp_path / 'checkpoints'} as soon as there is a new checkpoint" in caplog.messages
    )
    train(afresh.job, afresh.state)
    assert checkpoints(afresh) == [3, 6, 9]


@pytest.mark.effect_of("start_epoch")
def test_an_epoch_without_its_checkpoint_is_refused(jobs, tmp_path):
    continued(jobs, tmp_path, "auto")
    with pytest.raises(ClientError) as error:
        continued(jobs, tmp_path, "7")
    assert str(error.value) == (
        f"start_epoch: 7 needs the checkpoint of epoch 6; {tmp_path / 'checkpoints'} has those of epochs 1, 2, 3. "
        "Choose one of them plus 1, or auto."
    )


@pytest.mark.effect_of("start_epoch")
def test_an_epoch_without_any_checkpoint_is_refused(jobs, tmp_path):
    with pytest.raises(ClientError) as error:
        continued(jobs, tmp_path, "2")
    assert str(error.value) == (
        f"start_epoch: 2 needs the checkpoint of epoch 1; {tmp_path / 'checkpoints'} has none of the end of an epoch. "
        "Begin with 1, or auto."
    )


@pytest.mark.effect_of("start_epoch")
@pytest.mark.parametrize("start_epoch", ["2", "7"])
def test_a_job_that_is_refused_keeps_its_checkpoints(jobs, tmp_path, start_epoch):
    continued(jobs, tmp_path, "auto")
    with pytest.raises(ClientError):
        assemble_job(tmp_path, START | {"learning_rate": "0.5", "start_epoch": start_epoch}, **PARTS)
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")) == [
        f"checkpoint-{updates:09}" for updates in (3, 6, 9)
    ]


def break_update(monkeypatch, number, what):
    """Makes the loss of one update, or its gradient, not finite."""
    calls = iter(range(1, 1000))

    def breaking(model, batch, label_smoothing=0.0):
        loss, totals = batch_loss(model, batch, label_smoothing)
        if next(calls) == number:
            loss = loss * math.nan if what == "loss" else loss + (loss - loss.detach()) * math.inf
        return loss, totals

    monkeypatch.setattr(trainer, "try_largest_batch", lambda job: None)
    monkeypatch.setattr(trainer, "batch_loss", breaking)


@pytest.mark.effect_of("stop_on_nonfinite_train_score")
def test_an_update_whose_loss_is_not_finite_ends_the_job(jobs, monkeypatch):
    break_update(monkeypatch, 2, "loss")
    begun = jobs.assemble({"stop_on_nonfinite_train_score": "true"})
    with pytest.raises(ClientError, match="the loss of update 2 is nan"):
        train(begun.job, begun.state)
    assert begun.state.updates == 1


@pytest.mark.effect_of("stop_on_nonfinite_train_score")
def test_or_it_is_left_out_and_counted(jobs, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    break_update(monkeypatch, 2, "loss")
    skipping = jobs.train({"stop_on_nonfinite_train_score": "false"})
    assert (skipping.state.updates, skipping.state.skipped, skipping.job.optimizer.updates) == (3, 1, 2)
    assert all(weight.isfinite().all() for weight in weights_of(skipping).values())
    assert "Update 2 is skipped, 1 so far: the loss of update 2 is nan" in caplog.text


@pytest.mark.effect_of("precision")
def test_bfloat16_computes_with_fewer_digits_and_keeps_all_of_the_weights(jobs):
    usual, mixed = jobs.train({}), jobs.train({"precision": "bfloat16"})
    ours, theirs = weights_of(mixed), weights_of(usual)
    assert {weight.dtype for weight in ours.values()} == {torch.float32}
    assert differing(ours, theirs)
    # Three updates of Adam, each of at most about the learning rate.
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=0.061, rtol=0)
    assert mixed.state.history[-1]["train_perplexity"] == pytest.approx(
        usual.state.history[-1]["train_perplexity"], rel=0.02
    )
    assert differing(weights_of(jobs.train({"precision": "float32"})), theirs) == []


@pytest.mark.effect_of("label_smoothing")
def test_smoothed_labels_ask_for_a_little_of_every_token(jobs):
    smoothing = 0.3
    smoothed, usual = (jobs.assemble(raw) for raw in ({"label_smoothing": str(smoothing)}, {}))
    assert smoothed.job.label_smoothing == smoothing
    batch = usual.job.train_data.collate(usual.job.train_data.plan(0)[0])
    model = usual.job.model
    loss, totals = batch_loss(model, batch, smoothing)
    logprob = model.output_layer(model(batch.source, batch.source_length, batch.target_in)).double().log_softmax(-1)
    tokens = logprob.shape[-1]
    wanted = torch.full_like(logprob, smoothing / (tokens - 1))
    wanted.scatter_(-1, batch.target_label[..., None], 1 - smoothing)
    real = batch.target_label != 0
    assert loss.item() == pytest.approx(-(wanted * logprob).sum(-1)[real].mean().item(), rel=1e-5)
    # Perplexity and accuracy are those of the real labels.
    assert totals == batch_loss(model, batch)[1]
    train(smoothed.job, smoothed.state)
    train(usual.job, usual.state)
    assert differing(weights_of(smoothed), weights_of(usual))


@pytest.mark.effect_of("processes")
@pytest.mark.parametrize(("raw", "launched"), [({}, []), ({"processes": "1"}, []), ({"processes": "3"}, [3])])
def test_several_processes_are_launched_where_they_are_asked_for(raw, launched, tmp_path, monkeypatch):
    # tests/contract/train/test_processes.py trains with real ones.
    data = tmp_path / "input/data"
    write_channels(data, TRAIN, VALIDATION)
    (data / "vocab").mkdir()
    SOURCE_VOCABULARY.save(data / "vocab/vocab.src.json")
    TARGET_VOCABULARY.save(data / "vocab/vocab.trg.json")
    (tmp_path / "input/config").mkdir()
    (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps(TINY | raw))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    asked, alone = [], []
    monkeypatch.setattr(container.train, "launch", lambda paths, hosts, processes, *others: asked.append(processes))
    monkeypatch.setattr(container.train, "work", lambda *arguments, **options: alone.append(True))
    monkeypatch.setattr(container.train, "local_gpus", lambda: 0)
    container.train.run(StopSignal())
    assert (asked, alone) == (launched, [] if launched else [True])
