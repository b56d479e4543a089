"""Averages the weights of several checkpoints of a job into one model.

A checkpoint knows whose it is and what the checkpoints up to it scored, but holds neither the vocabularies nor how long
a translation may become; these come from the artifact of the same job.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from s2s_algo.checkpoints.artifact import Artifact, load_artifact
from s2s_algo.checkpoints.store import WEIGHTS_FILE, CheckpointStore
from s2s_algo.checkpoints.tensors import fill, load_tensors
from s2s_algo.errors import ClientError
from s2s_algo.training.metrics import METRICS
from s2s_algo.training.snapshot import JobIdentity, of_this_version
from s2s_algo.training.state import TrainState

logger = logging.getLogger(__name__)

Choice = Literal["best", "last"]

_MOST_NAMES = 3  # of tensors that are shown

_ADVICE = "Average with the version of s2s that trained."


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """A checkpoint of the job's history, stored or not: its number, its updates, its score on the optimised metric."""

    checkpoint: int
    updates: int
    score: float


def average_checkpoints(checkpoints: Path, model: Path, choice: Choice, count: int) -> Artifact:
    """Averages checkpoints of a job that has left an artifact.

    What was saved without an evaluation, when the job was stopped, does not count. Damaged checkpoints, and those that
    are no longer stored, are passed over with a log line.

    Args:
        checkpoints: The checkpoint folder of the job.
        model: Its artifact, of which all but the weights is taken.
        choice: The ``best`` on the job's optimised metric, of equal ones the earlier, or the ``last``.
        count: How many, 1 or more.

    Returns:
        The artifact of the average. Its ``training`` lists the checkpoints under ``average_of``, the earliest first,
        and has no score, for nobody has evaluated the average.

    Raises:
        ClientError: There is no such artifact or checkpoint, they are not of one job, or there are too few.
    """
    artifact = load_artifact(model)
    store = CheckpointStore(checkpoints)
    newest = store.newest()
    if newest is None:
        raise ClientError(
            "the folder holds no whole checkpoint. Give the checkpoint folder of the job, in which its folders "
            "checkpoint-… lie.",
            where=str(checkpoints),
        )
    values = store.values(newest)
    identity = _identity(artifact, values, model, store.folder(newest))
    # (1) All evaluated checkpoints of the job, the wanted ones first.
    with of_this_version(str(store.folder(newest)), _ADVICE):
        metric = METRICS[values["identity"]["hyperparameters"]["optimized_metric"]]
        history = TrainState.from_json(values["state"]).history
        evaluated = [
            _Evaluated(int(entry["checkpoint"]), int(entry["updates"]), entry[f"validation_{metric.name}"])
            for entry in history
        ]
    if choice == "best":
        wanted = sorted(evaluated, key=lambda checkpoint: metric.cost(checkpoint.score))
    else:
        wanted = evaluated[::-1]
    # (2) The first of them that are there and whole.
    stored, gone = store.stored(), 0
    chosen: list[_Evaluated] = []
    for checkpoint in wanted:
        if len(chosen) == count:
            break
        if checkpoint.updates not in stored:
            gone += 1
        elif _is_whole(store, checkpoint.updates, identity, artifact, model):
            chosen.append(checkpoint)
    if len(chosen) < count:
        raise ClientError(
            f"the {choice} {count} checkpoints are asked for, but of the {len(evaluated)} that the job has evaluated "
            f"only {len(chosen)} are there and whole. Ask for fewer. The hyperparameter cleanup_old_models keeps more, "
            f"such as {json.dumps({f'keep_{choice}_n': count})}; a job may also be resumed with it.",
            where=str(checkpoints),
        )
    if gone:
        logger.warning(
            "Checkpoints of the job that are %s than one of these but no longer stored: %d. The hyperparameter "
            "cleanup_old_models keeps more.",
            "better" if choice == "best" else "newer",
            gone,
        )
    # (3) Their average.
    chosen.sort(key=lambda checkpoint: checkpoint.updates)
    fill_with_mean(artifact.model, [store.folder(checkpoint.updates) / WEIGHTS_FILE for checkpoint in chosen])
    training = {
        "hyperparameters": artifact.training["hyperparameters"],
        "optimized_metric": metric.name,
        "average_of": [asdict(checkpoint) for checkpoint in chosen],
    }
    return replace(artifact, training=training, metrics=history)


@torch.no_grad()
def fill_with_mean(model: nn.Module, files: Sequence[Path]) -> None:
    """Puts the arithmetic mean of the weights in files into a model whose names and shapes they share.

    It is summed in float64, tensor by tensor: files are mapped rather than read, so that beside the model little more
    than one tensor is in memory, however many files there are.

    Raises:
        ClientError: A file is gone.
    """
    for name, parameter in model.named_parameters():
        total = load_tensors(files[0])[name].double()
        for file in files[1:]:
            total += load_tensors(file)[name]
        parameter.copy_(total.div_(len(files)))


def _identity(artifact: Artifact, values: Mapping[str, Any], model: Path, checkpoint: Path) -> JobIdentity:
    """Of the job that left the artifact; the digests of its channels, which no artifact has, are a checkpoint's."""
    hyperparameters = artifact.training.get("hyperparameters")
    if not isinstance(hyperparameters, Mapping):
        raise ClientError(
            "the model does not say which training job made it; an imported one cannot. Give the model that the job "
            "of these checkpoints has left.",
            where=str(model),
        )
    vocabularies = {
        "source vocabulary": artifact.source_vocabulary.digest(),
        "target vocabulary": artifact.target_vocabulary.digest(),
    }
    with of_this_version(str(checkpoint), _ADVICE):
        # A hyperparameter that a checkpoint does not have yet cannot tell it from another job's.
        data = {**values["identity"]["data"], **vocabularies}
        identity = JobIdentity(hyperparameters, data, defaults=hyperparameters)
    _require_same_job(identity, values, model, checkpoint)
    return identity


def _is_whole(store: CheckpointStore, updates: int, identity: JobIdentity, artifact: Artifact, model: Path) -> bool:
    """Whether a checkpoint can be averaged, which is refused if it is of another job."""
    folder = store.folder(updates)
    try:
        snapshot = store.load(updates)
    except ClientError as error:
        logger.warning("Passed over: %s", error)
        return False
    _require_same_job(identity, snapshot.values, model, folder)
    # For its check of names, shapes and types; the weights themselves give way to the mean.
    fill(artifact.model, snapshot.weights, where=str(folder))
    # Extremes tell it without temporary tensors.
    broken = [name for name, tensor in snapshot.weights.items() if not torch.stack(tensor.aminmax()).isfinite().all()]
    if broken:
        logger.warning("Passed over: %s: not all numbers of %s are finite", folder, ", ".join(broken[:_MOST_NAMES]))
    return not broken


def _require_same_job(identity: JobIdentity, values: Mapping[str, Any], model: Path, checkpoint: Path) -> None:
    with of_this_version(str(checkpoint), _ADVICE):
        differences = identity.differences(values["identity"])
    if differences:
        raise ClientError(
            f"the checkpoint is not of the job that left the model in {model}: from the one to the other, "
            f"{'; '.join(differences)}. Give the checkpoint folder and the model of one job.",
            where=str(checkpoint),
        )
