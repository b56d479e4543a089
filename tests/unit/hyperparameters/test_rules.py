import pytest

from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Notice, validate

TUNING = {"_tuning_objective_metric": "validation:bleu"}
# Passed beside what a test is about: without it the defaults give a warning of their own.
QUIET = {"checkpoint_threshold": "4"}


def notices(raw):
    return [(notice.level, notice.text) for notice in validate({**QUIET, **raw}).notices]


def message_of(raw):
    with pytest.raises(ClientError) as caught:
        validate(raw)
    return str(caught.value)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_momentum_without_sgd_is_refused(optimizer):
    assert message_of({"momentum": "0.9", "optimizer_type": optimizer}) == (
        f"momentum: 0.9 was passed with optimizer_type {optimizer}, which has no momentum; "
        "leave it out or pass optimizer_type sgd"
    )


def test_momentum_without_sgd_is_ignored_with_a_warning_in_a_tuning_job():
    validated = validate({**TUNING, **QUIET, "momentum": "0.9", "optimizer_type": "rmsprop"})

    assert validated.hyperparameters.momentum is None
    assert "momentum" not in validated.hyperparameters.model_fields_set
    assert validated.notices[-1] == Notice(
        "WARNING",
        "momentum: 0.9 was passed with optimizer_type rmsprop, which has no momentum; ignored in this tuning job",
    )


def test_momentum_with_sgd_is_kept_in_a_tuning_job():
    assert validate({**TUNING, "momentum": "0.9", "optimizer_type": "sgd"}).hyperparameters.momentum == 0.9


@pytest.mark.parametrize("value", ["0", "0.0"])
def test_momentum_of_zero_counts_as_passed(value):
    assert message_of({"momentum": value}).startswith("momentum: 0 was passed with optimizer_type adam")


@pytest.mark.parametrize("value", ["None", "null", "", None])
def test_momentum_that_means_not_passed_is_fine_with_adam(value):
    configured = validate({"momentum": value}).hyperparameters

    assert configured.momentum is None
    assert configured.model_fields_set == set()


def test_a_wrong_momentum_is_refused_in_a_tuning_job_too():
    assert message_of({**TUNING, "momentum": "2"}).startswith("momentum: '2' is not a number in [0, 1)")


def test_negative_scale_is_refused_with_xavier():
    expected = "weight_init_scale: -1.5 is negative; pass 1.5, or weight_init_type uniform"

    assert message_of({"weight_init_scale": "-1.5"}) == expected
    assert message_of({**TUNING, "weight_init_type": "xavier", "weight_init_scale": "-1.5"}) == expected


def test_negative_scale_is_its_absolute_value_with_uniform():
    configured = validate({"weight_init_type": "uniform", "weight_init_scale": "-0.5"}).hyperparameters

    assert configured.weight_init_magnitude == 0.5


def test_uniform_with_the_scale_of_xavier_warns():
    assert notices({"weight_init_type": "uniform"}) == [
        (
            "WARNING",
            "weight_init_scale: 2.34 lets uniform draw weights from -2.34 to 2.34; "
            "about 0.1 is usual; the default, 2.34, suits xavier",
        )
    ]
    assert notices({"weight_init_type": "uniform", "weight_init_scale": "-1"}) == []


def test_first_residual_layer_of_one_is_refused_with_residual_connections():
    assert message_of({"rnn_residual_connections": "true", "rnn_first_residual_layer": "1"}) == (
        "rnn_first_residual_layer: 1 has no layer below it to connect with; pass 2 or more"
    )


def test_first_residual_layer_of_one_is_fine_without_residual_connections():
    assert validate({"rnn_first_residual_layer": "1"}).hyperparameters.rnn_first_residual_layer == 1


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"encoder_type": "cnn", "num_layers_encoder": "8"},
        {"encoder_type": "cnn", "decoder_type": "cnn", "num_layers_encoder": "8", "num_layers_decoder": "8"},
    ],
    ids=["one layer", "one rnn layer", "no rnn"],
)
def test_residual_connections_without_effect_warn(model):
    assert notices({**model, "rnn_residual_connections": "true"}) == [
        (
            "WARNING",
            "rnn_residual_connections: true has no effect on this model; "
            "it needs an rnn encoder or decoder of more than 1 layer",
        )
    ]


