import dataclasses
from pathlib import Path

import pytest

from s2s_algo.decoding.scheduler import MOST_ROWS
from s2s_algo.errors import ClientError
from serve.media_types import Format
from serve.settings import Settings, memory_disk


def test_an_empty_environment_gives_the_documented_defaults():
    assert Settings.from_environment({}) == Settings(
        address="0.0.0.0",
        port=8080,
        workers=1,
        threads=128,
        server_timeout=60,
        read_timeout=30,
        graceful_timeout=25,
        hang_timeout=600,
        batch=False,
        default_accept=None,
        max_body_bytes=25 * 2**20,
        max_instances=10_000,
        max_instance_tokens=10_000,
        max_waiting_tokens=100_000,
        max_batch_rows=MOST_ROWS,
        deadline=55,
        transform_concurrency=1,
        transform_payload_mb=6,
        metrics_folder=None,
        playground=True,
        multi_model=False,
        model_memory=None,
    )
    assert Settings.from_environment({}) == Settings()


def test_empty_variables_count_as_not_set():
    assert Settings.from_environment({"SAGEMAKER_BIND_TO_PORT": "", "S2S_DEADLINE_SECONDS": " "}) == Settings()


@pytest.mark.parametrize("text", ["true", "True", "TRUE", " true "])
def test_a_batch_transform_lifts_deadline_and_limits(text):
    settings = Settings.from_environment({"SAGEMAKER_BATCH": text})
    assert settings.batch
    assert settings.deadline is None
    assert settings.max_body_bytes == 100 * 2**20
    assert settings.max_instances == 1_000_000
    assert settings.max_instance_tokens == 10_000


@pytest.mark.parametrize("text", ["false", "False", "", "1", "yes"])
def test_everything_but_true_is_no_batch_transform(text):
    assert Settings.from_environment({"SAGEMAKER_BATCH": text}).deadline == 55


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("S2S_BIND_ADDRESS", "127.0.0.1", "address", "127.0.0.1"),
        ("SAGEMAKER_BIND_TO_PORT", "9000", "port", 9000),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "3", "workers", 3),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "300", "server_timeout", 300),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "300", "deadline", 295),
        ("S2S_SERVER_THREADS", "32", "max_waiting_requests", 16),
        ("S2S_READ_TIMEOUT_SECONDS", "2.5", "read_timeout", 2.5),
        ("S2S_GRACEFUL_TIMEOUT_SECONDS", "10", "graceful_timeout", 10),
        ("S2S_HANG_TIMEOUT_SECONDS", "90", "hang_timeout", 90),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/jsonlines; x=y", "default_accept", Format.JSON_LINES),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "7", "max_body_bytes", 7 * 2**20),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "7", "transform_payload_mb", 7),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "0", "max_body_bytes", 25 * 2**20),
        ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "4", "transform_concurrency", 4),
        ("S2S_MAX_INSTANCES", "5", "max_instances", 5),
        ("S2S_MAX_INSTANCE_TOKENS", "6", "max_instance_tokens", 6),
        ("S2S_MAX_WAITING_TOKENS", "7", "max_waiting_tokens", 7),
        ("S2S_MAX_BATCH_ROWS", "1", "max_batch_rows", 1),
        ("S2S_DEADLINE_SECONDS", "0", "deadline", None),
        ("S2S_DEADLINE_SECONDS", "8", "deadline", 8),
        ("SAGEMAKER_MULTI_MODEL", "True", "multi_model", True),
        ("SAGEMAKER_MULTI_MODEL", "false", "multi_model", False),
        ("S2S_MODEL_MEMORY_MB", "3", "model_memory", 3 * 2**20),
        ("S2S_MODEL_MEMORY_MB", "0", "model_memory", None),
        ("PROMETHEUS_MULTIPROC_DIR", "/tmp/numbers", "metrics_folder", Path("/tmp/numbers")),
    ],
)
def test_every_variable_sets_its_field(name, value, field, expected):
    assert getattr(Settings.from_environment({name: value}), field) == expected


