"""From hyperparameters and channels to the parts of a job: the only place that knows both."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.checkpoints.retention import MOST, Retention
from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.checkpoints.tensors import fill
from s2s_algo.data.buckets import Bucket, define_parallel_buckets
from s2s_algo.data.channels import Channels, RecordChannel
from s2s_algo.data.chunking import chunked, require_equal_sides
from s2s_algo.data.corpus import Corpus, Sequences, build_corpus, open_corpus
from s2s_algo.data.ordering import Ordering
from s2s_algo.data.plans import BatchPlan, BucketPlan, TokenPlan
from s2s_algo.data.statistics import LengthStatistics, length_statistics, pooled
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters, written
from s2s_algo.model.config import (
    AttentionConfig,
    ConvolutionalDecoderConfig,
    ConvolutionalEncoderConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.initialization import Initialization, initialize
from s2s_algo.model.limits import LengthLimits, longest_ratio, longest_source
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.data import BatchSource
from s2s_algo.training.metrics import METRICS
from s2s_algo.training.optimizers import OptimizerConfig, build_optimizer
from s2s_algo.training.precision import Precision
from s2s_algo.training.preconditions import check_beam
from s2s_algo.training.reporting.build import make_reporter
from s2s_algo.training.reporting.reporter import Outputs
from s2s_algo.training.schedules import InverseSquareRoot, InverseTime, PlateauReduce, Schedule
from s2s_algo.training.snapshot import JobIdentity, restore
from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import CheckpointRule, StoppingRule, stop_if
from s2s_algo.training.trainer import TrainingJob
from s2s_algo.training.validation import BleuSample, draw_sample
from s2s_algo.training.warm_start import weights_of
from s2s_algo.training.workers import Workers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A job, where it stands, and what its artifact needs beside the weights."""

    job: TrainingJob
    state: TrainState
    hyperparameters: Hyperparameters
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    inference: InferenceConfig

    def artifact(self) -> Artifact:
        """The artifact of the best checkpoint, or of the model as it is if there was none."""
        if self.state.best_updates:
            try:
                best = self.job.store.load(self.state.best_updates)
            except ClientError as error:
                # Hours of training must not be lost for it.
                logger.warning("The best checkpoint is lost, the model of the last update is taken instead: %s", error)
            else:
                fill(self.job.model, best.weights, where=f"checkpoint {self.state.best_checkpoint}")
        return Artifact(
            model=self.job.model,
            inference=self.inference,
            source_vocabulary=self.source_vocabulary,
            target_vocabulary=self.target_vocabulary,
            training={
                "hyperparameters": self.hyperparameters.model_dump(mode="json"),
                "updates": self.state.updates,
                "epochs": self.state.epoch,
                "best_checkpoint": self.state.best_checkpoint,
                "best_score": self.state.best_score,
                "optimized_metric": self.job.optimized.name,
            },
            metrics=self.state.history,
        )


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
) -> Assembled:
    """Builds all parts of a job and resumes it if there is a checkpoint.

    Args:
        hyperparameters: Of the job.
        channels: Its input.
        vocabularies: Source and target.
        scratch: Where the corpora are put, as large as the channels.
        checkpoints: Where checkpoints go, and where the newest one is looked for.
        host: Name of this machine in the metric lines.
        stop_requested: Whether the job shall end.
        workers: Who trains together; by default this process alone.
        outputs: Where its reports go; by default there are none.

    Raises:
        ClientError: The data, or a checkpoint of another job.
    """
    check_beam(hyperparameters, len(vocabularies[1]))
    workers = workers or Workers(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    device = workers.device
    logger.info("Training on %s with %d threads; processes: %d", device, torch.get_num_threads(), workers.size)
    source_vocabulary, target_vocabulary = vocabularies
    logger.info("Vocabulary sizes: source=%d target=%d", len(source_vocabulary), len(target_vocabulary))
    config = model_config(hyperparameters, len(source_vocabulary), len(target_vocabulary))
    first_weights = weights_of(channels.model, config, *vocabularies) if channels.model else None
    # (1) Data.
    train_full = _read(channels.train, vocabularies, scratch, workers)
    validation_full = _read(channels.validation, vocabularies, scratch, workers)
    train_corpus = _pairs_as_trained(train_full, channels.train, hyperparameters)
    validation_corpus = _truncate(validation_full, "validation", hyperparameters)
    train_is_shard, validation_is_shard = (
        workers.size > workers.local_size and channel.is_sharded for channel in (channels.train, channels.validation)
    )
    statistics = _statistics(train_corpus, workers, train_is_shard)
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
    schedule = make_schedule(hyperparameters, len(train_data.plan(0)))
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
    logger.info("Early stopping by optimizing '%s'", hyperparameters.optimized_metric)
    # (5) The checkpoint to go on from.
    store = CheckpointStore(checkpoints)
    identity = JobIdentity(
        hyperparameters.model_dump(mode="json"),
        {
            "source vocabulary": _digest(source_vocabulary),
            "target vocabulary": _digest(target_vocabulary),
            "train channel": _digest_of_all(train_full, workers, train_is_shard),
            "validation channel": _digest_of_all(validation_full, workers, validation_is_shard),
        },
    )
    state = TrainState()
    if workers.is_leader:
        begin = _starting_point(store, hyperparameters.start_epoch)
        if begin is not None:
            where = str(store.folder(begin))
            state = restore(store.load(begin), model, optimizer, schedule, identity, where)
            logger.info("Resuming from %s: update %d, epoch %d", where, state.updates, state.epoch)
        if hyperparameters.start_epoch != "auto":
            _remove_later(store, begin or 0)
    # The other workers need not see the leader's checkpoints.
    state, optimizer.updates, schedule_state = workers.broadcast((state, optimizer.updates, schedule.state()))
    schedule.load_state(schedule_state)
    workers.broadcast_tensors([*model.parameters(), *optimizer.state().values()])
    retention = make_retention(hyperparameters)
    if workers.is_leader:
        tensors = [*model.parameters(), *optimizer.state().values()]
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        store.require_space(size, retention.most if retention else MOST)
    job = TrainingJob(
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        train_data=train_data,
        validation_data=validation_data,
        bleu=bleu,
        optimized=METRICS[hyperparameters.optimized_metric],
        shown_metric=hyperparameters.training_metric,
        stopping=stopping_rule(hyperparameters),
        checkpoints=CheckpointRule(hyperparameters.checkpoint_frequency_num_batches, hyperparameters.save_interval),
        store=store,
        retention=retention,
        identity=identity,
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
            optimized=METRICS[hyperparameters.optimized_metric],
            train_data=train_data,
            validation_data=validation_data,
            validation=validation_full,
            translator=translator,
            schedule=schedule,
            seed=hyperparameters.seed,
        ),
    )
    return Assembled(job, state, hyperparameters, source_vocabulary, target_vocabulary, inference)


