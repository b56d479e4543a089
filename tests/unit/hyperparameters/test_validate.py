import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters, Notice, validate

FAILURE_REASON = 1024  # characters of the failure that the platform shows

TEN_MISTAKES = {
    "max_seq_len_source": "0",
    "encoder_type": "RNN",
    "rnn_num_hidden": "1023",
    "cnn_hidden_dropout": "2",
    "batch_size": "64.0",
    "loss_type": "cross_entropy",
    "max_num_batches": "0",
    "learning_rate": "0",
    "momentum": "0.9",
    "batch_sise": "64",
}


def message_of(raw):
    with pytest.raises(ClientError) as caught:
        validate(raw)
    return str(caught.value)


def test_ten_mistakes_yield_ten_messages_in_page_order():
    expected = [
        "10 problems with the hyperparameters:",
        "max_seq_len_source: '0' is not an integer from 1 to 100000; the nearest allowed is 1",
        "encoder_type: 'RNN' is not one of rnn, cnn; did you mean 'rnn'?",
        "rnn_num_hidden: '1023' is not an even integer from 2 to 65536; the nearest allowed is 1022",
        "cnn_hidden_dropout: '2' is not a number in [0, 1]; the nearest allowed is 1",
        "batch_size: '64.0' is not an integer from 1 to 2147483647; write 64",
        "loss_type: 'cross_entropy' is not cross-entropy; did you mean 'cross-entropy'?",
        "max_num_batches: '0' is not -1 or an integer from 1 to 2147483647; the nearest allowed is 1",
        "learning_rate: '0' is not a number in (0, 100]; leave it out for the default 0.0003",
        "momentum: 0.9 was passed with optimizer_type adam, which has no momentum; "
        "leave it out or pass optimizer_type sgd",
        "Additional hyperparameters are not allowed ('batch_sise' was unexpected); did you mean 'batch_size'?",
    ]

    assert message_of(TEN_MISTAKES).splitlines() == expected


def test_ten_mistakes_fit_into_what_the_platform_shows():
    assert len(f"ClientError: {message_of(TEN_MISTAKES)}") <= FAILURE_REASON


def test_the_order_of_the_values_does_not_matter():
    names = list(TEN_MISTAKES)
    random.Random(1).shuffle(names)

    assert message_of({name: TEN_MISTAKES[name] for name in names}) == message_of(TEN_MISTAKES)


def test_a_single_problem_stands_alone():
    assert message_of({"beam_size": "0"}) == (
        "beam_size: '0' is not an integer from 1 to 1000; the nearest allowed is 1"
    )


def test_an_unknown_name_suggests_the_nearest():
    assert message_of({"batch_siz": "64"}) == (
        "Additional hyperparameters are not allowed ('batch_siz' was unexpected); did you mean 'batch_size'?"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mini_batch_size", "batch_size"),
        ("Learning-Rate", "learning_rate"),
        (" beam_size", "beam_size"),
        ("epochs", "num_epochs"),
        ("optimiser_type", "optimizer_type"),
        ("max_seq_len_src", "max_seq_len_source"),
    ],
)
def test_the_nearest_name_is_the_one_meant(name, meant):
    assert message_of({name: "1"}).endswith(f"; did you mean '{meant}'?")


def test_several_unknown_names_are_one_problem_with_advice_for_each():
    assert message_of({"batch_siz": "64", "foo": "1", "beam": "5"}) == (
        "Additional hyperparameters are not allowed ('batch_siz', 'foo', 'beam' were unexpected); "
        "for 'batch_siz' did you mean 'batch_size'?; remove 'foo'; for 'beam' did you mean 'beam_size'?"
    )


def test_an_unknown_name_like_no_other_is_to_be_removed():
    assert message_of({"x": "1"}) == "Additional hyperparameters are not allowed ('x' was unexpected); remove it"


def test_names_of_python_and_pydantic_are_unknown_too():
    for name in ("model_config", "model_fields_set", "copy", "attention_num_hidden", ""):
        assert f"({name!r} was unexpected)" in message_of({name: "1"})


def test_names_from_the_platform_are_ignored_with_a_notice():
    validated = validate(
        {
            "_tuning_objective_metric": "validation:perplexity",
            "_kvstore": ["anything"],
            "sagemaker_program": '"train.py"',
            "checkpoint_threshold": "4",
        }
    )

    assert validated.hyperparameters == validate({"checkpoint_threshold": "4"}).hyperparameters
    assert validated.notices == (
        Notice(
            "INFO",
            "ignored hyperparameters that the platform adds: "
            "'_tuning_objective_metric', '_kvstore', 'sagemaker_program'",
        ),
    )


def test_a_tuning_job_that_looks_for_bleu_where_there_is_none_is_warned():
    tuning = {"_tuning_objective_metric": "validation:bleu"}

    assert validate(tuning).notices[1:2] == (
        Notice(
            "WARNING",
            "the tuning job looks for validation:bleu, which this job does not compute; "
            "pass bleu_sample_size, or bleu as optimized_metric",
        ),
    )
    for computed in ({"bleu_sample_size": "100"}, {"bleu_sample_size": "-1"}, {"optimized_metric": "bleu"}):
        texts = [notice.text for notice in validate({**tuning, **computed}).notices]
        assert not any("looks for" in text for text in texts)


def test_only_the_beginning_of_a_name_makes_it_the_platforms():
    assert "('my_sagemaker_x', 'SAGEMAKER_x' were unexpected)" in message_of({"my_sagemaker_x": "", "SAGEMAKER_x": ""})