def test_variables_win_over_the_defaults_of_a_batch_transform():
    environment = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "10",
        "S2S_DEADLINE_SECONDS": "60",
        "S2S_MAX_INSTANCES": "20",
    }
    settings = Settings.from_environment(environment)
    assert (settings.max_body_bytes, settings.deadline, settings.max_instances) == (10 * 2**20, 60, 20)


def test_the_suggested_payloads_of_parallel_transforms_stay_within_the_platforms_100_mb():
    settings = Settings.from_environment({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "16"})
    assert settings.transform_concurrency * settings.transform_payload_mb <= 100


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http", "an integer from 1 to 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "0", "an integer from 1 to 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "65536", "an integer from 1 to 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "9" * 5000, "an integer from 1 to 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "٨٠٨٠", "an integer from 1 to 65535"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "-1", "an integer from 1 to 256"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "1.5", "an integer from 1 to 256"),
        ("S2S_MAX_BATCH_ROWS", "0", "an integer from 1 to 2147483647"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "6MB", "an integer from 0 to 1000"),
        ("S2S_DEADLINE_SECONDS", "nan", "a number of seconds, 0 for no limit"),
        ("S2S_DEADLINE_SECONDS", "-1", "a number of seconds, 0 for no limit"),
        ("S2S_READ_TIMEOUT_SECONDS", "0", "a number of seconds, at least 0.1"),
        ("S2S_READ_TIMEOUT_SECONDS", "inf", "a number of seconds, at least 0.1"),
        (
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT",
            "text/csv",
            "one of application/json, application/jsonlines, application/x-recordio-protobuf",
        ),
    ],
)
def test_a_nonsense_value_is_an_error_that_says_what_is_allowed(name, value, allowed):
    with pytest.raises(ClientError) as caught:
        Settings.from_environment({name: value})
    assert str(caught.value) == f"environment: {name} is {value[:100]!r}; it must be {allowed}, or be left out"


def test_a_multi_model_endpoint_has_one_process():
    environment = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
    with pytest.raises(ClientError) as caught:
        Settings.from_environment(environment)
    assert str(caught.value) == (
        "environment: SAGEMAKER_MODEL_SERVER_WORKERS is 2; with SAGEMAKER_MULTI_MODEL=true it must be 1, or be left "
        "out: every process would need every model"
    )
    assert Settings.from_environment(environment | {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}).multi_model


def test_a_multi_model_endpoint_has_no_playground_whatever_is_wanted():
    environment = {"SAGEMAKER_MULTI_MODEL": "true", "S2S_PLAYGROUND": "on"}
    assert not Settings.from_environment(environment).playground


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_the_precision_is_one_of_three(precision):
    assert Settings.from_environment({"S2S_PRECISION": precision}).precision == precision
    with pytest.raises(ClientError) as caught:
        Settings.from_environment({"S2S_PRECISION": precision.upper()})
    assert caught.value.message == (
        f"S2S_PRECISION is '{precision.upper()}'; it must be one of float32, bfloat16, int8, or be left out"
    )


def test_all_nonsense_values_are_reported_at_once():
    with pytest.raises(ClientError) as caught:
        Settings.from_environment({"SAGEMAKER_BIND_TO_PORT": "x", "S2S_MAX_INSTANCES": "y"})
    assert "SAGEMAKER_BIND_TO_PORT is 'x'" in caught.value.message
    assert "S2S_MAX_INSTANCES is 'y'" in caught.value.message


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1


@pytest.mark.parametrize(
    ("address", "written"), [("0.0.0.0", "0.0.0.0:80"), ("::1", "[::1]:80"), ("localhost", "localhost:80")]
)
def test_an_address_is_written_with_its_port(address, written):
    assert Settings(address=address, port=80).socket_address == written


def test_the_memory_disk_counts_only_if_it_is_there(tmp_path):
    assert memory_disk(str(tmp_path)) == str(tmp_path)
    assert memory_disk(str(tmp_path / "missing")) is None
