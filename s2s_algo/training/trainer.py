"""THE training loop and its verbs."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from s2s_algo.checkpoints.retention import Evaluated, Retention, to_keep
from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.data.plans import PlannedBatch
from s2s_algo.errors import ClientError
from s2s_algo.memory import is_out_of_memory
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.data import BatchSource
from s2s_algo.training.loss import Totals, batch_loss
from s2s_algo.training.metrics import METRICS, Metric, MetricName
from s2s_algo.training.optimizers import Optimizer
from s2s_algo.training.precision import Precision
from s2s_algo.training.progress import Progress, terminal_bar
from s2s_algo.training.reporting.reporter import Reporter
from s2s_algo.training.schedules import Schedule
from s2s_algo.training.snapshot import JobIdentity, take_snapshot
from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import CheckpointRule, StoppingRule, StopRequested
from s2s_algo.training.validation import BleuSample, evaluate
from s2s_algo.training.workers import Workers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """The parts of a job, put together from its hyperparameters by ``assembly``.

    Attributes:
        model, optimizer, schedule: What learns, and how.
        train_data, validation_data: Batches.
        bleu: ``None`` if BLEU is not computed.
        optimized: The metric that decides which checkpoint is best.
        shown_metric: The metric in the lines between checkpoints.
        stopping: When to end.
        checkpoints: When to evaluate and save.
        store: Where checkpoints go.
        retention: Which of them stay; ``None``: the newest two and the best.
        identity: What must not change if the job is resumed.
        inference: How the model will translate.
        host: Name of this machine in the metric lines.
        seed: Every random choice of the job follows from it.
        size_limit: The hyperparameter that limits the size of batches, for messages.
        label_smoothing: See ``batch_loss``.
        skips_nonfinite: Whether an update whose loss is not finite is left out instead of ending the job.
        precision: Of forward passes.
        workers: Who trains together.
        check_stop: Raises ``StopRequested`` when the job shall end now, in all workers at the same call.
        reporter: Shows people how it goes.
    """

    model: Seq2Seq
    optimizer: Optimizer
    schedule: Schedule
    train_data: BatchSource
    validation_data: BatchSource
    bleu: BleuSample | None
    optimized: Metric
    shown_metric: MetricName
    stopping: StoppingRule
    checkpoints: CheckpointRule
    store: CheckpointStore
    retention: Retention | None
    identity: JobIdentity
    inference: InferenceConfig
    host: str
    seed: int
    size_limit: str
    label_smoothing: float
    skips_nonfinite: bool
    precision: Precision
    workers: Workers
    check_stop: Callable[[], None]
    reporter: Reporter


def train(job: TrainingJob, state: TrainState, interruptible: AbstractContextManager[object] | None = None) -> None:
    """Trains until a limit is reached, a signal comes or the loss is not finite any more.

    Args:
        job: The parts.
        state: Where to begin; holds at every time where the job stands.
        interruptible: Entered while nothing can be lost yet; there, ``StopRequested`` may come from anywhere.

    Raises:
        StopRequested: After a checkpoint from which the job can go on, if there was an update.
        ClientError: The loss is not finite, or the largest batch does not fit in memory.
    """
    logger.info("Training started.")
    job.reporter.started(state)
    try:
        with interruptible or contextlib.nullcontext():
            try_largest_batch(job)
        bar = terminal_bar(state) if job.workers.is_leader else None
        with contextlib.closing(Progress(state, job.stopping, job.shown_metric, bar=bar)) as progress:
            if state.evaluated_updates < state.updates and job.checkpoints.is_due(state):
                checkpoint(job, state, progress)  # it was about to be made when the job was stopped
            plan: list[PlannedBatch] = []
            planned_epoch = None
            reason = job.stopping.reason(state)
            while reason is None:
                if planned_epoch != state.epoch:
                    plan, planned_epoch = job.train_data.plan(state.epoch), state.epoch
                job.check_stop()
                totals = update(job, state, plan[state.position])
                if state.position == len(plan):
                    state.epoch, state.position = state.epoch + 1, 0
                progress.updated(state, totals.tokens, len(plan))
                job.reporter.updated(state, totals)
                if job.checkpoints.is_due(state):
                    checkpoint(job, state, progress)
                reason = job.stopping.reason(state)
            if state.evaluated_updates < state.updates:
                checkpoint(job, state, progress)
    except StopRequested:
        if state.updates != state.saved_updates:
            save(job, state)
        job.reporter.finished(state, "Stopped by a signal.")
        raise
    logger.info("%s", reason)
    logger.info(
        "Training finished. Best checkpoint: %d. Best validation %s: %.6f",
        state.best_checkpoint,
        job.optimized.name,
        state.best_score,
    )
    job.reporter.finished(state, reason)


def update(job: TrainingJob, state: TrainState, planned: PlannedBatch) -> Totals:
    """One forward pass, backward pass and step of the optimizer; counts it in ``state``.

    Every worker takes its part of the batch; the gradient is the mean over the tokens of the whole batch.
    """
    began = time.monotonic()
    job.model.train()
    # (1) Dropout depends on the seed, the update and the worker alone, so nothing of it has to be remembered.
    torch.manual_seed(_seed_of(job, state.updates))
    # (2) This worker's part of the batch, which is empty if there are fewer pairs than workers.
    batch = job.train_data.collate(planned)
    pairs, own, loss = len(batch.source), Totals(), None
    if pairs:
        with job.precision.context():
            loss, own = batch_loss(job.model, batch, job.label_smoothing)
    value = loss.item() if loss is not None else 0.0
    nll, correct, tokens, all_pairs, broken = job.workers.sum(*own.numbers(), pairs, not math.isfinite(value))
    totals = Totals(nll, int(correct), int(tokens))
    # (3) The gradient.
    if loss is not None:
        (loss if own.tokens == totals.tokens else loss * (own.tokens / totals.tokens)).backward()
    job.workers.sum_gradients(job.optimizer.parameters)
    if broken or not job.optimizer.has_finite_gradients():
        _skip_or_stop(job, state, value)
        totals = Totals()
    else:
        job.optimizer.step(job.schedule.rate(state.updates + 1))
    # (4) The counters.
    state.updates += 1
    state.position += 1
    state.samples += int(all_pairs)
    state.totals.add(totals)
    state.seconds += time.monotonic() - began
    return totals


def checkpoint(job: TrainingJob, state: TrainState, progress: Progress) -> None:
    """Evaluates the model, decides whether it is the best so far, and saves everything."""
    # (1) Scores.
    validation = evaluate(
        job.model,
        job.validation_data,
        job.precision,
        job.workers,
        lambda done, total: _watch(job, progress, "validating", done, total),
    )
    if not math.isfinite(validation.negative_log_likelihood):
        raise _not_finite(job, f"the validation loss after update {state.updates} is not finite")
    scores: dict[MetricName, float] = {"perplexity": validation.perplexity, "accuracy": validation.accuracy}
    if job.bleu is not None:
        began = time.monotonic()
        scores["bleu"] = job.bleu.score(
            job.workers, lambda done, total: _watch(job, progress, "translating for BLEU", done, total)
        )
        per_sentence = (time.monotonic() - began) / len(job.bleu.sources)
        decoded = {"bleu-val": scores["bleu"], "avg-sec-per-sent-val": per_sentence}
        logger.info("Checkpoint [%d]: Decoder finished (%s)", state.checkpoint + 1, decoded)
    # (2) Is it the best one?
    number = state.checkpoint + 1
    score = scores[job.optimized.name]
    improved = job.optimized.improves(score, state.best_score)
    _log_checkpoint(job, state, number, scores)
    if improved:
        logger.info("Validation-%s improved to %f.", job.optimized.name, score)
        state.best_checkpoint, state.best_updates, state.best_score = number, state.updates, score
        state.not_improved = 0
    else:
        logger.info("Validation-%s has not improved, best so far: %f", job.optimized.name, state.best_score)
        state.not_improved += 1
        logger.info("Model has not improved for %d checkpoints", state.not_improved)
        if state.not_improved >= job.stopping.patience and state.epoch < job.stopping.min_epochs:
            logger.info("Minimum number of epochs (%d) not reached yet: %d", job.stopping.min_epochs, state.epoch)
    # (3) The history, with the rate that was used up to here.
    state.history.append(
        {
            "checkpoint": number,
            "updates": state.updates,
            "epoch": state.epoch,
            "seconds": round(state.seconds, 3),
            "learning_rate": job.schedule.rate(state.updates),
            "train_perplexity": state.totals.perplexity,
            "train_accuracy": state.totals.accuracy,
            **{f"validation_{name}": value for name, value in scores.items()},
            "improved": improved,
        }
    )
    # (4) The next interval begins.
    job.schedule.after_checkpoint(improved)
    state.checkpoint, state.evaluated_updates, state.totals = number, state.updates, Totals()
    save(job, state)
    job.reporter.evaluated(state)
    progress.resumed()


def save(job: TrainingJob, state: TrainState) -> None:
    """Writes a checkpoint from which the job can go on, and removes those nobody needs any more."""
    state.saved_updates = state.updates
    if job.workers.is_leader:
        snapshot = take_snapshot(job.model, job.optimizer, job.schedule, state, job.identity, job.inference)
        job.store.save(state.updates, snapshot)
        job.store.retain(_to_keep(job, state))


def try_largest_batch(job: TrainingJob) -> None:
    """Does the largest work once without learning from it: a lack of memory shows before hours of work.

    Raises:
        ClientError: A training batch, a validation batch or a search does not fit.
    """
    for largest in job.train_data.largest():
        with _fitting(job, largest):
            job.model.train()
            batch = job.train_data.collate(largest)
            if len(batch.source):
                with job.precision.context():
                    loss, _ = batch_loss(job.model, batch, job.label_smoothing)
                loss.backward()
        for parameter in job.model.parameters():
            parameter.grad = None
    job.model.eval()
    for largest in job.validation_data.largest():
        with _fitting(job, largest), torch.no_grad(), job.precision.context():
            batch = job.validation_data.collate(largest)
            if len(batch.source):
                batch_loss(job.model, batch)
    if job.bleu is not None:
        try:
            job.bleu.try_out()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise ClientError(
                "translating the longest validation sentences for BLEU does not fit in memory. Lower beam_size, "
                "max_seq_len_source or the sizes of the model."
            ) from error


@contextlib.contextmanager
def _fitting(job: TrainingJob, planned: PlannedBatch) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        source, target = planned.bucket
        raise ClientError(
            f"a batch of {len(planned.pairs)} pairs of up to {source} source and {target} target tokens does not "
            f"fit in memory. Lower {job.size_limit}, max_seq_len_source, max_seq_len_target or the sizes of the model."
        ) from error


def _watch(job: TrainingJob, progress: Progress, what: str, done: int, total: int) -> None:
    job.check_stop()
    progress.working(what, done, total)


def _to_keep(job: TrainingJob, state: TrainState) -> set[int]:
    # Others, if there are any, are damaged, of a job that went back, or were saved when it was stopped.
    course = {state.updates, *(entry["updates"] for entry in state.history)}
    stored = [updates for updates in job.store.stored() if updates in course]
    if job.retention is None:
        return to_keep(stored, state.best_updates)
    by_epoch = job.checkpoints.every_epochs is not None
    evaluated = [
        Evaluated(
            updates=int(entry["updates"]),
            number=int(entry["epoch" if by_epoch else "checkpoint"]),
            cost=job.optimized.cost(entry[f"validation_{job.optimized.name}"]),
        )
        for entry in state.history
        if entry["updates"] in stored
    ]
    return job.retention.to_keep(evaluated, resume=state.updates, best=state.best_updates)


def _seed_of(job: TrainingJob, update: int) -> int:
    """A seed that no other update and no other worker has."""
    return int(np.random.SeedSequence([job.seed, update, job.workers.rank]).generate_state(1, np.uint64)[0])


def _skip_or_stop(job: TrainingJob, state: TrainState, loss: float) -> None:
    """Leaves the weights as they were; ends the job unless it shall go on after such an update."""
    what = f"the loss of update {state.updates + 1} is {loss}"
    if math.isfinite(loss):
        what = f"the gradient of update {state.updates + 1} is not finite"
    error = _not_finite(job, what)
    if not job.skips_nonfinite:
        raise error
    state.skipped += 1
    logger.warning("Update %d is skipped, %d so far: %s", state.updates + 1, state.skipped, error)
    for parameter in job.optimizer.parameters:
        parameter.grad = None


def _not_finite(job: TrainingJob, what: str) -> ClientError:
    weights = [name for name, weight in job.model.named_parameters() if not weight.isfinite().all()]
    gradients = [
        f"the gradient of {name}"
        for name, weight in job.model.named_parameters()
        if weight.grad is not None and not weight.grad.isfinite().all()
    ]
    first = ", ".join((weights or gradients)[:3])
    cause = f"not finite first: {first}" if first else "all weights and gradients are finite"
    return ClientError(
        f"{what}; {cause}. Training has diverged: lower learning_rate, or set clip_gradient to a positive value."
    )


def _log_checkpoint(job: TrainingJob, state: TrainState, number: int, scores: dict[MetricName, float]) -> None:
    """The original's lines, and those that tuning jobs look for."""
    logger.info(
        "Checkpoint [%d]\tUpdates=%d Epoch=%d Samples=%d Time-cost=%.3f",
        number,
        state.updates,
        state.epoch,
        state.samples,
        state.seconds - (state.history[-1]["seconds"] if state.history else 0),
    )
    logger.info("Checkpoint [%d]\tTrain-perplexity=%f", number, state.totals.perplexity)
    logger.info("Checkpoint [%d]\tTrain-accuracy=%f", number, state.totals.accuracy)
    for name, score in scores.items():
        logger.info("Checkpoint [%d]\tValidation-%s=%f", number, name, score)
    for name, score in scores.items():
        logger.info("%s", METRICS[name].line(job.host, state.epoch, score))
