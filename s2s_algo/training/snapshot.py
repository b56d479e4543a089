"""A job at one moment, as tensors and JSON: taken for a checkpoint and put back on resuming."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from s2s_algo.checkpoints.store import Snapshot
from s2s_algo.checkpoints.tensors import fill
from s2s_algo.errors import ClientError
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.optimizers import Optimizer
from s2s_algo.training.schedules import Schedule
from s2s_algo.training.state import TrainState

# What may be changed when a job is resumed: limits, for that is how one trains on, and what is no part of learning.
CHANGEABLE = frozenset(
    {
        "max_num_batches",
        "max_num_epochs",
        "num_epochs",
        "min_num_epochs",
        "checkpoint_threshold",
        "start_epoch",
        "cleanup_old_models",
        "stop_on_nonfinite_train_score",
        "processes",
    }
)

_MOMENT = "moment/"


@dataclass(frozen=True, slots=True)
class JobIdentity:
    """What makes two runs the same job.

    Attributes:
        hyperparameters: All of them, as JSON values.
        data: Digests of the vocabularies and of the channels, by what they are of.
        defaults: The values of those that a checkpoint does not have, since they were added after it was made.
        job_name: What the platform calls the run, if it does; may differ.
    """

    hyperparameters: Mapping[str, Any]
    data: Mapping[str, str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    job_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"hyperparameters": dict(self.hyperparameters), "data": dict(self.data), "job_name": self.job_name}

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """What differs from an identity read from a checkpoint, in words."""
        before = {**self.defaults, **other["hyperparameters"]}
        changed = [
            f"{name} was {before.get(name)!r} and is {value!r}"
            for name, value in self.hyperparameters.items()
            if before.get(name) != value and name not in CHANGEABLE
        ]
        return changed + [
            f"the {name} changed" for name, value in self.data.items() if other["data"].get(name) != value
        ]


def take_snapshot(
    model: Seq2Seq,
    optimizer: Optimizer,
    schedule: Schedule,
    state: TrainState,
    identity: JobIdentity,
    inference: InferenceConfig,
) -> Snapshot:
    """Everything that a job needs to go on as if it had never stopped, and that its artifact needs without its data."""
    # (1) Weights.
    weights = dict(model.named_parameters())
    # (2) The optimizer.
    training = {_MOMENT + name: moment for name, moment in optimizer.state().items()}
    values: dict[str, Any] = {"optimizer_updates": optimizer.updates}
    # (3) The learning rate.
    values["schedule"] = schedule.state()
    # (4) Counters, which are also the position in the data and, with the seed, the source of all random numbers.
    values["state"] = state.to_json()
    # (5) Whose checkpoint it is.
    values["identity"] = identity.to_json()
    # (6) How the model translates, which follows from the data.
    values["inference"] = inference.model_dump(mode="json")
    return Snapshot(weights, training, values)


def restore(
    snapshot: Snapshot, model: Seq2Seq, optimizer: Optimizer, schedule: Schedule, identity: JobIdentity, where: str
) -> TrainState:
    """Puts a snapshot back, section by section as it was taken.

    Raises:
        ClientError: It was taken from another job.
    """
    values = snapshot.values
    # (5) Whose checkpoint it is comes first.
    require_same_job(values, identity, where)
    with of_this_version(where):
        # (1) Weights.
        fill(model, snapshot.weights, where)
        # (2) The optimizer.
        moments = {
            name.removeprefix(_MOMENT): moment for name, moment in snapshot.training.items() if name.startswith(_MOMENT)
        }
        optimizer.load_state(moments, values["optimizer_updates"])
        # (3) The learning rate.
        schedule.load_state(values["schedule"])
        # (4) Counters.
        return TrainState.from_json(values["state"])


def require_same_job(values: Mapping[str, Any], identity: JobIdentity, where: str) -> None:
    """Raises a ClientError that says what differs if a checkpoint was taken from another job."""
    with of_this_version(where):
        differences = identity.differences(values["identity"])
    if differences:
        raise ClientError(
            f"the checkpoint belongs to another job: {'; '.join(differences)}. Resume with the settings and data "
            "of the first run, or give the new job an empty checkpoint folder.",
            where=where,
        )


@contextmanager
def of_this_version(where: str, advice: str = "Give the job an empty checkpoint folder.") -> Iterator[None]:
    """Turns what fails on values of another form into an error that names the checkpoint and says how to mend it."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ClientError(f"the checkpoint is not one of this version ({error}). {advice}", where=where) from error
