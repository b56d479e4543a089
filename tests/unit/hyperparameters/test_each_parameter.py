"""Every hyperparameter: a value that changes the configuration, a value of the wrong type, a value out of range.

The table is written by hand and shares nothing with the product's table, so that a change there shows here.
"""

from dataclasses import dataclass, field

import pytest

from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters, validate
from s2s_algo.hyperparameters.parameters import parameters
from s2s_algo.hyperparameters.values import Chunking, CleanupOldModels, MaxSeqLength, SeqOrdering


@dataclass(frozen=True)
class Case:
    name: str
    default: object
    text: str  # a valid value other than the default, as it is passed
    value: object  # the same as it is configured
    wrong_type: object
    wrong_type_message: str
    outside: object = None  # a value of the right type that is not allowed; None where every one is
    outside_message: str = ""
    beside: dict[str, str] = field(default_factory=dict)  # what else must be passed for the valid value to be allowed


CASES = [
    Case(
        "max_seq_len_source", 100, "60", 60,
        "long", "max_seq_len_source: 'long' is not an integer from 1 to 100000; leave it out for the default 100",
        "0", "max_seq_len_source: '0' is not an integer from 1 to 100000; the nearest allowed is 1",
    ),
    Case(
        "max_seq_len_target", 100, "100000", 100000,
        "6O", "max_seq_len_target: '6O' is not an integer from 1 to 100000; leave it out for the default 100",
        "100001", "max_seq_len_target: '100001' is not an integer from 1 to 100000; the nearest allowed is 100000",
    ),
    Case(
        "encoder_type", "rnn", "cnn", "cnn",
        1, "encoder_type: 1 is not one of rnn, cnn; leave it out for the default rnn",
        "transformer", "encoder_type: 'transformer' is not one of rnn, cnn; leave it out for the default rnn",
    ),
    Case(
        "decoder_type", "rnn", "cnn", "cnn",
        True, "decoder_type: True is not one of rnn, cnn; leave it out for the default rnn",
        "CNN", "decoder_type: 'CNN' is not one of rnn, cnn; did you mean 'cnn'?",
    ),
    Case(
        "num_layers_encoder", 1, "4", 4,
        "four", "num_layers_encoder: 'four' is not an integer from 1 to 100; leave it out for the default 1",
        "101", "num_layers_encoder: '101' is not an integer from 1 to 100; the nearest allowed is 100",
    ),
    Case(
        "num_layers_decoder", 1, "100", 100,
        "2.0", "num_layers_decoder: '2.0' is not an integer from 1 to 100; write 2",
        "-1", "num_layers_decoder: '-1' is not an integer from 1 to 100; the nearest allowed is 1",
    ),
    Case(
        "rnn_num_hidden", 1024, "512", 512,
        "1e3", "rnn_num_hidden: '1e3' is not an even integer from 2 to 65536; write 1000",
        "513", "rnn_num_hidden: '513' is not an even integer from 2 to 65536; the nearest allowed is 512",
    ),
    Case(
        "rnn_cell_type", "lstm", "gru", "gru",
        None, "rnn_cell_type: None is not one of lstm, gru; leave it out for the default lstm",
        "LSTM", "rnn_cell_type: 'LSTM' is not one of lstm, gru; did you mean 'lstm'?",
    ),
    Case(
        "rnn_decoder_state_init", "last", "zero", "zero",
        0, "rnn_decoder_state_init: 0 is not one of last, avg, zero; leave it out for the default last",
        "zeros", "rnn_decoder_state_init: 'zeros' is not one of last, avg, zero; did you mean 'zero'?",
    ),
    Case(
        "rnn_residual_connections", False, "true", True,
        "1", "rnn_residual_connections: '1' is not true or false; write true",
    ),
    Case(
        "rnn_first_residual_layer", 2, "3", 3,
        "first",
        "rnn_first_residual_layer: 'first' is not an integer from 1 to 2147483647; leave it out for the default 2",
        "0", "rnn_first_residual_layer: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "cnn_kernel_width_encoder", 3, "5", 5,
        "[3]", "cnn_kernel_width_encoder: '[3]' is not an odd integer from 1 to 65535; leave it out for the default 3",
        "4", "cnn_kernel_width_encoder: '4' is not an odd integer from 1 to 65535; the nearest allowed is 3",
    ),
    Case(
        "cnn_kernel_width_decoder", 5, "1", 1,
        "5px", "cnn_kernel_width_decoder: '5px' is not an integer from 1 to 65536; leave it out for the default 5",
        "0", "cnn_kernel_width_decoder: '0' is not an integer from 1 to 65536; the nearest allowed is 1",
    ),
    Case(
        "cnn_num_hidden", 512, "128", 128,
        True, "cnn_num_hidden: True is not an integer from 1 to 65536; leave it out for the default 512",
        "65537", "cnn_num_hidden: '65537' is not an integer from 1 to 65536; the nearest allowed is 65536",
    ),
    Case(
        "cnn_activation_type", "glu", "softrelu", "softrelu",
        [],
        "cnn_activation_type: [] is not one of glu, relu, softrelu, sigmoid, tanh; leave it out for the default glu",
        "soft_relu",
        "cnn_activation_type: 'soft_relu' is not one of glu, relu, softrelu, sigmoid, tanh; did you mean 'softrelu'?",
    ),
    Case(
        "cnn_hidden_dropout", 0.0, "0.2", 0.2,
        "20%", "cnn_hidden_dropout: '20%' is not a number in [0, 1]; leave it out for the default 0",
        "1.5", "cnn_hidden_dropout: '1.5' is not a number in [0, 1]; the nearest allowed is 1",
    ),
    Case(
        "num_embed_source", 512, "256", 256,
        "", "num_embed_source: '' is not an integer from 1 to 65536; leave it out for the default 512",
        "-256", "num_embed_source: '-256' is not an integer from 1 to 65536; the nearest allowed is 1",
    ),
    Case(
        "num_embed_target", 512, "300", 300,
        "0x100", "num_embed_target: '0x100' is not an integer from 1 to 65536; leave it out for the default 512",
        "1000000", "num_embed_target: '1000000' is not an integer from 1 to 65536; the nearest allowed is 65536",
    ),
    Case(
        "embed_dropout_source", 0.0, ".3", 0.3,
        "none", "embed_dropout_source: 'none' is not a number in [0, 1]; leave it out for the default 0",
        "-0.1", "embed_dropout_source: '-0.1' is not a number in [0, 1]; the nearest allowed is 0",
    ),
    Case(
        "embed_dropout_target", 0.0, "5e-1", 0.5,
        "nan", "embed_dropout_target: 'nan' is not a number in [0, 1]; leave it out for the default 0",
        2, "embed_dropout_target: 2 is not a number in [0, 1]; the nearest allowed is 1",
    ),
    Case(
        "rnn_attention_type", "mlp", "bilinear", "bilinear",
        {}, "rnn_attention_type: {} is not one of dot, fixed, mlp, bilinear; leave it out for the default mlp",
        "general",
        "rnn_attention_type: 'general' is not one of dot, fixed, mlp, bilinear; leave it out for the default mlp",
    ),
    Case(
        "rnn_attention_num_hidden", None, "256", 256,
        "wide",
        "rnn_attention_num_hidden: 'wide' is not an integer from 1 to 65536; leave it out if you do not need it",
        "0", "rnn_attention_num_hidden: '0' is not an integer from 1 to 65536; the nearest allowed is 1",
    ),
    Case(
        "rnn_attention_in_upper_layers", True, "False", False,
        "no", "rnn_attention_in_upper_layers: 'no' is not true or false; write false",
    ),
    Case(
        "rnn_decoder_hidden_dropout", 0.0, "0.25", 0.25,
        "0,25", "rnn_decoder_hidden_dropout: '0,25' is not a number in [0, 1]; leave it out for the default 0",
        "1.0001", "rnn_decoder_hidden_dropout: '1.0001' is not a number in [0, 1]; the nearest allowed is 1",
    ),
    Case(
        "batch_size", 64, "128", 128,
        "64.0", "batch_size: '64.0' is not an integer from 1 to 2147483647; write 64",
        "0", "batch_size: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "bucketing_enabled", True, "FALSE", False,
        0, "bucketing_enabled: 0 is not true or false; write false",
    ),
    Case(
        "bucket_width", 10, "7", 7,
        "1_0", "bucket_width: '1_0' is not an integer from 1 to 2147483647; leave it out for the default 10",
        "2147483648",
        "bucket_width: '2147483648' is not an integer from 1 to 2147483647; the nearest allowed is 2147483647",
    ),
    Case(
        "loss_type", "cross-entropy", '"cross-entropy"', "cross-entropy",  # one word is allowed: here in JSON quotes
        1.5, "loss_type: 1.5 is not cross-entropy; leave it out for the default cross-entropy",
        "cross_entropy", "loss_type: 'cross_entropy' is not cross-entropy; did you mean 'cross-entropy'?",
    ),
    Case(
        "training_metric", "perplexity", "accuracy", "accuracy",
        False, "training_metric: False is not one of perplexity, accuracy; leave it out for the default perplexity",
        "bleu", "training_metric: 'bleu' is not one of perplexity, accuracy; leave it out for the default perplexity",
    ),
    Case(
        "optimized_metric", "perplexity", "bleu", "bleu",
        0.5, "optimized_metric: 0.5 is not one of perplexity, accuracy, bleu; leave it out for the default perplexity",
        "BLEU", "optimized_metric: 'BLEU' is not one of perplexity, accuracy, bleu; did you mean 'bleu'?",
    ),
    Case(
        "bleu_sample_size", 0, "-1", -1,
        "all", "bleu_sample_size: 'all' is not -1 or an integer from 0 to 2147483647; leave it out for the default 0",
        "-2", "bleu_sample_size: '-2' is not -1 or an integer from 0 to 2147483647; the nearest allowed is -1",
    ),
    Case(
        "max_num_batches", -1, "2100", 2100,
        "inf", "max_num_batches: 'inf' is not -1 or an integer from 1 to 2147483647; leave it out for the default -1",
        "0", "max_num_batches: '0' is not -1 or an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "checkpoint_frequency_num_batches", 1000, "500", 500,
        "1k",
        "checkpoint_frequency_num_batches: '1k' is not an integer from 1 to 2147483647; "
        "leave it out for the default 1000",
        "0", "checkpoint_frequency_num_batches: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "checkpoint_threshold", 3, "8", 8,
        "3.5", "checkpoint_threshold: '3.5' is not an integer from 1 to 2147483647; leave it out for the default 3",
        "-1", "checkpoint_threshold: '-1' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "max_num_epochs", None, "10", 10,
        "ten", "max_num_epochs: 'ten' is not an integer from 1 to 2147483647; leave it out if you do not need it",
        "0", "max_num_epochs: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "min_num_epochs", 0, "5", 5,
        "None", "min_num_epochs: 'None' is not an integer from 0 to 2147483647; leave it out for the default 0",
        "-1", "min_num_epochs: '-1' is not an integer from 0 to 2147483647; the nearest allowed is 0",
    ),
    Case(
        "optimizer_type", "adam", "sgd", "sgd",
        2, "optimizer_type: 2 is not one of adam, sgd, rmsprop; leave it out for the default adam",
        "adamw", "optimizer_type: 'adamw' is not one of adam, sgd, rmsprop; did you mean 'adam'?",
    ),
    Case(
        "weight_init_type", "xavier", "uniform", "uniform",
        ["xavier"], "weight_init_type: ['xavier'] is not one of uniform, xavier; leave it out for the default xavier",
        "glorot", "weight_init_type: 'glorot' is not one of uniform, xavier; leave it out for the default xavier",
    ),
    Case(
        "weight_init_scale", 2.34, "3", 3.0,
        "small",
        "weight_init_scale: 'small' is not a number in [-1000, 1000] other than 0; leave it out for the default 2.34",
        "0.0",
        "weight_init_scale: '0.0' is not a number in [-1000, 1000] other than 0; leave it out for the default 2.34",
    ),
    Case(
        "xavier_factor_type", "in", "avg", "avg",
        True, "xavier_factor_type: True is not one of in, out, avg; leave it out for the default in",
        "average", "xavier_factor_type: 'average' is not one of in, out, avg; did you mean 'avg'?",
    ),
    Case(
        "learning_rate", 0.0003, "1e-4", 0.0001,
        "fast", "learning_rate: 'fast' is not a number in (0, 100]; leave it out for the default 0.0003",
        "0", "learning_rate: '0' is not a number in (0, 100]; leave it out for the default 0.0003",
    ),
    Case(
        "weight_decay", 0.0, "0.01", 0.01,
        "1/10", "weight_decay: '1/10' is not a number in [0, 1]; leave it out for the default 0",
        "-1e-9", "weight_decay: '-1e-9' is not a number in [0, 1]; the nearest allowed is 0",
    ),
    Case(
        "momentum", None, "0.9", 0.9,
        "heavy", "momentum: 'heavy' is not a number in [0, 1); leave it out if you do not need it",
        "1", "momentum: '1' is not a number in [0, 1); leave it out if you do not need it",
        beside={"optimizer_type": "sgd"},
    ),
    Case(
        "clip_gradient", 1.0, "-1", -1.0,
        "inf", "clip_gradient: 'inf' is not a finite number; leave it out for the default 1",
    ),
    Case(
        "lr_scheduler_type", "plateau_reduce", "fixed_rate_inv_t", "fixed_rate_inv_t",
        3,
        "lr_scheduler_type: 3 is not one of plateau_reduce, fixed_rate_inv_t, fixed_rate_inv_sqrt_t; "
        "leave it out for the default plateau_reduce",
        "fixed-rate-inv-t",
        "lr_scheduler_type: 'fixed-rate-inv-t' is not one of plateau_reduce, fixed_rate_inv_t, fixed_rate_inv_sqrt_t; "
        "did you mean 'fixed_rate_inv_t'?",
    ),
    Case(
        "plateau_reduce_lr_factor", 0.5, "1", 1.0,
        "half", "plateau_reduce_lr_factor: 'half' is not a number in (0, 1]; leave it out for the default 0.5",
        "1.1", "plateau_reduce_lr_factor: '1.1' is not a number in (0, 1]; the nearest allowed is 1",
    ),
    Case(
        "plateau_reduce_lr_threshold", 3, "2", 2,
        "never",
        "plateau_reduce_lr_threshold: 'never' is not an integer from 1 to 2147483647; leave it out for the default 3",
        "0", "plateau_reduce_lr_threshold: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "fixed_rate_lr_half_life", 10, "30", 30,
        "10 checkpoints",
        "fixed_rate_lr_half_life: '10 checkpoints' is not an integer from 1 to 2147483647; "
        "leave it out for the default 10",
        "0", "fixed_rate_lr_half_life: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "beam_size", 5, "1", 1,
        "greedy", "beam_size: 'greedy' is not an integer from 1 to 1000; leave it out for the default 5",
        "1001", "beam_size: '1001' is not an integer from 1 to 1000; the nearest allowed is 1000",
    ),
    Case(
        "max_batch_tokens", None, "4096", 4096,
        "4k", "max_batch_tokens: '4k' is not an integer from 1 to 2147483647; leave it out if you do not need it",
        "0", "max_batch_tokens: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "max_seqs", None, "200", 200,
        None, "max_seqs: None is not an integer from 1 to 2147483647; leave it out if you do not need it",
        "-1", "max_seqs: '-1' is not an integer from 1 to 2147483647; the nearest allowed is 1",
        beside={"max_batch_tokens": "4096"},
    ),
    Case(
        "seq_ordering", None, "laplace:.1000", SeqOrdering("laplace", part_size=1000),
        7,
        "seq_ordering: 7 is not default, reverse, random, random:N, sorted, sorted_reverse, laplace, laplace:N or "
        "laplace:.N; leave it out if you do not need it",
        "sort",
        "seq_ordering: 'sort' is not default, reverse, random, random:N, sorted, sorted_reverse, laplace, laplace:N or "
        "laplace:.N; did you mean 'sorted'?",
    ),
    Case(
        "chunking", 0, "100:75", Chunking(100, 75),
        True,
        "chunking: True is not 0 or SIZE:STEP, two numbers of 1 or more such as 100:75; leave it out for the default 0",
        "100,75",
        "chunking: '100,75' is not 0 or SIZE:STEP, two numbers of 1 or more such as 100:75; write 100:75, with a colon",
    ),
    Case(
        "max_seq_length", None, '{"source": 75, "target": 80}', MaxSeqLength(75, 80),
        "75",
        'max_seq_length: \'75\' is not an object such as {"source": 75, "target": 75}; '
        'write {"source": 75, "target": 75}',
        {"classes": 75},
        'max_seq_length: {\'classes\': 75} is not an object such as {"source": 75, "target": 75}; '
        "'classes' is not one of its keys, allowed are source, target",
    ),
    Case(
        "num_epochs", None, "5", 5,
        "None", "num_epochs: 'None' is not an integer from 1 to 2147483647; leave it out if you do not need it",
        "0", "num_epochs: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "save_interval", None, "2", 2,
        "2.0", "save_interval: '2.0' is not an integer from 1 to 2147483647; write 2",
        "0", "save_interval: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "start_epoch", "auto", "3", 3,
        "automatic",
        "start_epoch: 'automatic' is not auto or an integer from 1 to 2147483647; did you mean 'auto'?",
        "0", "start_epoch: '0' is not auto or an integer from 1 to 2147483647; the nearest allowed is 1",
        beside={"save_interval": "1"},
    ),
    Case(
        "cleanup_old_models", False, '{"keep_last_n": 3, "keep": [7, 5]}', CleanupOldModels(3, 4, (5, 7)),
        "yes",
        "cleanup_old_models: 'yes' is not true, false or an object with keep_last_n, keep_best_n and keep; "
        "leave it out for the default false",
        {"keep_last_n": 0},
        "cleanup_old_models: {'keep_last_n': 0} is not true, false or an object with keep_last_n, keep_best_n and "
        "keep; keep_last_n 0 is not an integer from 1 to 2147483647",
    ),
    Case(
        "stop_on_nonfinite_train_score", True, "false", False,
        "off", "stop_on_nonfinite_train_score: 'off' is not true or false; write false",
    ),
    Case(
        "seed", 13, "4294967295", 4294967295,
        "lucky", "seed: 'lucky' is not an integer from 0 to 4294967295; leave it out for the default 13",
        "4294967296", "seed: '4294967296' is not an integer from 0 to 4294967295; the nearest allowed is 4294967295",
    ),
    Case(
        "precision", "float32", "bfloat16", "bfloat16",
        16, "precision: 16 is not one of float32, bfloat16, auto; leave it out for the default float32",
        "float16", "precision: 'float16' is not one of float32, bfloat16, auto; did you mean 'bfloat16'?",
    ),
    Case(
        "processes", None, "4", 4,
        "all", "processes: 'all' is not an integer from 1 to 2147483647; leave it out if you do not need it",
        "0", "processes: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1",
    ),
    Case(
        "label_smoothing", 0.0, "0.1", 0.1,
        "a little", "label_smoothing: 'a little' is not a number in [0, 1); leave it out for the default 0",
        "1", "label_smoothing: '1' is not a number in [0, 1); leave it out for the default 0",
    ),
    Case(
        "length_penalty_alpha", 1.0, "0.6", 0.6,
        "inf", "length_penalty_alpha: 'inf' is not a finite number of 0 or more; leave it out for the default 1",
        "-0.5", "length_penalty_alpha: '-0.5' is not a finite number of 0 or more; the nearest allowed is 0",
    ),
    Case(
        "length_penalty_beta", 0.0, "5", 5.0,
        "x", "length_penalty_beta: 'x' is not a finite number of 0 or more; leave it out for the default 0",
        "-1", "length_penalty_beta: '-1' is not a finite number of 0 or more; the nearest allowed is 0",
    ),
]  # fmt: skip

