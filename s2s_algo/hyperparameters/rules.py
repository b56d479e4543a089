"""Rules between hyperparameters: what single rows cannot say.

Each rule is a function whose docstring is the rule's line in the user documentation. It yields what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from s2s_algo.hyperparameters.grammar import written
from s2s_algo.hyperparameters.table import Hyperparameters

_DROPOUTS = ("cnn_hidden_dropout", "embed_dropout_source", "embed_dropout_target", "rnn_decoder_hidden_dropout")
_EPOCHS = ("max_num_epochs", "num_epochs")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule has to say about a job.

    Attributes:
        level: ``ERROR`` stops the job; the others only go to the log.
        names: The parameters that it rests on; it is reported under the first.
        what: The first parameter's value and what is the matter with it.
        advice: How to mend it, or what follows from it.
        ignored_when_tuning: Whether a tuning job, which draws each parameter without regard to the others, goes on
            as if the first parameter had not been passed.
    """

    level: Literal["ERROR", "WARNING", "INFO"]
    names: tuple[str, ...]
    what: str
    advice: str
    ignored_when_tuning: bool = False


def residual_layers(job: Hyperparameters) -> Iterator[Finding]:
    """With `rnn_residual_connections`, `rnn_first_residual_layer` must be at least 2.

    Where no rnn encoder or decoder has that many layers, there are no residual connections and the log warns.
    """
    if not job.rnn_residual_connections:
        return
    first = job.rnn_first_residual_layer
    names = ("rnn_first_residual_layer", "rnn_residual_connections")
    if first == 1:
        yield Finding("ERROR", names, "1 has no layer below it to connect with", "pass 2 or more")
        return
    sides = ((job.encoder_type, job.num_layers_encoder), (job.decoder_type, job.num_layers_decoder))
    basis = ("encoder_type", "num_layers_encoder", "decoder_type", "num_layers_decoder")
    highest = max((depth for kind, depth in sides if kind == "rnn"), default=1)
    if highest == 1:
        yield Finding(
            "WARNING",
            ("rnn_residual_connections", *basis),
            "true has no effect on this model",
            "it needs an rnn encoder or decoder of more than 1 layer",
        )
    elif first > highest:
        yield Finding(
            "WARNING",
            (*names, *basis),
            f"{first} is above the highest rnn layer, {highest}",
            "there are no residual connections",
        )


def dropout_of_one(job: Hyperparameters) -> Iterator[Finding]:
    """A dropout of exactly 1 is allowed and drops everything; the log warns."""
    for name in _DROPOUTS:
        if getattr(job, name) == 1:
            yield Finding("WARNING", (name,), "1 drops every value, so that nothing passes", "less than 1 is usual")


def whole_set_for_bleu(job: Hyperparameters) -> Iterator[Finding]:
    """With `optimized_metric` bleu, a `bleu_sample_size` of 0 means the whole validation set."""
    if job.optimized_metric == "bleu" and job.bleu_sample_size == 0:
        yield Finding(
            "INFO",
            ("bleu_sample_size", "optimized_metric"),
            "0 with optimized_metric bleu means the whole validation set",
            "a sample makes checkpoints faster",
        )


def plateau_before_stop(job: Hyperparameters) -> Iterator[Finding]:
    """`checkpoint_threshold` should be above `plateau_reduce_lr_threshold`.

    Otherwise, as by default, early stopping ends the job no later than `plateau_reduce` would first lower the learning
    rate; the log warns.
    """
    reduces = job.lr_scheduler_type == "plateau_reduce" and job.plateau_reduce_lr_factor != 1
    stops_early_from_the_start = job.epoch_limit is None and job.min_num_epochs == 0
    if not (reduces and stops_early_from_the_start):
        return
    names = (
        "checkpoint_threshold",
        "plateau_reduce_lr_threshold",
        "plateau_reduce_lr_factor",
        "lr_scheduler_type",
        "max_num_epochs",
        "num_epochs",
        "min_num_epochs",
    )
    stop, reduction = job.checkpoint_threshold, job.plateau_reduce_lr_threshold
    if stop == reduction:
        what = f"{stop} is plateau_reduce_lr_threshold too"
        yield Finding("WARNING", names, what, "the job stops at the moment its learning rate would first be reduced")
    elif stop < reduction:
        what = f"{stop} is below plateau_reduce_lr_threshold {reduction}"
        yield Finding("WARNING", names, what, "the job stops before its learning rate would first be reduced")


def epochs_without_early_stopping(job: Hyperparameters) -> Iterator[Finding]:
    """If `max_num_epochs` is passed, early stopping is off until that many epochs are done.

    The best checkpoint is still the result.
    """
    for name in _EPOCHS:
        epochs = getattr(job, name)
        if epochs is not None:
            what = f"{epochs} epochs are trained without early stopping"
            yield Finding("INFO", (name,), what, "the best checkpoint is the result")


def order_of_epochs(job: Hyperparameters) -> Iterator[Finding]:
    """`min_num_epochs` must be at most `max_num_epochs`."""
    for name in _EPOCHS:
        epochs = getattr(job, name)
        if epochs is not None and job.min_num_epochs > epochs:
            what = f"{job.min_num_epochs} is more than {name} {epochs}"
            yield Finding("ERROR", ("min_num_epochs", name), what, f"lower it or raise {name}")


