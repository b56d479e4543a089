"""A job as tensors and JSON, and what makes two runs the same job."""

import json
import re
from pathlib import Path

import pytest
import torch

from s2s_algo.checkpoints.store import Snapshot
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from s2s_algo.training.optimizers import OptimizerConfig, build_optimizer
from s2s_algo.training.schedules import InverseTime, PlateauReduce
from s2s_algo.training.snapshot import CHANGEABLE, JobIdentity, restore, take_snapshot
from s2s_algo.training.state import TrainState
from tests.tiny_job import copies, differing
from tests.unit.small_model import small_model

DATA = {"source vocabulary": "abc", "train channel": "5 pairs, 9 source tokens"}
WHERE = "/opt/ml/checkpoints/checkpoint-000000007"


def identity(data=DATA, **hyperparameters):
    return JobIdentity(Hyperparameters(**hyperparameters).model_dump(mode="json"), data)


def as_read(own):
    """An identity as it comes out of a checkpoint."""
    return json.loads(json.dumps(own.to_json()))


INFERENCE = InferenceConfig(
    beam_size=3, limits=LengthLimits(max_input_length=9, ratio_mean=1.1, ratio_std=0.3, max_output_length=8)
)


class Parts:
    """What a snapshot is taken of."""

    def __init__(self, seed=0, optimizer="adam", identity=None, schedule=None):
        self.model = small_model(seed=seed)
        self.optimizer = build_optimizer(self.model, OptimizerConfig(type=optimizer))
        self.schedule = schedule or PlateauReduce(0.1, 0.5, 1)
        self.identity = identity or JobIdentity({"batch_size": 4}, DATA)

    def update(self):
        for parameter in self.model.parameters():
            parameter.grad = torch.rand_like(parameter)
        self.optimizer.step(0.1)

    def taken(self, state):
        """A snapshot that went through a file."""
        snapshot = take_snapshot(self.model, self.optimizer, self.schedule, state, self.identity, INFERENCE)
        values = json.loads(json.dumps(snapshot.values))
        return Snapshot(copies(snapshot.weights), copies(snapshot.training), values)

    def put_back(self, snapshot):
        return restore(snapshot, self.model, self.optimizer, self.schedule, self.identity, WHERE)

    def tensors(self):
        return copies(dict(self.model.named_parameters()) | self.optimizer.state())


def test_a_snapshot_says_how_the_model_translates():
    assert InferenceConfig.model_validate(Parts().taken(TrainState()).values["inference"]) == INFERENCE


def test_equal_jobs_do_not_differ():
    own = identity(batch_size=32, rnn_cell_type="gru")
    assert own.differences(as_read(own)) == []


def test_every_changed_hyperparameter_is_named_with_both_values():
    before = identity(batch_size=32, momentum=None, optimizer_type="sgd")
    now = identity(batch_size=16, momentum=0.5, optimizer_type="sgd")
    assert now.differences(as_read(before)) == ["batch_size was 32 and is 16", "momentum was None and is 0.5"]


def test_what_was_added_after_a_checkpoint_was_made_counts_as_its_default_there():
    defaults = Hyperparameters().model_dump(mode="json")
    before = as_read(identity(batch_size=32))
    for added in ("label_smoothing", "precision"):
        del before["hyperparameters"][added]
    for values, expected in (
        ({}, []),
        ({"label_smoothing": 0.1}, ["label_smoothing was 0.0 and is 0.1"]),
        ({"batch_size": 16}, ["batch_size was 32 and is 16"]),
    ):
        now = JobIdentity(identity(**{"batch_size": 32, **values}).hyperparameters, DATA, defaults)
        assert now.differences(before) == expected


def test_a_checkpoint_keeps_no_defaults():
    own = JobIdentity({"batch_size": 4}, DATA, defaults={"batch_size": 64})
    assert Parts(identity=own).taken(TrainState()).values["identity"] == as_read(own)