def model_config(hyperparameters: Hyperparameters, source_size: int, target_size: int) -> ModelConfig:
    """The shape of the model for vocabularies of these sizes."""
    h = hyperparameters
    return ModelConfig(
        source_embedding=EmbeddingConfig(
            vocabulary_size=source_size, size=h.num_embed_source, dropout=h.embed_dropout_source
        ),
        target_embedding=EmbeddingConfig(
            vocabulary_size=target_size, size=h.num_embed_target, dropout=h.embed_dropout_target
        ),
        encoder=_encoder_config(h),
        decoder=_decoder_config(h),
    )


def _encoder_config(h: Hyperparameters) -> RecurrentEncoderConfig | ConvolutionalEncoderConfig:
    if h.encoder_type == "cnn":
        return ConvolutionalEncoderConfig(
            num_layers=h.num_layers_encoder,
            num_hidden=h.cnn_num_hidden,
            kernel_width=h.cnn_kernel_width_encoder,
            activation=h.cnn_activation_type,
            max_length=h.max_seq_len_source,
            hidden_dropout=h.cnn_hidden_dropout,
        )
    return RecurrentEncoderConfig(
        cell_type=h.rnn_cell_type,
        num_layers=h.num_layers_encoder,
        num_hidden=h.rnn_num_hidden,
        residual=h.rnn_residual_connections,
        first_residual_layer=h.rnn_first_residual_layer,
    )