def scale_of_distribution(job: Hyperparameters) -> Iterator[Finding]:
    """`weight_init_scale` must be positive with xavier.

    With uniform its sign does not count, and the log warns of values above 1.
    """
    names = ("weight_init_scale", "weight_init_type")
    scale = written(job.weight_init_scale)
    bound = written(job.weight_init_magnitude)
    if job.weight_init_type == "xavier" and job.weight_init_scale < 0:
        yield Finding("ERROR", names, f"{scale} is negative", f"pass {bound}, or weight_init_type uniform")
    elif job.weight_init_type == "uniform" and job.weight_init_magnitude > 1:
        yield Finding(
            "WARNING",
            names,
            f"{scale} lets uniform draw weights from -{bound} to {bound}",
            "about 0.1 is usual; the default, 2.34, suits xavier",
        )


def momentum_of_sgd(job: Hyperparameters) -> Iterator[Finding]:
    """`momentum` must not be passed with adam or rmsprop.

    A tuning job may draw both, so there it is ignored and the log warns.
    """
    if job.momentum is not None and job.optimizer_type != "sgd":
        yield Finding(
            "ERROR",
            ("momentum", "optimizer_type"),
            f"{written(job.momentum)} was passed with optimizer_type {job.optimizer_type}, which has no momentum",
            "leave it out or pass optimizer_type sgd",
            ignored_when_tuning=True,
        )


def token_batches_alone(job: Hyperparameters) -> Iterator[Finding]:
    """`max_batch_tokens` takes the place of `batch_size`, so only one of them can be passed.

    Nor are there buckets then; the log warns if `bucketing_enabled` or `bucket_width` is passed.
    """
    if job.max_batch_tokens is None:
        return
    if "batch_size" in job.model_fields_set:
        yield Finding(
            "ERROR",
            ("max_batch_tokens", "batch_size"),
            f"{job.max_batch_tokens} takes the place of batch_size, but {job.batch_size} was passed as that too",
            "leave one of them out",
        )
    for name in ("bucketing_enabled", "bucket_width"):
        if name in job.model_fields_set:
            what = f"{written(getattr(job, name))} has no effect with max_batch_tokens"
            yield Finding("WARNING", (name, "max_batch_tokens"), what, "batches are as long as their longest pair")


def pairs_of_token_batches(job: Hyperparameters) -> Iterator[Finding]:
    """`max_seqs` can be passed only with `max_batch_tokens`."""
    if job.max_seqs is not None and job.max_batch_tokens is None:
        yield Finding(
            "ERROR",
            ("max_seqs", "max_batch_tokens"),
            f"{job.max_seqs} was passed without max_batch_tokens",
            "pass that as well, or batch_size instead",
        )


def chunks_are_not_cut(job: Hyperparameters) -> Iterator[Finding]:
    """A `chunking` size should be at most `max_seq_len_source` and `max_seq_len_target`.

    Longer chunks are cut to these lengths; the log warns.
    """
    shortest = min(job.max_seq_len_source, job.max_seq_len_target)
    if job.chunking and job.chunking.size > shortest:
        yield Finding(
            "WARNING",
            ("chunking", "max_seq_len_source", "max_seq_len_target"),
            f"its chunks of {job.chunking.size} tokens are cut to {shortest}",
            "lower its size, or raise max_seq_len_source and max_seq_len_target",
        )


def chunks_leave_no_gaps(job: Hyperparameters) -> Iterator[Finding]:
    """A `chunking` step should be at most its size.

    With a longer one the tokens between two chunks are left out; the log warns.
    """
    if job.chunking and job.chunking.step > job.chunking.size:
        left_out = job.chunking.step - job.chunking.size
        yield Finding(
            "WARNING",
            ("chunking",),
            f"{written(job.chunking)} leaves out {left_out} of every {job.chunking.step} tokens",
            f"a step of at most {job.chunking.size} keeps them all",
        )


def one_limit_of_epochs(job: Hyperparameters) -> Iterator[Finding]:
    """`num_epochs` and `max_num_epochs` are the same, so only one of them can be passed."""
    if job.num_epochs is not None and job.max_num_epochs is not None:
        yield Finding(
            "ERROR",
            ("num_epochs", "max_num_epochs"),
            f"{job.num_epochs} was passed with max_num_epochs {job.max_num_epochs}, which means the same",
            "leave one of them out",
        )


def one_time_of_checkpoints(job: Hyperparameters) -> Iterator[Finding]:
    """`save_interval` takes the place of `checkpoint_frequency_num_batches`, so only one of them can be passed."""
    if job.save_interval is not None and "checkpoint_frequency_num_batches" in job.model_fields_set:
        yield Finding(
            "ERROR",
            ("save_interval", "checkpoint_frequency_num_batches"),
            f"{job.save_interval} epochs was passed with checkpoint_frequency_num_batches "
            f"{job.checkpoint_frequency_num_batches}",
            "leave one of them out",
        )


def start_where_an_epoch_ended(job: Hyperparameters) -> Iterator[Finding]:
    """A number as `start_epoch` needs `save_interval`, with which epochs end in checkpoints."""
    if job.start_epoch != "auto" and job.save_interval is None:
        yield Finding(
            "ERROR",
            ("start_epoch", "save_interval"),
            f"{job.start_epoch} was passed without save_interval, which makes checkpoints at the ends of epochs",
            "pass save_interval, or leave start_epoch out to go on from the newest checkpoint",
        )


RULES: tuple[Callable[[Hyperparameters], Iterator[Finding]], ...] = (
    residual_layers,
    dropout_of_one,
    whole_set_for_bleu,
    plateau_before_stop,
    epochs_without_early_stopping,
    order_of_epochs,
    scale_of_distribution,
    momentum_of_sgd,
    token_batches_alone,
    pairs_of_token_batches,
    chunks_are_not_cut,
    chunks_leave_no_gaps,
    one_limit_of_epochs,
    one_time_of_checkpoints,
    start_where_an_epoch_ended,
)