@pytest.mark.parametrize("name", Hyperparameters.model_fields)
def test_limits_and_what_is_no_part_of_learning_alone_may_change(name):
    own = identity()
    other = JobIdentity({**own.hyperparameters, name: "another value"}, DATA)
    limits = ["max_num_batches", "checkpoint_threshold", "max_num_epochs", "num_epochs", "min_num_epochs"]
    beside = ["start_epoch", "cleanup_old_models", "stop_on_nonfinite_train_score", "processes"]
    assert bool(other.differences(as_read(own))) == (name not in limits + beside)


def test_the_documentation_names_what_may_change():
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    rows = [line for line in page.splitlines() if "| the new one" in line]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(CHANGEABLE)


def test_only_hyperparameters_are_changeable():
    assert Hyperparameters.model_fields.keys() >= CHANGEABLE


@pytest.mark.parametrize("name", DATA)
def test_other_data_is_named(name):
    own = identity()
    other = JobIdentity(own.hyperparameters, {**DATA, name: "something else"})
    assert other.differences(as_read(own)) == [f"the {name} changed"]


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_snapshot_brings_back_everything(optimizer):
    before, state = Parts(optimizer=optimizer), TrainState(updates=2, epoch=1, best_score=0.5)
    before.update()
    before.update()
    before.schedule.after_checkpoint(False)
    snapshot, expected = before.taken(state), before.tensors()

    after = Parts(seed=1, optimizer=optimizer)
    assert differing(after.tensors(), expected)
    assert after.put_back(snapshot) == state
    assert differing(after.tensors(), expected) == []
    assert after.optimizer.updates == 2
    assert after.schedule.rate(3) == 0.05


def test_another_job_is_refused_before_anything_changes():
    snapshot = Parts(identity=JobIdentity({"batch_size": 4}, DATA)).taken(TrainState())
    other = Parts(seed=1, identity=JobIdentity({"batch_size": 8}, {**DATA, "train channel": "6 pairs"}))
    before = other.tensors()
    with pytest.raises(ClientError) as caught:
        other.put_back(snapshot)
    assert str(caught.value) == (
        f"{WHERE}: the checkpoint belongs to another job: batch_size was 4 and is 8; the train channel changed. Resume "
        "with the settings and data of the first run, or give the new job an empty checkpoint folder."
    )
    assert differing(other.tensors(), before) == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "'identity'"),
        ({"identity": None}, "'NoneType' object is not subscriptable"),
        ({"identity": {"hyperparameters": {"batch_size": 4}}}, "'data'"),
        ({"identity": {"hyperparameters": {"batch_size": 4}, "data": DATA}}, "'optimizer_updates'"),
        (
            {"identity": {"hyperparameters": {"batch_size": 4}, "data": DATA}, "optimizer_updates": 3, "schedule": {}},
            "'rate'",
        ),
    ],
)
def test_a_checkpoint_of_another_version_is_a_client_error(values, reason):
    parts = Parts()
    snapshot = parts.taken(TrainState())
    with pytest.raises(ClientError) as caught:
        parts.put_back(Snapshot(snapshot.weights, snapshot.training, values))
    assert str(caught.value) == (
        f"{WHERE}: the checkpoint is not one of this version ({reason}). Give the job an empty checkpoint folder."
    )


def test_counters_of_another_version_are_a_client_error():
    parts = Parts(schedule=InverseTime(0.1, 5))
    snapshot = parts.taken(TrainState())
    del snapshot.values["state"]["updates"]
    with pytest.raises(ClientError, match=r"not one of this version \(counters are missing or unknown\)"):
        parts.put_back(snapshot)


def test_missing_moments_are_a_client_error():
    parts = Parts()
    snapshot = parts.taken(TrainState())
    del snapshot.training["moment/mean/output_layer.bias"]
    with pytest.raises(ClientError, match="The optimizer state does not fit adam on this model"):
        parts.put_back(snapshot)


def test_weights_of_another_shape_are_a_client_error():
    parts = Parts()
    snapshot = parts.taken(TrainState())
    snapshot.weights["output_layer.bias"] = torch.zeros(3)
    with pytest.raises(ClientError, match=r"output_layer\.bias is float32 \[3\] instead of float32 \[11\]"):
        parts.put_back(snapshot)