def _decoder_config(h: Hyperparameters) -> RecurrentDecoderConfig | ConvolutionalDecoderConfig:
    if h.decoder_type == "cnn":
        return ConvolutionalDecoderConfig(
            num_layers=h.num_layers_decoder,
            num_hidden=h.cnn_num_hidden,
            kernel_width=h.cnn_kernel_width_decoder,
            activation=h.cnn_activation_type,
            max_length=h.max_seq_len_target + 1,
            hidden_dropout=h.cnn_hidden_dropout,
        )
    return RecurrentDecoderConfig(
        cell_type=h.rnn_cell_type,
        num_layers=h.num_layers_decoder,
        num_hidden=h.rnn_num_hidden,
        attention=AttentionConfig(type=h.rnn_attention_type, num_hidden=h.attention_num_hidden),
        attention_in_upper_layers=h.rnn_attention_in_upper_layers,
        state_init=h.rnn_decoder_state_init,
        residual=h.rnn_residual_connections,
        first_residual_layer=h.rnn_first_residual_layer,
        hidden_dropout=h.rnn_decoder_hidden_dropout,
    )


def initialization(hyperparameters: Hyperparameters) -> Initialization:
    """How the weights begin; a negative scale means the same as a positive one."""
    return Initialization(
        hyperparameters.weight_init_type,
        hyperparameters.weight_init_magnitude,
        hyperparameters.xavier_factor_type,
    )


def optimizer_config(hyperparameters: Hyperparameters) -> OptimizerConfig:
    """Which optimizer; clipping at 0 or below is none."""
    clip = hyperparameters.clip_gradient
    return OptimizerConfig(
        type=hyperparameters.optimizer_type,
        weight_decay=hyperparameters.weight_decay,
        momentum=hyperparameters.momentum or 0.0,
        clip_gradient=clip if clip > 0 else None,
    )


def make_schedule(hyperparameters: Hyperparameters, updates_per_epoch: int) -> Schedule:
    """How the learning rate falls."""
    h = hyperparameters
    interval = h.checkpoint_frequency_num_batches if h.save_interval is None else h.save_interval * updates_per_epoch
    half_life = h.fixed_rate_lr_half_life * interval
    match h.lr_scheduler_type:
        case "fixed_rate_inv_t":
            return InverseTime(h.learning_rate, half_life)
        case "fixed_rate_inv_sqrt_t":
            return InverseSquareRoot(h.learning_rate, half_life)
        case "plateau_reduce":
            return PlateauReduce(h.learning_rate, h.plateau_reduce_lr_factor, h.plateau_reduce_lr_threshold)


def make_buckets(hyperparameters: Hyperparameters, statistics: LengthStatistics) -> list[Bucket]:
    """The shapes of batches; without bucketing only the largest. The target counts ``</s>``."""
    max_source, max_target = hyperparameters.max_seq_len_source, hyperparameters.max_seq_len_target + 1
    if not hyperparameters.bucketing_enabled:
        return [Bucket(max_source, max_target)]
    return define_parallel_buckets(max_source, max_target, hyperparameters.bucket_width, statistics.ratio_mean)