def test_first_residual_layer_above_all_layers_warns():
    raw = {"rnn_residual_connections": "true", "num_layers_encoder": "3", "num_layers_decoder": "2"}

    assert notices({**raw, "rnn_first_residual_layer": "3"}) == []
    assert notices({**raw, "rnn_first_residual_layer": "4"}) == [
        (
            "WARNING",
            "rnn_first_residual_layer: 4 is above the highest rnn layer, 3; there are no residual connections",
        )
    ]


@pytest.mark.parametrize(
    "name", ["cnn_hidden_dropout", "embed_dropout_source", "embed_dropout_target", "rnn_decoder_hidden_dropout"]
)
def test_dropout_of_one_is_allowed_with_a_warning(name):
    assert getattr(validate({name: "1.0"}).hyperparameters, name) == 1.0
    assert notices({name: "1.0"}) == [
        ("WARNING", f"{name}: 1 drops every value, so that nothing passes; less than 1 is usual")
    ]
    assert notices({name: "0.99"}) == []


def test_stop_at_the_first_reduction_warns_as_with_the_defaults():
    expected = (
        "WARNING",
        "checkpoint_threshold: 3 is plateau_reduce_lr_threshold too; "
        "the job stops at the moment its learning rate would first be reduced",
    )

    assert [(notice.level, notice.text) for notice in validate({}).notices] == [expected]


def test_stop_before_the_first_reduction_warns():
    assert notices({"plateau_reduce_lr_threshold": "5"}) == [
        (
            "WARNING",
            "checkpoint_threshold: 4 is below plateau_reduce_lr_threshold 5; "
            "the job stops before its learning rate would first be reduced",
        )
    ]


@pytest.mark.parametrize(
    "raw",
    [
        {"plateau_reduce_lr_threshold": "2"},
        {"lr_scheduler_type": "fixed_rate_inv_t"},
        {"plateau_reduce_lr_factor": "1"},
        {"min_num_epochs": "1"},
    ],
    ids=["reduces before", "another schedule", "reduction off", "stopping is delayed"],
)
def test_no_warning_where_the_job_does_not_stop_before_a_reduction(raw):
    assert validate(raw).notices == ()


def test_max_num_epochs_says_that_early_stopping_is_off():
    assert validate({"max_num_epochs": "10"}).notices == (
        Notice(
            "INFO", "max_num_epochs: 10 epochs are trained without early stopping; the best checkpoint is the result"
        ),
    )


@pytest.mark.parametrize("raw", [{}, {"max_num_epochs": "5"}, {"max_num_epochs": "6"}, {"max_num_epochs": "None"}])
def test_min_num_epochs_up_to_max_num_epochs_is_fine(raw):
    assert validate({**raw, "min_num_epochs": "5"}).hyperparameters.min_num_epochs == 5


def test_min_num_epochs_above_max_num_epochs_is_refused():
    assert message_of({"min_num_epochs": "5", "max_num_epochs": "4"}) == (
        "min_num_epochs: 5 is more than max_num_epochs 4; lower it or raise max_num_epochs"
    )


@pytest.mark.parametrize("training_metric", ["perplexity", "accuracy"])
@pytest.mark.parametrize("optimized_metric", ["perplexity", "accuracy", "bleu"])
def test_every_optimized_metric_goes_with_every_training_metric(training_metric, optimized_metric):
    configured = validate({"training_metric": training_metric, "optimized_metric": optimized_metric}).hyperparameters

    assert (configured.training_metric, configured.optimized_metric) == (training_metric, optimized_metric)


def test_bleu_without_a_sample_size_says_that_it_takes_the_whole_set():
    assert notices({"optimized_metric": "bleu"}) == [
        (
            "INFO",
            "bleu_sample_size: 0 with optimized_metric bleu means the whole validation set; "
            "a sample makes checkpoints faster",
        )
    ]
    assert notices({"optimized_metric": "bleu", "bleu_sample_size": "256"}) == []
    assert notices({"optimized_metric": "bleu", "bleu_sample_size": "-1"}) == []


def test_odd_width_and_even_kernel_are_refused_where_they_are_not_used():
    message = message_of(
        {"encoder_type": "rnn", "cnn_kernel_width_encoder": "4", "decoder_type": "cnn", "rnn_num_hidden": "7"}
    )

    assert message.splitlines() == [
        "2 problems with the hyperparameters:",
        "rnn_num_hidden: '7' is not an even integer from 2 to 65536; the nearest allowed is 6",
        "cnn_kernel_width_encoder: '4' is not an odd integer from 1 to 65535; the nearest allowed is 3",
    ]


