"""The training loop: what it does, in which order, and how it ends."""

import contextlib
import itertools
import logging
import math
import re

import pytest
import torch

from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.training import trainer
from s2s_algo.training.loss import Totals, batch_loss
from s2s_algo.training.progress import Progress
from s2s_algo.training.schedules import PlateauReduce
from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import StopRequested
from s2s_algo.training.trainer import train, try_largest_batch
from s2s_algo.training.validation import BleuSample
from tests.tiny_job import (
    TRAIN,
    assemble_job,
    copies,
    differing,
    script_validation,
    train_job,
    weights_of,
)


def spy(monkeypatch, owner, name, before):
    """Tells ``before`` of every call."""
    wrapped = getattr(owner, name)

    def call(*args, **kwargs):
        before(*args, **kwargs)
        return wrapped(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


def break_loss(monkeypatch, update, loss):
    """Puts another loss in place of that of an update."""
    calls = []

    def broken(model, batch, label_smoothing):
        calls.append(None)
        real, totals = batch_loss(model, batch, label_smoothing)
        return (loss(real), totals) if len(calls) == update else (real, totals)

    monkeypatch.setattr(trainer, "try_largest_batch", lambda job: None)
    monkeypatch.setattr(trainer, "batch_loss", broken)


# Updates


def test_an_update_is_one_step_from_the_gradient_of_its_batch(tmp_path):
    assembled = train_job(tmp_path / "job", {"max_num_batches": "1"})
    by_hand = assemble_job(tmp_path / "by hand").job
    by_hand.model.train()
    batch = by_hand.train_data.collate(by_hand.train_data.plan(0)[0])
    batch_loss(by_hand.model, batch)[0].backward()
    by_hand.optimizer.step(0.01)
    assert differing(weights_of(assembled), copies(dict(by_hand.model.named_parameters()))) == []


def test_every_epoch_trains_on_every_pair_exactly_once(tmp_path, monkeypatch):
    assembled = assemble_job(tmp_path, {"max_num_batches": "-1", "max_num_epochs": "3"})
    trained = []
    spy(
        monkeypatch,
        trainer,
        "update",
        lambda job, state, planned: trained.append((state.epoch, planned.pairs.tolist())),
    )
    train(assembled.job, assembled.state)
    for epoch in range(3):
        pairs = [pair for when, batch in trained if when == epoch for pair in batch]
        assert sorted(pairs) == list(range(len(TRAIN)))
    assert (assembled.state.epoch, assembled.state.position) == (3, 0)
    assert assembled.state.updates == len(trained)
    assert assembled.state.samples == 3 * len(TRAIN)


def test_epochs_have_orders_of_their_own(tmp_path, monkeypatch):
    trained = []
    spy(
        monkeypatch,
        trainer,
        "update",
        lambda job, state, planned: trained.append((state.epoch, planned.pairs.tolist())),
    )
    train_job(tmp_path, {"max_num_batches": "-1", "max_num_epochs": "2"})
    first, second = ([batch for when, batch in trained if when == epoch] for epoch in (0, 1))
    assert first != second


def test_updates_train_and_validation_does_not(tmp_path, monkeypatch):
    modes = []
    monkeypatch.setattr(trainer, "try_largest_batch", lambda job: None)
    spy(monkeypatch, trainer, "batch_loss", lambda model, *_: modes.append(("update", model.training)))
    spy(monkeypatch, trainer, "evaluate", lambda model, *_: modes.append(("checkpoint", model.training)))
    monkeypatch.setattr(
        BleuSample, "score", lambda self, *_: modes.append(("bleu", self.translator.model.training)) or 0.5
    )
    train_job(tmp_path, {"checkpoint_frequency_num_batches": "1", "max_num_batches": "2", "bleu_sample_size": "3"})
    # Validation itself turns training off.
    assert modes == [("update", True), ("checkpoint", True), ("bleu", False)] * 2


def test_equal_jobs_give_equal_weights(tmp_path):
    raw = {"embed_dropout_source": "0.5"}
    first, second = train_job(tmp_path / "a", raw), train_job(tmp_path / "b", raw)
    assert differing(weights_of(first), weights_of(second)) == []


# Checkpoints


def test_a_checkpoint_scores_then_judges_then_saves(tmp_path, monkeypatch):
    verbs = []
    spy(monkeypatch, trainer, "update", lambda *_: verbs.append("update"))
    spy(monkeypatch, trainer, "evaluate", lambda *_: verbs.append("evaluate"))
    spy(monkeypatch, BleuSample, "score", lambda *_: verbs.append("BLEU"))
    spy(monkeypatch, PlateauReduce, "after_checkpoint", lambda *_: verbs.append("schedule"))
    spy(monkeypatch, CheckpointStore, "save", lambda self, updates, _: verbs.append(f"save {updates}"))
    spy(monkeypatch, CheckpointStore, "retain", lambda self, keep: verbs.append(f"retain {sorted(keep)}"))
    spy(monkeypatch, Progress, "updated", lambda *_: verbs.append("hear of an update"))
    spy(
        monkeypatch, Progress, "working", lambda self, what, done, total: verbs.append(f"hear of {what} {done}/{total}")
    )
    spy(monkeypatch, Progress, "resumed", lambda *_: verbs.append("hear of the end"))
    train_job(tmp_path, {"checkpoint_frequency_num_batches": "2", "max_num_batches": "2", "bleu_sample_size": "3"})
    assert verbs == [
        *["update", "hear of an update"] * 2,
        "evaluate",
        *["hear of validating 0/2", "hear of validating 1/2"],
        "BLEU",
        "hear of translating for BLEU 0/3",
        *["schedule", "save 2", "retain [2]"],
        "hear of the end",
    ]


def test_a_checkpoint_holds_its_own_verdict(tmp_path, monkeypatch):
    script_validation(monkeypatch, [5, 6])
    raw = {
        "checkpoint_frequency_num_batches": "2",
        "max_num_batches": "4",
        "plateau_reduce_lr_threshold": "1",
        "checkpoint_threshold": "9",
    }
    store = train_job(tmp_path, raw).job.store
    first, second = (store.load(updates).values for updates in (2, 4))
    assert (first["state"]["checkpoint"], first["state"]["not_improved"], first["schedule"]["rate"]) == (1, 0, 0.01)
    assert (second["state"]["checkpoint"], second["state"]["not_improved"], second["schedule"]["rate"]) == (2, 1, 0.005)
    assert first["state"]["totals"]["tokens"] == second["state"]["totals"]["tokens"] == 0


@pytest.mark.parametrize(("frequency", "expected"), [("4", [4, 8, 12]), ("5", [5, 10, 12]), ("12", [12]), ("99", [12])])
def test_the_last_update_always_has_one_checkpoint(tmp_path, frequency, expected):
    state = train_job(tmp_path, {"checkpoint_frequency_num_batches": frequency, "max_num_batches": "12"}).state
    assert [entry["updates"] for entry in state.history] == expected
    assert [entry["checkpoint"] for entry in state.history] == list(range(1, len(expected) + 1))


def test_a_last_epoch_that_ends_out_of_turn_has_a_checkpoint(tmp_path):
    raw = {"checkpoint_frequency_num_batches": "3", "max_num_batches": "-1", "max_num_epochs": "1"}
    state = train_job(tmp_path, raw).state
    assert state.updates % 3
    assert state.history[-1]["updates"] == state.updates


@pytest.mark.parametrize(
    ("raw", "scores"),
    [
        ({"optimized_metric": "perplexity"}, {"perplexities": [1e9]}),
        ({"optimized_metric": "accuracy"}, {"accuracies": [0.0]}),
        ({"optimized_metric": "bleu"}, {}),
    ],
)
def test_the_first_checkpoint_is_an_improvement_however_bad(tmp_path, monkeypatch, raw, scores):
    script_validation(monkeypatch, **scores)
    monkeypatch.setattr(BleuSample, "score", lambda *_: 0.0)
    state = train_job(tmp_path, raw | {"checkpoint_frequency_num_batches": "1", "max_num_batches": "2"}).state
    assert [entry["improved"] for entry in state.history] == [True, False]
    assert (state.best_checkpoint, state.best_updates, state.not_improved) == (1, 1, 1)


def test_the_best_checkpoint_is_the_first_of_equals(tmp_path, monkeypatch):
    script_validation(monkeypatch, [5, 3, 4, 2, 2])
    raw = {"checkpoint_frequency_num_batches": "2", "max_num_batches": "10", "checkpoint_threshold": "9"}
    state = train_job(tmp_path, raw).state
    assert [entry["improved"] for entry in state.history] == [True, True, False, True, False]
    assert (state.best_checkpoint, state.best_updates, state.not_improved) == (4, 8, 1)
    assert state.best_score == pytest.approx(2)


def test_misses_are_counted_from_the_last_improvement(tmp_path, monkeypatch):
    script_validation(monkeypatch, [5, 6, 7, 4, 5])
    raw = {"checkpoint_frequency_num_batches": "1", "max_num_batches": "5"}
    misses = []
    spy(monkeypatch, trainer, "save", lambda job, state: misses.append(state.not_improved))
    train_job(tmp_path, raw)
    assert misses == [0, 1, 2, 0, 1]


def test_the_newest_two_checkpoints_and_the_best_are_kept(tmp_path, monkeypatch):
    script_validation(monkeypatch, [5, 3, 4, 4, 4])
    raw = {"checkpoint_frequency_num_batches": "2", "max_num_batches": "10", "checkpoint_threshold": "9"}
    assert train_job(tmp_path, raw).job.store.stored() == [4, 8, 10]


def test_the_artifact_holds_the_weights_of_the_best_checkpoint(tmp_path, monkeypatch):
    script_validation(monkeypatch, [5, 3, 4])
    raw = {"checkpoint_frequency_num_batches": "2", "max_num_batches": "6"}
    artifact = train_job(tmp_path / "long", raw).artifact()
    best = train_job(tmp_path / "short", raw | {"max_num_batches": "4"})
    assert differing(dict(artifact.model.named_parameters()), weights_of(best)) == []
    assert artifact.training["best_checkpoint"] == 2
    assert artifact.training["updates"] == 6


def test_the_history_tells_of_the_updates_since_the_last_checkpoint(tmp_path, monkeypatch):
    totals = []
    real = trainer.update

    def update(job, state, planned):
        totals.append(real(job, state, planned))
        return totals[-1]

    monkeypatch.setattr(trainer, "update", update)
    raw = {"checkpoint_frequency_num_batches": "3", "max_num_batches": "5", "lr_scheduler_type": "fixed_rate_inv_t"}
    history = train_job(tmp_path, raw).state.history
    for entry, part in zip(history, (totals[:3], totals[3:]), strict=True):
        tokens = sum(total.tokens for total in part)
        likelihood = sum(total.negative_log_likelihood for total in part)
        assert entry["train_perplexity"] == pytest.approx(math.exp(likelihood / tokens))
        assert entry["train_accuracy"] == pytest.approx(sum(total.correct for total in part) / tokens)
    # The rate of the last update before each.
    assert [entry["learning_rate"] for entry in history] == [0.01 / (1 + update / 30) for update in (3, 5)]
    assert history[0].keys() == {
        "checkpoint",
        "updates",
        "epoch",
        "seconds",
        "learning_rate",
        "train_perplexity",
        "train_accuracy",
        "validation_perplexity",
        "validation_accuracy",
        "improved",
    }


def test_bleu_is_in_the_history_if_it_is_computed(tmp_path):
    (entry,) = train_job(tmp_path, {"bleu_sample_size": "2"}).state.history
    assert 0 <= entry["validation_bleu"] <= 1


def test_the_log_tells_all_of_a_checkpoint_and_of_the_end(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "s2s_algo.training.trainer")
    script_validation(monkeypatch, [5, 6, 5.5], [0.25])
    raw = {"checkpoint_frequency_num_batches": "2", "max_num_batches": "-1", "checkpoint_threshold": "2"}
    train_job(tmp_path, raw)
    times = r"Time-cost=\d+\.\d{3}$"
    messages = [record.getMessage() for record in caplog.records if record.name == trainer.__name__]
    lines = [re.sub(times, "Time-cost=T", line) for line in messages]
    lines = [re.sub(r"Train-(\w+)=[\d.]+$", r"Train-\1=X", line) for line in lines]
    assert lines == [
        "Training started.",
        "Checkpoint [1]\tUpdates=2 Epoch=0 Samples=7 Time-cost=T",
        "Checkpoint [1]\tTrain-perplexity=X",
        "Checkpoint [1]\tTrain-accuracy=X",
        "Checkpoint [1]\tValidation-perplexity=5.000000",
        "Checkpoint [1]\tValidation-accuracy=0.250000",
        "#quality_metric: host=algo-1, epoch=0, validation perplexity <loss>=5.000000",
        "#quality_metric: host=algo-1, epoch=0, validation accuracy <score>=0.250000",
        "Validation-perplexity improved to 5.000000.",
        "Checkpoint [2]\tUpdates=4 Epoch=1 Samples=14 Time-cost=T",
        "Checkpoint [2]\tTrain-perplexity=X",
        "Checkpoint [2]\tTrain-accuracy=X",
        "Checkpoint [2]\tValidation-perplexity=6.000000",
        "Checkpoint [2]\tValidation-accuracy=0.250000",
        "#quality_metric: host=algo-1, epoch=1, validation perplexity <loss>=6.000000",
        "#quality_metric: host=algo-1, epoch=1, validation accuracy <score>=0.250000",
        "Validation-perplexity has not improved, best so far: 5.000000",
        "Model has not improved for 1 checkpoints",
        "Checkpoint [3]\tUpdates=6 Epoch=1 Samples=21 Time-cost=T",
        "Checkpoint [3]\tTrain-perplexity=X",
        "Checkpoint [3]\tTrain-accuracy=X",
        "Checkpoint [3]\tValidation-perplexity=5.500000",
        "Checkpoint [3]\tValidation-accuracy=0.250000",
        "#quality_metric: host=algo-1, epoch=1, validation perplexity <loss>=5.500000",
        "#quality_metric: host=algo-1, epoch=1, validation accuracy <score>=0.250000",
        "Validation-perplexity has not improved, best so far: 5.000000",
        "Model has not improved for 2 checkpoints",
        "Maximum number of not improved checkpoints (2) reached: 2",
        "Training finished. Best checkpoint: 1. Best validation perplexity: 5.000000",
    ]


def test_the_log_says_when_the_least_number_of_epochs_holds_patience_back(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "s2s_algo.training.trainer")
    script_validation(monkeypatch, [5])
    raw = {
        "checkpoint_frequency_num_batches": "2",
        "max_num_batches": "-1",
        "checkpoint_threshold": "1",
        "min_num_epochs": "2",
    }
    assert train_job(tmp_path, raw).state.epoch == 2
    # There are 4 updates in an epoch, and a miss after the updates 4, 6 and 8, with the last of which it is reached.
    waits = [message for message in caplog.messages if message.startswith("Minimum number of epochs (2) not reached")]
    assert [wait[-3:] for wait in waits] == [": 1", ": 1"]


def test_the_log_says_nothing_of_epochs_that_are_reached(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "s2s_algo.training.trainer")
    script_validation(monkeypatch, [5])
    raw = {
        "checkpoint_frequency_num_batches": "2",
        "max_num_batches": "-1",
        "checkpoint_threshold": "2",
        "min_num_epochs": "1",
    }
    # The second miss comes after 6 updates, in the midst of the second epoch.
    assert train_job(tmp_path, raw).state.updates == 6
    assert "Minimum number of epochs" not in caplog.text


# A loss that is not finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_job_before_its_update(tmp_path, monkeypatch, value):
    break_loss(monkeypatch, 3, lambda loss: loss + value)
    raw = {"checkpoint_frequency_num_batches": "2", "max_num_batches": "9"}
    assembled = assemble_job(tmp_path / "broken", raw)
    with pytest.raises(ClientError) as caught:
        train(assembled.job, assembled.state)
    assert str(caught.value) == (
        f"the loss of update 3 is {value}; all weights and gradients are finite. Training has diverged: lower "
        "learning_rate, or set clip_gradient to a positive value."
    )
    monkeypatch.undo()
    before = train_job(tmp_path / "before", raw | {"max_num_batches": "2"})
    assert differing(weights_of(assembled), weights_of(before)) == []
    assert assembled.state.updates == assembled.job.optimizer.updates == 2
    assert assembled.job.store.stored() == [2]
    assert differing(dict(assembled.artifact().model.named_parameters()), weights_of(before)) == []


def test_gradients_that_are_not_finite_are_named(tmp_path, monkeypatch):
    break_loss(monkeypatch, 1, lambda loss: loss * math.inf)
    assembled = assemble_job(tmp_path)
    with pytest.raises(
        ClientError, match=r"is inf; not finite first: the gradient of source_embedding\.weight, the gradient of "
    ):
        train(assembled.job, assembled.state)


def test_weights_that_are_not_finite_are_named_before_gradients(tmp_path, monkeypatch):
    assembled = assemble_job(tmp_path)
    weights = dict(assembled.job.model.named_parameters())
    with torch.no_grad():
        weights["output_layer.bias"][3] = math.nan
    with pytest.raises(
        ClientError, match=r"update 1 is nan; not finite first: output_layer\.bias\. Training has diverged"
    ):
        train(assembled.job, assembled.state)


def test_a_job_that_diverges_by_itself_ends_so(tmp_path):
    raw = {"optimizer_type": "sgd", "learning_rate": "100", "clip_gradient": "-1", "weight_decay": "1"}
    assembled = assemble_job(tmp_path, raw | {"max_num_batches": "500"})
    with pytest.raises(
        ClientError, match=r"the loss of update \d+ is (inf|nan); .+\. Training has diverged: lower learning_rate"
    ):
        train(assembled.job, assembled.state)
    assert assembled.state.updates < 500


# The loss of an update, or its gradient alone.
BROKEN = pytest.mark.parametrize(
    ("break_it", "what"),
    [
        (lambda loss: loss * math.nan, r"the loss of update 2 is nan; not finite first: the gradient of "),
        (
            lambda loss: loss + ((loss - loss.detach()) ** 2).sqrt(),
            r"the gradient of update 2 is not finite; not finite first: the gradient of ",
        ),
    ],
    ids=["loss", "gradient"],
)
SIX = {"max_num_batches": "6", "checkpoint_frequency_num_batches": "3", "embed_dropout_source": "0.3"}


@BROKEN
def test_what_is_not_finite_ends_the_job_with_the_weights_before(tmp_path, monkeypatch, break_it, what):
    break_loss(monkeypatch, 2, break_it)
    assembled = assemble_job(tmp_path / "broken", SIX)
    with pytest.raises(ClientError, match=what):
        train(assembled.job, assembled.state)
    monkeypatch.undo()
    before = train_job(tmp_path / "before", SIX | {"max_num_batches": "1"})
    assert differing(weights_of(assembled), weights_of(before)) == []
    assert (assembled.state.updates, assembled.state.skipped) == (1, 0)


@BROKEN
def test_or_its_update_is_left_out_if_the_job_shall_go_on(tmp_path, monkeypatch, caplog, break_it, what):
    caplog.set_level(logging.WARNING, trainer.__name__)
    break_loss(monkeypatch, 2, break_it)
    assembled = assemble_job(tmp_path / "broken", SIX | {"stop_on_nonfinite_train_score": "false"})
    weights = []
    spy(monkeypatch, trainer, "update", lambda *_: weights.append(weights_of(assembled)))
    train(assembled.job, assembled.state)
    # Only that update changed nothing, and it took its place among the others.
    changes = [bool(differing(one, other)) for one, other in itertools.pairwise(weights)]
    assert changes == [True, False, True, True, True]
    assert (assembled.state.updates, assembled.state.skipped) == (6, 1)
    assert assembled.job.optimizer.updates == 5
    assert [entry["updates"] for entry in assembled.state.history] == [3, 6]
    assert re.match(r"Update 2 is skipped, 1 so far: " + what, caplog.messages[0])
    # It counts for no metric, though its pairs were seen.
    first = assembled.state.history[0]
    assert math.isfinite(first["train_perplexity"])
    monkeypatch.undo()
    whole = train_job(tmp_path / "whole", SIX)
    assert assembled.state.samples == whole.state.samples
    assert assembled.job.store.load(6).values["state"]["skipped"] == 1


def test_validation_that_is_not_finite_ends_the_job_and_saves_nothing(tmp_path, monkeypatch):
    script_validation(monkeypatch, [5, math.nan])
    assembled = assemble_job(tmp_path, {"checkpoint_frequency_num_batches": "2", "max_num_batches": "9"})
    with pytest.raises(ClientError, match="the validation loss after update 4 is not finite"):
        train(assembled.job, assembled.state)
    assert assembled.job.store.stored() == [2]
    assert assembled.state.checkpoint == assembled.state.best_checkpoint == 1


# The trial of the largest batch


def test_the_trial_changes_nothing(tmp_path):
    raw = {"embed_dropout_source": "0.5", "rnn_decoder_hidden_dropout": "0.5"}
    assembled = assemble_job(tmp_path, raw)
    before = weights_of(assembled), copies(assembled.job.optimizer.state())
    try_largest_batch(assembled.job)
    assert differing(weights_of(assembled), before[0]) == []
    assert differing(assembled.job.optimizer.state(), before[1]) == []
    assert all(parameter.grad is None for parameter in assembled.job.model.parameters())
    assert assembled.state == TrainState()
    assert assembled.job.optimizer.updates == 0


def test_a_job_learns_the_same_without_the_trial(tmp_path, monkeypatch):
    raw = {"embed_dropout_source": "0.5"}
    tried = train_job(tmp_path / "tried", raw)
    monkeypatch.setattr(trainer, "try_largest_batch", lambda job: None)
    assert differing(weights_of(tried), weights_of(train_job(tmp_path / "untried", raw))) == []


def test_the_trial_comes_first_and_is_all_that_can_need_most_memory(tmp_path, monkeypatch):
    """Training on each of the largest batches, validating the largest, and a search for the longest sentences."""
    # Four short pairs have most tokens, a single long one most cells of attention.
    pairs = [([4] * 3, [4] * 3)] * 4 + [([4] * 9, [4] * 9)]
    raw = {"max_num_batches": "1", "max_seq_len_source": "9", "max_seq_len_target": "9", "bucket_width": "4"}
    raw |= {"bleu_sample_size": "3", "batch_size": "4"}
    seen = []

    def look(model, batch, *_):
        seen.append(("training" if model.training else "validation", batch.source.shape, torch.is_grad_enabled()))

    def look_at_search(self, sources, options=None):
        seen.append(("search", [len(source) for source in sources], self.model.training))

    spy(monkeypatch, trainer, "batch_loss", look)
    spy(monkeypatch, Translator, "translate", look_at_search)
    spy(monkeypatch, torch.Tensor, "backward", lambda loss: seen.append("backward"))
    spy(monkeypatch, trainer, "update", lambda *_: seen.append("update"))
    assembled = assemble_job(tmp_path, raw, train_pairs=pairs)
    assembled.job.model.eval()
    train(assembled.job, assembled.state)
    training, validation = (
        [(len(planned.pairs), planned.bucket.source) for planned in data.largest()]
        for data in (assembled.job.train_data, assembled.job.validation_data)
    )
    assert len(training) == 2
    lengths = [len(source) for source in assembled.job.bleu.sources]
    assert seen[: seen.index("update")] == [
        *[("training", training[0], True), "backward", ("training", training[1], True), "backward"],
        *[("validation", shape, False) for shape in validation],
        ("search", lengths, False),
    ]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 4294967296 bytes"
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lack_of_memory_is_a_client_error_that_says_what_to_lower(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    assembled = assemble_job(tmp_path, {"bucketing_enabled": "false", "max_seq_len_source": "9"})
    monkeypatch.setattr(trainer, "batch_loss", fail)
    with pytest.raises(ClientError) as caught:
        train(assembled.job, assembled.state)
    assert str(caught.value) == (
        "a batch of 4 pairs of up to 9 source and 101 target tokens does not fit in memory. Lower batch_size, "
        "max_seq_len_source, max_seq_len_target or the sizes of the model."
    )
    assert assembled.state.updates == 0


@pytest.mark.parametrize("work", ["batch_loss", "translate"])
def test_a_lack_of_memory_in_an_evaluation_shows_before_training_too(tmp_path, monkeypatch, work):
    def fail_in_evaluation(model, *rest):
        if not model.training:
            raise MemoryError
        return batch_loss(model, *rest)

    def fail(*_):
        raise MemoryError

    assembled = assemble_job(tmp_path, {"bleu_sample_size": "3"})
    if work == "batch_loss":
        monkeypatch.setattr(trainer, "batch_loss", fail_in_evaluation)
        (largest, *_) = assembled.job.validation_data.largest()
        shape = "{} pairs of up to {} source and {} target tokens".format(len(largest.pairs), *largest.bucket)
        reason = f"a batch of {shape} does not fit in memory. Lower batch_size, "
    else:
        monkeypatch.setattr(Translator, "translate", fail)
        reason = "translating the longest validation sentences for BLEU does not fit in memory. Lower beam_size, "
    with pytest.raises(ClientError) as caught:
        train(assembled.job, assembled.state)
    assert str(caught.value).startswith(reason)
    assert assembled.state.updates == 0


def test_other_errors_of_the_trial_stay_what_they_are(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    assembled = assemble_job(tmp_path)
    monkeypatch.setattr(trainer, "batch_loss", fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(assembled.job, assembled.state)


# A stop


class StopAt:
    def __init__(self, call):
        self.call = call

    def __call__(self):
        self.call -= 1
        return self.call == 0


@pytest.mark.parametrize(
    ("call", "updates", "evaluated"),
    [
        pytest.param(2, 1, 0, id="between updates"),
        pytest.param(3, 2, 0, id="at the beginning of validation"),
        pytest.param(4, 2, 0, id="in validation"),
        pytest.param(5, 2, 0, id="in BLEU"),
        pytest.param(6, 2, 2, id="right after a checkpoint"),
        pytest.param(7, 3, 2, id="some time after a checkpoint"),
    ],
)
def test_a_stop_leaves_a_checkpoint_of_the_last_update(tmp_path, call, updates, evaluated):
    raw = {"checkpoint_frequency_num_batches": "2", "max_num_batches": "9", "bleu_sample_size": "2"}
    assembled = assemble_job(tmp_path, raw, stop_requested=StopAt(call))
    # Validation asks before each of its 2 batches.
    assert len(assembled.job.validation_data.plan_in_order()) == 2
    with pytest.raises(StopRequested):
        train(assembled.job, assembled.state)
    assert assembled.job.store.newest() == updates
    saved = assembled.job.store.load(updates)
    assert (saved.values["state"]["updates"], saved.values["state"]["evaluated_updates"]) == (updates, evaluated)
    assert differing(saved.weights, weights_of(assembled)) == []


def test_a_stop_before_the_first_update_saves_nothing(tmp_path):
    assembled = assemble_job(tmp_path, stop_requested=StopAt(1))
    with pytest.raises(StopRequested):
        train(assembled.job, assembled.state)
    assert assembled.job.store.stored() == []


def test_only_the_trial_can_be_interrupted_anywhere(tmp_path, monkeypatch):
    seen = []

    @contextlib.contextmanager
    def interruptible():
        seen.append("begin")
        yield
        seen.append("end")

    spy(monkeypatch, trainer, "try_largest_batch", lambda *_: seen.append("trial"))
    spy(monkeypatch, trainer, "update", lambda *_: seen.append("update"))
    assembled = assemble_job(tmp_path, {"max_num_batches": "1"})
    train(assembled.job, assembled.state, interruptible())
    assert seen == ["begin", "trial", "end", "update"]


def test_a_stop_in_the_trial_of_a_resumed_job_leaves_its_checkpoint(tmp_path, monkeypatch):
    whole = train_job(tmp_path)
    before = whole.job.store.load(3)
    again = assemble_job(tmp_path, {"max_num_batches": "5"})

    def interrupt(*_):
        raise StopRequested

    monkeypatch.setattr(trainer, "try_largest_batch", interrupt)
    monkeypatch.setattr(trainer, "save", lambda *_: pytest.fail("saved again"))
    with pytest.raises(StopRequested):
        train(again.job, again.state)
    assert again.state.updates == 3
    assert differing(again.job.store.load(3).weights, before.weights) == []


def test_a_stop_before_the_first_checkpoint_makes_an_artifact_of_the_weights_as_they_are(tmp_path):
    assembled = assemble_job(tmp_path, stop_requested=StopAt(3))
    with pytest.raises(StopRequested):
        train(assembled.job, assembled.state)
    before = weights_of(assembled)
    artifact = assembled.artifact()
    assert differing(dict(artifact.model.named_parameters()), before) == []
    assert (artifact.training["updates"], artifact.training["best_checkpoint"]) == (2, 0)
    assert artifact.training["best_score"] is None


def test_totals_of_a_new_interval_are_empty(tmp_path):
    state = train_job(tmp_path, {"checkpoint_frequency_num_batches": "3"}).state
    assert state.totals == Totals()