def make_plan(
    hyperparameters: Hyperparameters, corpus: Corpus, statistics: LengthStatistics, share: float = 1.0
) -> BatchPlan:
    """How a truncated corpus is cut into batches.

    Args:
        hyperparameters: Of the job.
        corpus: As trained.
        statistics: Of training, on all machines.
        share: What part of a batch comes from this corpus; the other machines have the rest.
    """
    h = hyperparameters
    source_lengths, target_lengths = corpus.source.lengths, corpus.target.lengths + 1
    order = h.ordering
    ordering = Ordering(order.mode, order.seed, order.parts, order.part_size) if order is not None else None
    if h.max_batch_tokens is None or ordering is None:
        buckets = make_buckets(h, statistics)
        batch_size = max(1, round(h.batch_size * share))
        return BucketPlan(source_lengths, target_lengths, buckets, batch_size, h.seed, ordering)
    max_tokens = max(1, round(h.max_batch_tokens * share))
    max_seqs = None if h.max_seqs is None else max(1, round(h.max_seqs * share))
    return TokenPlan(source_lengths, target_lengths, max_tokens, max_seqs, h.seed, ordering)


def make_retention(hyperparameters: Hyperparameters) -> Retention | None:
    """Which checkpoints stay, if the job says."""
    wanted = hyperparameters.cleanup_old_models
    if isinstance(wanted, bool):
        return None
    return Retention(wanted.keep_last_n, wanted.keep_best_n, frozenset(wanted.keep))


def _starting_point(store: CheckpointStore, start_epoch: int | Literal["auto"]) -> int | None:
    """The updates of the checkpoint to go on from, if there is one.

    Raises:
        ClientError: There is no checkpoint of the epoch before ``start_epoch``.
    """
    if start_epoch == "auto":
        return store.newest()
    if start_epoch == 1:
        return None
    ends = {}
    for updates in store.stored():
        state = store.values(updates)["state"]
        if state["position"] == 0 and state["evaluated_updates"] == updates:
            ends[state["epoch"]] = updates
    before = start_epoch - 1
    if before not in ends:
        raise ClientError(
            f"start_epoch: {start_epoch} needs the checkpoint of epoch {before}, which is not in {store.root}; there "
            f"are those of epochs {', '.join(map(str, sorted(ends))) or 'none'}. Choose one of them plus 1, or auto."
        )
    return ends[before]


def _remove_later(store: CheckpointStore, begin: int) -> None:
    """Removes the checkpoints that would come after the one to go on from."""
    kept = [updates for updates in store.stored() if updates <= begin]
    if removed := len(store.stored()) - len(kept):
        logger.warning("start_epoch: %d checkpoints that come later are removed from %s", removed, store.root)
    store.retain(kept)


def stopping_rule(hyperparameters: Hyperparameters) -> StoppingRule:
    """When to end."""
    h = hyperparameters
    return StoppingRule(
        max_updates=None if h.max_num_batches == -1 else h.max_num_batches,
        max_epochs=h.epoch_limit,
        min_epochs=h.min_num_epochs,
        patience=h.checkpoint_threshold,
    )


def inference_config(hyperparameters: Hyperparameters, statistics: LengthStatistics) -> InferenceConfig:
    """How the model will translate; a convolutional decoder has to learn the positions of whole translations."""
    max_input_length, target_slots = hyperparameters.max_seq_len_source, hyperparameters.max_seq_len_target + 1
    if hyperparameters.decoder_type == "cnn":
        ratio = longest_ratio(statistics.ratio_mean, statistics.ratio_std)
        max_input_length = longest_source(max_input_length, ratio, target_slots)
    return InferenceConfig(
        beam_size=hyperparameters.beam_size,
        length_penalty_alpha=hyperparameters.length_penalty_alpha,
        length_penalty_beta=hyperparameters.length_penalty_beta,
        limits=LengthLimits(
            max_input_length=max_input_length,
            ratio_mean=statistics.ratio_mean,
            ratio_std=statistics.ratio_std,
            max_output_length=target_slots,
        ),
    )


def _read(
    channel: RecordChannel, vocabularies: tuple[Vocabulary, Vocabulary], scratch: Path, workers: Workers
) -> Corpus:
    """The corpus of a channel, which one process of each machine builds for all of them."""
    if not workers.leads_host:
        workers.gather(None)
        return open_corpus(scratch, channel.name)
    corpus, report = build_corpus(channel, len(vocabularies[0]), len(vocabularies[1]), scratch)
    workers.gather(None)
    logger.info(
        "%s channel: %d pairs in %d files, %d source and %d target tokens; %d records with an empty side skipped",
        channel.name,
        report.pairs,
        report.files,
        report.source_tokens,
        report.target_tokens,
        report.skipped,
    )
    return corpus