def test_nothing_is_said_that_rests_on_a_refused_value():
    message = message_of({"momentum": "0.9", "optimizer_type": "SGD", "min_num_epochs": "9", "max_num_epochs": "x"})

    assert message.splitlines()[1:] == [
        "max_num_epochs: 'x' is not an integer from 1 to 2147483647; leave it out if you do not need it",
        "optimizer_type: 'SGD' is not one of adam, sgd, rmsprop; did you mean 'sgd'?",
    ]


def test_rules_are_checked_beside_refused_values():
    message = message_of({"momentum": "0.9", "batch_size": "0", "min_num_epochs": "9", "max_num_epochs": "8"})

    assert [line.split(":")[0] for line in message.splitlines()[1:]] == ["batch_size", "min_num_epochs", "momentum"]


@pytest.mark.parametrize("batch_size", ["64", "32"])
def test_token_batches_and_a_passed_batch_size_are_refused(batch_size):
    assert message_of({"max_batch_tokens": "4096", "batch_size": batch_size}) == (
        f"max_batch_tokens: 4096 takes the place of batch_size, but {batch_size} was passed as that too; "
        "leave one of them out"
    )


def test_passed_buckets_have_no_effect_with_token_batches():
    assert notices({"max_batch_tokens": "4096"}) == []
    assert notices({"max_batch_tokens": "4096", "bucketing_enabled": "true", "bucket_width": "5"}) == [
        (
            "WARNING",
            "bucketing_enabled: true has no effect with max_batch_tokens; batches are as long as their longest pair",
        ),
        ("WARNING", "bucket_width: 5 has no effect with max_batch_tokens; batches are as long as their longest pair"),
    ]


def test_max_seqs_without_token_batches_is_refused():
    assert message_of({"max_seqs": "9"}) == (
        "max_seqs: 9 was passed without max_batch_tokens; pass that as well, or batch_size instead"
    )
    assert message_of({"max_seqs": "9", "max_batch_tokens": "x"}).startswith("max_batch_tokens: 'x' is not")


def test_chunks_with_gaps_warn():
    assert notices({"chunking": "3:3"}) == []
    assert notices({"chunking": "3:5"}) == [
        ("WARNING", "chunking: 3:5 leaves out 2 of every 5 tokens; a step of at most 3 keeps them all")
    ]


def test_chunks_that_would_be_cut_warn():
    assert notices({"chunking": "100:75"}) == []
    assert notices({"chunking": "100:75", "max_seq_len_target": "60"}) == [
        (
            "WARNING",
            "chunking: its chunks of 100 tokens are cut to 60; "
            "lower its size, or raise max_seq_len_source and max_seq_len_target",
        )
    ]


def test_both_names_of_the_limit_of_epochs_are_refused():
    for epochs in ("3", "4"):
        assert message_of({"num_epochs": "3", "max_num_epochs": epochs}) == (
            f"num_epochs: 3 was passed with max_num_epochs {epochs}, which means the same; leave one of them out"
        )


def test_num_epochs_says_and_refuses_what_max_num_epochs_does():
    assert validate({"num_epochs": "10"}).notices == (
        Notice("INFO", "num_epochs: 10 epochs are trained without early stopping; the best checkpoint is the result"),
    )
    assert message_of({"min_num_epochs": "5", "num_epochs": "4"}) == (
        "min_num_epochs: 5 is more than num_epochs 4; lower it or raise num_epochs"
    )


@pytest.mark.parametrize("frequency", ["1000", "7"])
def test_save_interval_and_a_passed_checkpoint_frequency_are_refused(frequency):
    assert message_of({"save_interval": "2", "checkpoint_frequency_num_batches": frequency}) == (
        f"save_interval: 2 epochs was passed with checkpoint_frequency_num_batches {frequency}; leave one of them out"
    )
    assert validate({"save_interval": "2"}).hyperparameters.save_interval == 2


@pytest.mark.parametrize("epoch", ["1", "8"])
def test_a_first_epoch_without_save_interval_is_refused(epoch):
    assert message_of({"start_epoch": epoch}) == (
        f"start_epoch: {epoch} was passed without save_interval, which makes checkpoints at the ends of epochs; "
        "pass save_interval, or leave start_epoch out to go on from the newest checkpoint"
    )
    assert validate({"start_epoch": "auto"}).hyperparameters.start_epoch == "auto"
    assert validate({"start_epoch": epoch, "save_interval": "1"}).hyperparameters.start_epoch == int(epoch)