def test_notices_come_in_page_order_after_ignored_names():
    notices = validate(
        {
            "rnn_decoder_hidden_dropout": "1",
            "_x": "",
            "weight_init_type": "uniform",
            "optimized_metric": "bleu",
            "cnn_hidden_dropout": "1",
        }
    ).notices

    assert [notice.text.split()[0] for notice in notices] == [
        "ignored",
        "cnn_hidden_dropout:",
        "rnn_decoder_hidden_dropout:",
        "bleu_sample_size:",
        "checkpoint_threshold:",
        "weight_init_scale:",
    ]


def test_values_as_the_sdk_writes_them():
    validated = validate(
        {
            "bucketing_enabled": "True",
            "max_num_epochs": "None",
            "momentum": "None",
            "rnn_attention_num_hidden": "None",
            "learning_rate": "0.0001",
            "rnn_cell_type": '"gru"',
            "rnn_num_hidden": '"256"',
            "batch_size": " 32 ",
        }
    ).hyperparameters

    assert validated == Hyperparameters(learning_rate=0.0001, rnn_cell_type="gru", rnn_num_hidden=256, batch_size=32)
    assert validated.model_fields_set == {
        "bucketing_enabled",
        "learning_rate",
        "rnn_cell_type",
        "rnn_num_hidden",
        "batch_size",
    }


def test_json_values_of_exactly_the_right_type_are_accepted():
    raw = {"batch_size": 32, "learning_rate": 1, "weight_decay": 0.5, "bucketing_enabled": False, "momentum": None}

    configured = validate(raw).hyperparameters

    assert (configured.batch_size, configured.learning_rate) == (32, 1.0)
    assert (configured.weight_decay, configured.bucketing_enabled, configured.momentum) == (0.5, False, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", True),
        ("batch_size", 64.0),
        ("batch_size", None),
        ("batch_size", "null"),
        ("batch_size", [64]),
        ("batch_size", {"value": "64"}),
        ("learning_rate", True),
        ("learning_rate", "None"),
        ("bucketing_enabled", 1),
        ("bucketing_enabled", None),
        ("rnn_cell_type", ""),
    ],
)
def test_json_values_of_another_type_are_refused(name, value):
    assert message_of({name: value}).startswith(f"{name}: {value!r} is not ")


@pytest.mark.parametrize("name", ["momentum", "max_num_epochs", "rnn_attention_num_hidden"])
@pytest.mark.parametrize("value", ["none", "NONE", "null", "", " ", '"None"', None])
def test_three_parameters_can_be_passed_as_not_passed(name, value):
    validated = validate({name: value}).hyperparameters

    assert getattr(validated, name) is None
    assert validated.model_fields_set == set()


@pytest.mark.parametrize(
    "value",
    [
        "9" * 5000,
        "x" * 2500,
        10**5000,
        -(10**400),
        [[[[[1]]]]],
        {"a": {"b": {"c": {"d": 1}}}},
        list(range(1000)),
        "\n" * 99 + ".",
    ],
    ids=["digits", "letters", "huge", "long", "nested list", "nested object", "long list", "lines"],
)
def test_a_huge_value_is_shortened_on_one_line(value):
    for name in Hyperparameters.model_fields:
        message = message_of({name: value})
        assert len(message) <= 200
        assert message.isprintable()


def test_a_deeply_nested_value_is_refused():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    assert message_of({"beam_size": value}).startswith("beam_size: [[[...]]] is not an integer")
    while value:  # a destructor per level would exhaust the stack
        value = value.pop()


def test_texts_that_cannot_be_encoded_are_shown_escaped():
    message = message_of({"rnn_cell_type": "\ud800", "\udfff": "1", "beam_size": "\x1b[2J"})

    assert message.encode("utf-8").decode("ascii").count("\\") == 3


def test_unknown_names_are_shortened():
    assert len(message_of({"a" * 256: "1"})) < 150


@given(st.dictionaries(st.sampled_from(sorted(Hyperparameters.model_fields)) | st.text(), st.text() | st.integers()))
@settings(max_examples=50)
def test_any_values_give_a_configuration_or_a_client_error(raw):
    try:
        validated = validate(raw)
    except ClientError as error:
        lines = str(error).splitlines()
        assert len(lines) == 1 or lines[0] == f"{len(lines) - 1} problems with the hyperparameters:"
    else:
        assert validated.hyperparameters.model_fields_set <= set(raw)


def test_the_input_is_left_as_it_was():
    raw = {"_tuning_objective_metric": "validation:bleu", "momentum": "0.9", "max_num_epochs": "None"}
    before = dict(raw)

    validate(raw)

    assert raw == before


def test_attention_is_as_wide_as_the_rnn_unless_told_otherwise():
    assert validate({"rnn_num_hidden": "256"}).hyperparameters.attention_num_hidden == 256
    assert validate({"rnn_attention_num_hidden": "64"}).hyperparameters.attention_num_hidden == 64


def test_hyperparameters_are_frozen_and_refuse_unknown_names():
    configured = Hyperparameters()

    with pytest.raises(ValidationError, match="frozen"):
        configured.batch_size = 1
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Hyperparameters(batch_siz=1)


def test_a_stored_configuration_is_read_back_equal():
    configured = validate({"batch_size": "8", "momentum": "0.5", "optimizer_type": "sgd"}).hyperparameters

    restored = Hyperparameters.model_validate_json(configured.model_dump_json(exclude_unset=True))

    assert restored == configured
    assert restored.model_fields_set == configured.model_fields_set
    assert Hyperparameters.model_validate(configured.model_dump()) == configured
