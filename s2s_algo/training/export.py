"""The artifact of a job: of one that runs, and of one that is stopped before it has read its data."""

from __future__ import annotations

import logging

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.checkpoints.tensors import fill
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.metrics import METRICS
from s2s_algo.training.settings import model_config
from s2s_algo.training.snapshot import JobIdentity, of_this_version, require_same_job
from s2s_algo.training.starting_point import choose_best_of, starting_point
from s2s_algo.training.state import TrainState

logger = logging.getLogger(__name__)


def best_artifact(
    model: Seq2Seq,
    state: TrainState,
    store: CheckpointStore,
    hyperparameters: Hyperparameters,
    vocabularies: tuple[Vocabulary, Vocabulary],
    inference: InferenceConfig,
) -> Artifact:
    """The artifact of the best checkpoint that can be read, or of the model as it is if there is none.

    Args:
        model: Gets the weights of that checkpoint.
        state: Where the job stands; says which checkpoint is best, and of which artifact this is.
        store: The checkpoints.
        hyperparameters: Of the job.
        vocabularies: Source and target.
        inference: How the model translates.
    """
    optimized, stored = METRICS[hyperparameters.optimized_metric], set(store.stored())
    while state.best_updates:
        try:
            best = store.load(state.best_updates)
        except ClientError as error:
            # Hours of training must not be lost for it.
            logger.warning("The best checkpoint cannot be read: %s", error)
            stored.discard(state.best_updates)
            choose_best_of(state, stored, optimized)
        else:
            fill(model, best.weights, where=f"checkpoint {state.best_checkpoint}")
            break
    return Artifact(
        model=model,
        inference=inference,
        source_vocabulary=vocabularies[0],
        target_vocabulary=vocabularies[1],
        training={
            "hyperparameters": hyperparameters.model_dump(mode="json"),
            "updates": state.updates,
            "epochs": state.epoch,
            "best_checkpoint": state.best_checkpoint,
            "best_score": state.best_score,
            "optimized_metric": optimized.name,
        },
        metrics=state.history,
    )


def stored_artifact(
    store: CheckpointStore,
    hyperparameters: Hyperparameters,
    vocabularies: tuple[Vocabulary, Vocabulary],
    job_name: str | None,
) -> Artifact | None:
    """The artifact of a job that would go on from its checkpoints, without its data; ``None`` if it would begin afresh.

    Raises:
        ClientError: The checkpoints are of another job.
    """
    begin = starting_point(store, hyperparameters.start_epoch, job_name)
    if begin is None:
        return None
    where, snapshot = str(store.folder(begin)), store.load(begin)
    source, target = vocabularies
    identity = JobIdentity(
        hyperparameters.model_dump(mode="json"),
        {"source vocabulary": source.digest(), "target vocabulary": target.digest()},
        defaults=Hyperparameters().model_dump(mode="json"),
    )
    require_same_job(snapshot.values, identity, where)
    with of_this_version(where):
        state = TrainState.from_json(snapshot.values["state"])
        inference = InferenceConfig.model_validate(snapshot.values["inference"])
    model = Seq2Seq(model_config(hyperparameters, len(source), len(target)))
    fill(model, snapshot.weights, where)
    return best_artifact(model, state, store, hyperparameters, vocabularies, inference)