def _pairs_as_trained(full: Corpus, channel: RecordChannel, hyperparameters: Hyperparameters) -> Corpus:
    """The training pairs after ``max_seq_length``, ``chunking`` and the truncation of what is left."""
    corpus, bounds, chunking = full, hyperparameters.max_seq_length, hyperparameters.chunking
    if chunking:
        require_equal_sides(corpus, channel)
    if bounds is not None:
        corpus, discarded = corpus.bounded(bounds.source, bounds.target)
        if not len(corpus):
            message = f"all {discarded} pairs have more tokens than max_seq_length {written(bounds)} allows; raise it"
            raise ClientError(message, where=f"{channel.name} channel")
        logger.info("train channel: %d pairs over max_seq_length %s discarded", discarded, written(bounds))
    if chunking:
        corpus = chunked(corpus, chunking.size, chunking.step)
        logger.info("train channel: cut into %d chunks of at most %d tokens", len(corpus), chunking.size)
    corpus = _truncate(corpus, channel.name, hyperparameters)
    if most := hyperparameters.max_batch_tokens:
        too_long = int((np.maximum(corpus.source.lengths, corpus.target.lengths + 1) > most).sum())
        if too_long:
            logger.warning("train channel: each of %d pairs over max_batch_tokens %d is its own batch", too_long, most)
    return corpus


def _truncate(corpus: Corpus, name: str, hyperparameters: Hyperparameters) -> Corpus:
    max_source, max_target = hyperparameters.max_seq_len_source, hyperparameters.max_seq_len_target
    truncated, cut = corpus.truncated(max_source, max_target)
    if cut:
        logger.info(
            "%s channel: %d pairs truncated to %d source and %d target tokens", name, cut, max_source, max_target
        )
    return truncated


def _bleu(
    hyperparameters: Hyperparameters, validation: Corpus, translator: Translator, workers: Workers, is_shard: bool
) -> BleuSample | None:
    """The sample for BLEU if BLEU is wanted; -1, or 0 with BLEU optimised, is the whole channel."""
    size = hyperparameters.bleu_sample_size
    if size == 0 and hyperparameters.optimized_metric != "bleu":
        return None
    if is_shard:
        validation = _of_all_machines(validation, workers)
    return draw_sample(validation, size if size > 0 else None, hyperparameters.seed, translator)


def _statistics(corpus: Corpus, workers: Workers, is_shard: bool) -> LengthStatistics:
    own = length_statistics(corpus)
    if not is_shard:
        return own
    # Every process of a machine has the same numbers, so that each machine counts once per process it has.
    all_own = workers.gather((own, len(corpus) / workers.local_size))
    return pooled([statistics for statistics, _ in all_own], [weight for _, weight in all_own])


def _of_all_machines(corpus: Corpus, workers: Workers) -> Corpus:
    """The corpora of all machines in one, in memory."""
    sides = []
    for side in (corpus.source, corpus.target):
        own = [side[pair] for pair in range(len(side))] if workers.leads_host else []
        together = [tokens for tokens_of_one in workers.gather(own) for tokens in tokens_of_one]
        offsets = np.cumsum([0, *map(len, together)], dtype=np.int64)
        sides.append(Sequences.joined(np.concatenate(together), offsets))
    return Corpus(*sides)


def _digest_of_all(corpus: Corpus, workers: Workers, is_shard: bool) -> str:
    own = corpus.digest() if workers.leads_host else ""
    digests = sorted(set(workers.gather(own))) if is_shard else [own]
    return " ".join(filter(None, digests))


def _digest(vocabulary: Vocabulary) -> str:
    return hashlib.sha256(json.dumps(vocabulary.tokens).encode()).hexdigest()