EACH = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def message_of(raw):
    with pytest.raises(ClientError) as caught:
        validate(raw)
    return str(caught.value)


def test_the_parameters_are_the_49_in_page_order_and_16_extensions():
    assert len(CASES) == 49 + 16
    assert [parameter.is_extension for parameter in parameters().values()] == [False] * 49 + [True] * 16
    assert [case.name for case in CASES] == list(Hyperparameters.model_fields)


@EACH
def test_not_passed_means_the_default(case):
    value = getattr(validate({}).hyperparameters, case.name)

    assert value == case.default
    assert type(value) is type(case.default)


@EACH
def test_a_valid_value_changes_the_configuration(case):
    unchanged = validate(case.beside).hyperparameters
    configured = validate({**case.beside, case.name: case.text}).hyperparameters

    assert getattr(configured, case.name) == case.value
    assert type(getattr(configured, case.name)) is type(case.value)
    assert configured.model_fields_set == {case.name, *case.beside}
    if case.name != "loss_type":  # it has one legal value
        assert configured != unchanged
    others = set(Hyperparameters.model_fields) - {case.name}
    assert all(getattr(configured, name) == getattr(unchanged, name) for name in others)


@EACH
def test_a_wrong_type_is_refused_with_its_message(case):
    assert message_of({case.name: case.wrong_type}) == case.wrong_type_message


