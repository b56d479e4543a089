import json
import subprocess
import sys

import pytest

from local_test.corpora import Corpus
from local_test.make_channels import (
    CMUDICT_HYPERPARAMETERS,
    REVERSE_HYPERPARAMETERS,
    lay_out_corpus,
    lay_out_text,
    parse_settings,
    read_hyperparameters,
)
from s2s_algo.data.pairs import parse_pair
from s2s_algo.data.recordio import read_records
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import validate

CORPUS = Corpus(
    train=[("a b", "B A"), ("b", "B")],
    validation=[("a", "A")],
    test={"c": ["C", "S"]},
)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_job_gets_every_folder_and_file_of_the_contract(tmp_path):
    lay_out_corpus(tmp_path / "ml", CORPUS, {})
    files = {str(path.relative_to(tmp_path / "ml")) for path in (tmp_path / "ml").rglob("*") if path.is_file()}
    assert files == {
        "input/config/hyperparameters.json",
        "input/config/inputdataconfig.json",
        "input/config/resourceconfig.json",
        "input/data/train/train.rec",
        "input/data/validation/val.rec",
        "input/data/vocab/vocab.src.json",
        "input/data/vocab/vocab.trg.json",
        "test.json",
    }
    assert (tmp_path / "ml/model").is_dir()
    assert (tmp_path / "ml/output/data").is_dir()


def test_the_configuration_files_say_what_sagemaker_says(tmp_path):
    lay_out_corpus(tmp_path, CORPUS, {"batch_size": "2"})
    config = tmp_path / "input/config"
    assert read_json(config / "hyperparameters.json") == {"batch_size": "2"}
    channels = read_json(config / "inputdataconfig.json")
    assert list(channels) == ["train", "validation", "vocab"]
    assert {channel["TrainingInputMode"] for channel in channels.values()} == {"File"}
    assert {channel["S3DistributionType"] for channel in channels.values()} == {"FullyReplicated"}
    resources = read_json(config / "resourceconfig.json")
    assert resources["hosts"] == [resources["current_host"]]


def test_the_records_hold_the_ids_of_the_vocabularies(tmp_path):
    lay_out_corpus(tmp_path, CORPUS, {})
    data = tmp_path / "input/data"
    source, target = (read_json(data / "vocab" / name) for name in ("vocab.src.json", "vocab.trg.json"))
    with (data / "train/train.rec").open("rb") as stream:
        pairs = [parse_pair(payload) for payload in read_records(stream)]
    assert pairs == [
        ([source["a"], source["b"]], [target["B"], target["A"]]),
        ([source["b"]], [target["B"]]),
    ]


def test_the_test_cases_lie_beside_the_channels_and_in_none_of_them(tmp_path):
    lay_out_corpus(tmp_path, CORPUS, {})
    assert read_json(tmp_path / "test.json") == {"c": ["C", "S"]}
    assert "c" not in read_json(tmp_path / "input/data/vocab/vocab.src.json")


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path):
    (tmp_path / "model.tar.gz").write_bytes(b"precious")
    with pytest.raises(SystemExit, match="is not empty; name another folder, or remove it first"):
        lay_out_corpus(tmp_path, CORPUS, {})
    assert [path.name for path in tmp_path.iterdir()] == ["model.tar.gz"]


def test_texts_of_different_lengths_are_refused(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a\n")
    two.write_text("a\nb\n")
    with pytest.raises(ClientError, match="1 lines"):
        lay_out_text(tmp_path / "ml", (one, two), (one, one), {})


def test_hyperparameters_become_strings(tmp_path):
    file = tmp_path / "hyperparameters.json"
    file.write_text('{"batch_size": 64, "bucketing_enabled": false, "encoder_type": "rnn", "learning_rate": 0.001}')
    assert read_hyperparameters(file) == {
        "batch_size": "64",
        "bucketing_enabled": "false",
        "encoder_type": "rnn",
        "learning_rate": "0.001",
    }


@pytest.mark.parametrize("content", ["[1]", "{", None])
def test_a_bad_hyperparameter_file_is_named(tmp_path, content):
    file = tmp_path / "hyperparameters.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit, match=r"hyperparameters\.json"):
        read_hyperparameters(file)


def test_settings_are_split_at_the_first_equals_sign():
    assert parse_settings(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}


def test_a_setting_without_equals_sign_is_refused():
    with pytest.raises(SystemExit, match="--set batch_size: write NAME=VALUE"):
        parse_settings(["batch_size"])


@pytest.mark.parametrize("file", [CMUDICT_HYPERPARAMETERS, REVERSE_HYPERPARAMETERS], ids=lambda file: file.name)
def test_the_hyperparameters_of_the_examples_are_valid(file):
    validate(read_hyperparameters(file))


def test_the_command_lays_out_parallel_text(tmp_path):
    for name, text in {"ts": "a b\nc\n", "tt": "A B\nC\n", "vs": "a\n", "vt": "A\n"}.items():
        (tmp_path / name).write_text(text)
    options = [
        f"--{option}={tmp_path / name}"
        for option, name in {
            "train-source": "ts",
            "train-target": "tt",
            "validation-source": "vs",
            "validation-target": "vt",
        }.items()
    ]
    command = [sys.executable, "-m", "local_test.make_channels", "text", str(tmp_path / "ml"), *options]
    finished = subprocess.run([*command, "--set", "batch_size=2"], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "2 training pairs, 1 validation pairs; vocabularies of 7 and 7 tokens" in finished.stdout
    assert read_json(tmp_path / "ml/input/config/hyperparameters.json") == {"batch_size": "2"}
