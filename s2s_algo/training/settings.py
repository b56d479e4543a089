"""What the hyperparameters of a job mean for each of its parts."""

from __future__ import annotations

from s2s_algo.checkpoints.retention import Retention
from s2s_algo.data.buckets import Bucket, define_parallel_buckets
from s2s_algo.data.corpus import Corpus
from s2s_algo.data.ordering import Ordering
from s2s_algo.data.plans import BatchPlan, BucketPlan, TokenPlan
from s2s_algo.data.statistics import LengthStatistics
from s2s_algo.hyperparameters import Hyperparameters
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
from s2s_algo.model.initialization import Initialization
from s2s_algo.model.limits import LengthLimits, longest_ratio, longest_source
from s2s_algo.training.optimizers import OptimizerConfig
from s2s_algo.training.schedules import InverseSquareRoot, InverseTime, PlateauReduce, Schedule
from s2s_algo.training.stopping import StoppingRule


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
