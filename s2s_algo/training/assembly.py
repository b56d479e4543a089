"""From hyperparameters and channels to the parts of a job: the only place that knows both."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.checkpoints.retention import MOST
from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.checkpoints.tensors import fill
from s2s_algo.data.channels import Channels
from s2s_algo.data.corpus import Corpus
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters
from s2s_algo.model.initialization import initialize
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.corpora import of_all_machines, pairs_as_trained, read_pairs, statistics_of_all, truncated
from s2s_algo.training.data import BatchSource
from s2s_algo.training.export import best_artifact
from s2s_algo.training.metrics import METRICS
from s2s_algo.training.optimizers import build_optimizer
from s2s_algo.training.precision import Precision
from s2s_algo.training.preconditions import check_beam
from s2s_algo.training.reporting.build import make_reporter
from s2s_algo.training.reporting.reporter import Outputs
from s2s_algo.training.settings import (
    inference_config,
    initialization,
    make_plan,
    make_retention,
    make_schedule,
    model_config,
    optimizer_config,
    stopping_rule,
)
from s2s_algo.training.snapshot import JobIdentity, restore
from s2s_algo.training.starting_point import choose_best_of, starting_point
from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import CheckpointRule, stop_if
from s2s_algo.training.trainer import TrainingJob
from s2s_algo.training.validation import BleuSample, draw_sample
from s2s_algo.training.warm_start import weights_of
from s2s_algo.training.workers import Workers

logger = logging.getLogger(__name__)

_FILE = "hyperparameters.json"


@dataclass(frozen=True, slots=True)
class Assembled:
    """A job, where it stands, and what its artifact needs beside the weights."""

    job: TrainingJob
    state: TrainState
    hyperparameters: Hyperparameters
    vocabularies: tuple[Vocabulary, Vocabulary]

    def artifact(self) -> Artifact:
        """What training has led to so far."""
        job = self.job
        return best_artifact(job.model, self.state, job.store, self.hyperparameters, self.vocabularies, job.inference)


def assemble(
    hyperparameters: Hyperparameters,
    channels: Channels,
    vocabularies: tuple[Vocabulary, Vocabulary],
    *,
    scratch: Path,
    checkpoints: Path,
    host: str,
    stop_requested: Callable[[], bool],
    workers: Workers | None = None,
    outputs: Outputs | None = None,
    cache: Path | None = None,
    job_name: str | None = None,
) -> Assembled:
    """Builds all parts of a job and resumes it if there is a checkpoint.

    Args:
        hyperparameters: Of the job.
        channels: Its input.
        vocabularies: Source and target.
        scratch: Where the corpora are put, as large as the channels, if they are not kept.
        checkpoints: Where checkpoints go, and where the newest one is looked for.
        host: Name of this machine in the metric lines.
        stop_requested: Whether the job shall end.
        workers: Who trains together; by default this process alone.
        outputs: Where its reports go; by default there are none.
        cache: Where corpora are kept for jobs to come; by default they are not.
        job_name: What the platform calls the job, if it does.

    Raises:
        ClientError: The data, or a checkpoint of another job.
    """
    check_beam(hyperparameters, len(vocabularies[1]))
    workers = workers or Workers(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    device = workers.device
    _require_same_on_all(hyperparameters, workers)
    logger.info("Training on %s with %d threads; processes: %d", device, torch.get_num_threads(), workers.size)
    source_vocabulary, target_vocabulary = vocabularies
    logger.info("Vocabulary sizes: source=%d target=%d", len(source_vocabulary), len(target_vocabulary))
    config = model_config(hyperparameters, len(source_vocabulary), len(target_vocabulary))
    first_weights = weights_of(channels.model, config, *vocabularies) if channels.model else None
    # (1) Data.
    train_full, train_digest = read_pairs(channels.train, vocabularies, scratch, cache, workers)
    validation_full, validation_digest = read_pairs(channels.validation, vocabularies, scratch, cache, workers)
    train_corpus = pairs_as_trained(train_full, channels.train, hyperparameters)
    validation_corpus = truncated(validation_full, "validation", hyperparameters)
    train_is_shard, validation_is_shard = (
        workers.size > workers.local_size and channel.is_sharded for channel in (channels.train, channels.validation)
    )
    statistics = statistics_of_all(train_corpus, workers, train_is_shard)
    logger.info("Mean training target/source length ratio: %.2f (+-%.2f)", statistics.ratio_mean, statistics.ratio_std)
    here = workers.local_size / workers.size
    train_plan = make_plan(hyperparameters, train_corpus, statistics, here if train_is_shard else 1)
    validation_plan = make_plan(hyperparameters, validation_corpus, statistics, here if validation_is_shard else 1)
    train_data = BatchSource(train_corpus, target_vocabulary, train_plan, workers, train_is_shard)
    validation_data = BatchSource(validation_corpus, target_vocabulary, validation_plan, workers, validation_is_shard)
    # (2) Model.
    model = Seq2Seq(config)
    if first_weights is None:
        initialize(model, initialization(hyperparameters), hyperparameters.seed)
    else:
        fill(model, first_weights, where="model channel")
    model.to(device)
    logger.info("Total # of parameters: %d", sum(parameter.numel() for parameter in model.parameters()))
    # (3) Optimizer and learning rate.
    optimizer = build_optimizer(model, optimizer_config(hyperparameters))
    updates_per_epoch = len(train_data.plan(0))
    schedule = make_schedule(hyperparameters, updates_per_epoch)
    # (4) Evaluation.
    inference = inference_config(hyperparameters, statistics)
    if (longest := inference.limits.max_input_length) < hyperparameters.max_seq_len_source:
        logger.info(
            "Sources of more than %d tokens will be translated in pieces: the decoder has learned no positions for "
            "longer translations. A larger max_seq_len_target allows longer ones.",
            longest,
        )
    translator = Translator(model, source_vocabulary, target_vocabulary, inference)
    bleu = _bleu(hyperparameters, validation_full, translator, workers, validation_is_shard)
    optimized = METRICS[hyperparameters.optimized_metric]
    logger.info("Early stopping by optimizing '%s'", optimized.name)
    # (5) The checkpoint to go on from.
    store = CheckpointStore(checkpoints)
    identity = JobIdentity(
        hyperparameters.model_dump(mode="json"),
        {
            "source vocabulary": source_vocabulary.digest(),
            "target vocabulary": target_vocabulary.digest(),
            "train channel": train_digest,
            "validation channel": validation_digest,
        },
        defaults=Hyperparameters().model_dump(mode="json"),
        job_name=job_name,
    )
    state = TrainState()
    if workers.is_leader:
        begin = starting_point(store, hyperparameters.start_epoch, job_name)
        if begin is not None:
            where = str(store.folder(begin))
            state = restore(store.load(begin), model, optimizer, schedule, identity, where)
            choose_best_of(state, store.stored(), optimized)
            logger.info("Resuming from %s: update %d, epoch %d", where, state.updates, state.epoch)
    # The other workers need not see the leader's checkpoints.
    state, optimizer.updates, schedule_state = workers.broadcast((state, optimizer.updates, schedule.state()))
    schedule.load_state(schedule_state)
    workers.broadcast_tensors([*model.parameters(), *optimizer.state().values()])
    retention, stopping = make_retention(hyperparameters), stopping_rule(hyperparameters)
    rule = CheckpointRule(hyperparameters.checkpoint_frequency_num_batches, hyperparameters.save_interval)
    if workers.is_leader:
        tensors = [*model.parameters(), *optimizer.state().values()]
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        most = retention.most if retention else MOST
        if (possible := rule.most(stopping, updates_per_epoch)) is not None:
            most = min(most, possible)
        store.require_space(size, least=min(most, MOST), most=most)
    job = TrainingJob(
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        train_data=train_data,
        validation_data=validation_data,
        bleu=bleu,
        optimized=optimized,
        shown_metric=hyperparameters.training_metric,
        stopping=stopping,
        checkpoints=rule,
        store=store,
        retention=retention,
        identity=identity,
        inference=inference,
        host=host,
        seed=hyperparameters.seed,
        size_limit="batch_size" if hyperparameters.max_batch_tokens is None else "max_batch_tokens",
        label_smoothing=hyperparameters.label_smoothing,
        skips_nonfinite=not hyperparameters.stop_on_nonfinite_train_score,
        precision=Precision.choose(hyperparameters.precision, device),
        workers=workers,
        check_stop=lambda: stop_if(workers.any(stop_requested())),
        reporter=make_reporter(
            outputs,
            workers=workers,
            identity=identity,
            optimized=optimized,
            train_data=train_data,
            validation_data=validation_data,
            validation=validation_full,
            translator=translator,
            schedule=schedule,
            seed=hyperparameters.seed,
        ),
    )
    return Assembled(job, state, hyperparameters, vocabularies)


def _require_same_on_all(hyperparameters: Hyperparameters, workers: Workers) -> None:
    own = hyperparameters.model_dump(mode="json")
    for other in workers.gather(own):
        if different := [name for name in own if own[name] != other[name]]:
            raise ClientError(f"not the same on all hosts: {', '.join(different)}; give each host the same file", _FILE)


def _bleu(
    hyperparameters: Hyperparameters, validation: Corpus, translator: Translator, workers: Workers, is_shard: bool
) -> BleuSample | None:
    """The sample for BLEU if BLEU is wanted; -1, or 0 with BLEU optimised, is the whole channel."""
    size = hyperparameters.bleu_sample_size
    if size == 0 and hyperparameters.optimized_metric != "bleu":
        return None
    if is_shard:
        validation = of_all_machines(validation, workers)
    return draw_sample(validation, size if size > 0 else None, hyperparameters.seed, translator)
