"""What one training process does: assemble the job, train, write the artifact."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from container.configuration import Configuration
from container.paths import Paths
from container.signals import StopFile, StopSignal
from s2s_algo.training.stopping import StopRequested

if TYPE_CHECKING:
    from s2s_algo.training.workers import Workers

logger = logging.getLogger(__name__)


def work(
    configuration: Configuration, paths: Paths, stop: StopSignal | StopFile, scratch: Path, workers: Workers | None
) -> None:
    """Trains as configured, and leaves the model where the platform looks for it.

    Args:
        configuration: Of the job.
        paths: Of the job.
        stop: Listens already; may interrupt wherever nothing can be lost.
        scratch: For corpora, and for checkpoints if they need not outlive the container; shared by the processes of a
            host.
        workers: Who trains together; ``None``: this process alone.

    Raises:
        StopRequested: Before there was anything new to keep.
    """
    # Importing torch takes seconds; a wrong job has failed before.
    import s2s_algo.training.assembly  # noqa: F401
    from s2s_algo.checkpoints.atomic import claimed

    # Not before: libraries swallow exceptions while they are imported.
    stop.interrupt()
    with contextlib.ExitStack() as held:
        if configuration.checkpoints is not None and (workers is None or workers.is_leader):
            held.enter_context(claimed(configuration.checkpoints))
        _train(configuration, paths, stop, scratch, workers)


def _train(
    configuration: Configuration, paths: Paths, stop: StopSignal | StopFile, scratch: Path, workers: Workers | None
) -> None:
    from s2s_algo.checkpoints.artifact import save_artifact
    from s2s_algo.training.assembly import assemble
    from s2s_algo.training.reporting.reporter import Outputs
    from s2s_algo.training.trainer import train

    assembled = assemble(
        configuration.hyperparameters,
        configuration.channels,
        (configuration.source_vocabulary, configuration.target_vocabulary),
        scratch=scratch / "corpus",
        checkpoints=configuration.checkpoints or scratch / "checkpoints",
        host=configuration.resources.current_host,
        stop_requested=lambda: stop.requested,
        workers=workers,
        outputs=Outputs(paths.output_data, paths.tensorboard, artifact=paths.model),
        cache=paths.corpus_cache,
        job_name=job_name(),
    )
    try:
        train(assembled.job, assembled.state, stop.interruptible())
    except StopRequested:
        if not assembled.state.updates:
            raise
        logger.info("Stopped by a signal after %d updates.", assembled.state.updates)
    except Exception as error:
        assembled.job.reporter.finished(assembled.state, f"Failed: {error}")
        # Whatever went wrong, what was learnt before is still good.
        if assembled.state.best_updates and assembled.job.workers.is_leader:
            with contextlib.suppress(Exception):  # the first error is the one to report
                save_artifact(assembled.artifact(), paths.model)
                logger.info("The best model so far is in %s", paths.model)
        raise
    if assembled.job.workers.is_leader:
        save_artifact(assembled.artifact(), paths.model)
        logger.info("The model is in %s", paths.model)


def export_stored(configuration: Configuration, paths: Paths) -> bool:
    """Leaves the model that a job would go on from where the platform looks for it; returns whether there is one.

    For jobs that are stopped before they have made anything new: reading the data could take longer than the platform
    waits.
    """
    from s2s_algo.checkpoints.artifact import save_artifact
    from s2s_algo.checkpoints.store import CheckpointStore
    from s2s_algo.training.export import stored_artifact

    if configuration.checkpoints is None or configuration.resources.rank:
        return False
    artifact = stored_artifact(
        CheckpointStore(configuration.checkpoints),
        configuration.hyperparameters,
        (configuration.source_vocabulary, configuration.target_vocabulary),
        job_name(),
    )
    if artifact is None:
        return False
    save_artifact(artifact, paths.model)
    logger.info("Stopped by a signal before the first update of this run. The model so far is in %s", paths.model)
    return True


def job_name() -> str | None:
    """What the platform calls the job."""
    return os.environ.get("TRAINING_JOB_NAME") or None
