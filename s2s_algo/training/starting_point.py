"""Which checkpoint a job goes on from."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Literal

from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.errors import ClientError
from s2s_algo.training.metrics import Metric
from s2s_algo.training.state import TrainState

logger = logging.getLogger(__name__)


def starting_point(store: CheckpointStore, start_epoch: int | Literal["auto"], job_name: str | None) -> int | None:
    """The updates of the checkpoint to go on from; ``None`` to begin afresh.

    Args:
        store: The checkpoints that there are.
        start_epoch: ``auto`` for the newest checkpoint, 1 for none, a later one for that of the epoch before.
        job_name: What the platform calls this job. When it interrupts a job and starts it again, the name is the same,
            and the job does not go back a second time.

    Raises:
        ClientError: There is no checkpoint of the epoch before ``start_epoch``.
    """
    if start_epoch == "auto":
        return store.newest()
    newest = store.newest() if job_name else None
    if newest is not None:
        identity = store.values(newest).get("identity", {})
        before = identity.get("job_name"), identity.get("hyperparameters", {}).get("start_epoch")
        if before == (job_name, start_epoch):
            logger.info("start_epoch: %d was this job's beginning; it goes on from where it was", start_epoch)
            return newest
    begin = None if start_epoch == 1 else _end_before(store, start_epoch)
    if later := [store.folder(updates).name for updates in store.stored() if updates > (begin or 0)]:
        logger.warning(
            "start_epoch: %s will be removed from %s as soon as there is a new checkpoint", ", ".join(later), store.root
        )
    return begin


def choose_best_of(state: TrainState, stored: Collection[int], optimized: Metric) -> None:
    """Makes the best one of those that are left the best checkpoint, if that one is no longer there.

    Args:
        state: Of the checkpoint to go on from; patience is counted as before.
        stored: Updates of the checkpoints that are there.
        optimized: Says which is best.
    """
    if not state.best_updates or state.best_updates in stored:
        return
    left = [entry for entry in state.history if entry["updates"] in stored]
    metric = f"validation_{optimized.name}"
    best = min(left, key=lambda entry: optimized.cost(entry[metric]), default=None)
    logger.warning(
        "Checkpoint %d, the best one so far, is not there any more; the best one that is left is %s",
        state.best_checkpoint,
        "none" if best is None else f"checkpoint {best['checkpoint']}",
    )
    state.best_checkpoint = int(best["checkpoint"]) if best else 0
    state.best_updates = int(best["updates"]) if best else 0
    state.best_score = float(best[metric]) if best else None


def _end_before(store: CheckpointStore, start_epoch: int) -> int:
    """The updates of the checkpoint at the end of the epoch before."""
    before, ends = start_epoch - 1, {}
    for updates in store.stored():
        try:
            state = store.values(updates)["state"]
            if state["position"] == 0 and state["evaluated_updates"] == updates:
                ends[state["epoch"]] = updates
        except (ClientError, KeyError, TypeError) as error:
            logger.warning("%s is passed over: %s", store.folder(updates), error)
    if before in ends:
        return ends[before]
    there = f"has those of epochs {', '.join(map(str, sorted(ends)))}" if ends else "has none of the end of an epoch"
    choice = "Choose one of them plus 1, or auto." if ends else "Begin with 1, or auto."
    raise ClientError(
        f"start_epoch: {start_epoch} needs the checkpoint of epoch {before}; {store.root} {there}. {choice}"
    )