@pytest.mark.parametrize("case", [case for case in CASES if case.outside is not None], ids=lambda case: case.name)
def test_a_value_that_is_not_allowed_is_refused_with_its_message(case):
    assert message_of({case.name: case.outside}) == case.outside_message


def test_only_booleans_and_clip_gradient_allow_all_values_of_their_type():
    everything_allowed = {case.name for case in CASES if case.outside is None}

    assert everything_allowed == {
        "rnn_residual_connections",
        "rnn_attention_in_upper_layers",
        "bucketing_enabled",
        "clip_gradient",
        "stop_on_nonfinite_train_score",
    }


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("max_seq_len_source", "1", "100000"),
        ("max_seq_len_target", "1", "100000"),
        ("num_layers_encoder", "1", "100"),
        ("num_layers_decoder", "1", "100"),
        ("rnn_num_hidden", "2", "65536"),
        ("rnn_first_residual_layer", "1", "2147483647"),
        ("cnn_kernel_width_encoder", "1", "65535"),
        ("cnn_kernel_width_decoder", "1", "65536"),
        ("cnn_num_hidden", "1", "65536"),
        ("cnn_hidden_dropout", "0", "1"),
        ("num_embed_source", "1", "65536"),
        ("num_embed_target", "1", "65536"),
        ("embed_dropout_source", "0", "1"),
        ("embed_dropout_target", "0", "1"),
        ("rnn_attention_num_hidden", "1", "65536"),
        ("rnn_decoder_hidden_dropout", "0", "1"),
        ("batch_size", "1", "2147483647"),
        ("bucket_width", "1", "2147483647"),
        ("bleu_sample_size", "-1", "2147483647"),
        ("max_num_batches", "-1", "2147483647"),
        ("checkpoint_frequency_num_batches", "1", "2147483647"),
        ("checkpoint_threshold", "1", "2147483647"),
        ("max_num_epochs", "1", "2147483647"),
        ("min_num_epochs", "0", "2147483647"),
        ("weight_init_scale", "1e-9", "1000"),
        ("learning_rate", "1e-300", "100"),
        ("weight_decay", "0", "1"),
        ("momentum", "0", "0.999999"),
        ("clip_gradient", "-1e300", "1e300"),
        ("plateau_reduce_lr_factor", "1e-9", "1"),
        ("plateau_reduce_lr_threshold", "1", "2147483647"),
        ("fixed_rate_lr_half_life", "1", "2147483647"),
        ("beam_size", "1", "1000"),
        ("max_seqs", "1", "2147483647"),
        ("num_epochs", "1", "2147483647"),
        ("save_interval", "1", "2147483647"),
        ("seed", "0", "4294967295"),
        ("processes", "1", "2147483647"),
        ("label_smoothing", "0", "0.999999"),
        ("length_penalty_alpha", "0", "1e300"),
        ("length_penalty_beta", "0", "1e300"),
    ],
)
def test_both_ends_of_a_range_are_allowed(name, lowest, highest):
    for end in (lowest, highest):
        beside = {"max_batch_tokens": "9"} if name == "max_seqs" else {"optimizer_type": "sgd"}
        configured = validate({name: end, **beside}).hyperparameters
        assert getattr(configured, name) == float(end)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encoder_type", "rnn cnn"),
        ("decoder_type", "rnn cnn"),
        ("rnn_cell_type", "lstm gru"),
        ("rnn_decoder_state_init", "last avg zero"),
        ("cnn_activation_type", "glu relu softrelu sigmoid tanh"),
        ("rnn_attention_type", "dot fixed mlp bilinear"),
        ("loss_type", "cross-entropy"),
        ("training_metric", "perplexity accuracy"),
        ("optimized_metric", "perplexity accuracy bleu"),
        ("optimizer_type", "adam sgd rmsprop"),
        ("weight_init_type", "uniform xavier"),
        ("xavier_factor_type", "in out avg"),
        ("lr_scheduler_type", "plateau_reduce fixed_rate_inv_t fixed_rate_inv_sqrt_t"),
        ("precision", "float32 bfloat16 auto"),
    ],
)
def test_every_word_of_a_choice_is_allowed(name, words):
    assert [getattr(validate({name: word}).hyperparameters, name) for word in words.split()] == words.split()


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("clip_gradient", "1.0", "5.0"),
        ("cnn_hidden_dropout", "0.0", "0.5"),
        ("embed_dropout_source", "0.0", "0.5"),
        ("embed_dropout_target", "0.0", "0.5"),
        ("fixed_rate_lr_half_life", "10", "30"),
        ("learning_rate", "0.00005", "0.2"),
        ("momentum", "0.5", "0.9"),
        ("num_embed_source", "256", "512"),
        ("num_layers_encoder", "1", "10"),
        ("plateau_reduce_lr_factor", "0.1", "0.5"),
        ("plateau_reduce_lr_threshold", "1", "5"),
        ("rnn_decoder_hidden_dropout", "0.0", "0.5"),
        ("weight_decay", "0.0", "0.1"),
    ],
)
def test_a_tuning_job_may_draw_the_whole_recommended_range(name, lowest, highest):
    for end in (lowest, highest):
        validate({name: end, "_tuning_objective_metric": "validation:perplexity"})


@pytest.mark.parametrize(("kind", "scales"), [("xavier", ("2.0", "3.0")), ("uniform", ("-1.0", "-1E-3", "1.0"))])
def test_a_tuning_job_may_draw_the_recommended_scales_of_each_distribution(kind, scales):
    for scale in scales:
        raw = {"weight_init_type": kind, "weight_init_scale": scale, "_tuning_objective_metric": "validation:bleu"}
        assert validate(raw).hyperparameters.weight_init_magnitude == abs(float(scale))
