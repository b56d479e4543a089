"""A client written from the contract alone trains a model, hosts it, and gets the same answers on every way."""

import ast
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.contract.independent_client import client as client_module
from tests.contract.independent_client.client import Client, compile_schema, is_ready

REPOSITORY = Path(__file__).parents[3]

WORDS = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four", "fünf": "five", "zwölf": "twelve"}

HYPERPARAMETERS = {
    "num_embed_source": "16",
    "num_embed_target": "16",
    "rnn_num_hidden": "32",
    "max_seq_len_source": "60",
    "max_seq_len_target": "60",
    "batch_size": "32",
    "learning_rate": "0.02",
    "optimized_metric": "bleu",
    "bleu_sample_size": "20",
    "checkpoint_frequency_num_batches": "60",
    "max_num_batches": "180",
}

SENTENCES = [
    "eins zwei drei",
    "zwölf fünf",
    "",  # a client that stops at the first record without content would lose the rest
    "vier",
    "zwei unbekannt drei",
    "fünf vier drei zwei eins",
    " ".join(list(WORDS) * 12),  # longer than the model's maximum
]


def draw(number, seed):
    choose = random.Random(seed)
    texts = [choose.choices(list(WORDS), k=choose.randint(1, 6)) for _ in range(number)]
    return [(" ".join(words), " ".join(WORDS[word] for word in words)) for words in texts]


def environment(base, **more):
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "SAGEMAKER_BASE_DIR": str(base),
        "OMP_NUM_THREADS": "1",
        **more,
    }


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return Client(compile_schema(tmp_path_factory.mktemp("schema")))


@pytest.fixture(scope="module")
def base(client, tmp_path_factory):
    """The folder of a finished training job."""
    folder = tmp_path_factory.mktemp("independent") / "ml"
    client.write_channels(folder, draw(600, seed=1), draw(30, seed=2))
    config = folder / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    channels = {name: {"TrainingInputMode": "File"} for name in ("train", "validation", "vocab")}
    (config / "inputdataconfig.json").write_text(json.dumps(channels))
    training = subprocess.run(
        [sys.executable, "-m", "container.entrypoint", "train"],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    (folder / "log").write_text(training.stdout, encoding="utf-8")
    assert training.returncode == 0, training.stdout
    return folder


@pytest.fixture(scope="module")
def url(base):
    """The address of an endpoint with the trained model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = base / "serve.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "container.entrypoint", "serve"],
            env=environment(base, S2S_BIND_ADDRESS="127.0.0.1", SAGEMAKER_BIND_TO_PORT=str(port)),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not is_ready(address):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield address
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0, log.read_text()


@pytest.fixture(scope="module")
def answers(client, url):
    return client.ask_json(url, SENTENCES)


@pytest.fixture(scope="module")
def targets(answers):
    return [answer["target"] for answer in answers]


def test_the_client_imports_nothing_of_the_product():
    tree = ast.parse(Path(client_module.__file__).read_text(encoding="utf-8"))
    modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in modules} & {"s2s_algo", "serve", "container", "local_test", "tests"}


def test_the_metric_improves_in_the_lines_that_a_tuning_job_reads(base):
    bleu = re.findall(
        r"#quality_metric: host=\S+, epoch=\S+, validation bleu <score>=(\S+)", (base / "log").read_text("utf-8")
    )
    assert len(bleu) == 3
    assert 0 <= float(bleu[0]) < float(bleu[-1]) <= 1


def test_the_trained_model_translates_word_by_word(targets):
    assert targets[0] == "one two three"
    assert targets[3] == "four"


def test_every_attention_matrix_has_a_row_per_target_word_and_a_column_per_source_word(answers):
    for sentence, answer in zip(SENTENCES, answers, strict=True):
        matrix, rows, columns = answer["matrix"], len(answer["target"].split()), len(sentence.split())
        assert len(matrix) == rows
        assert all(len(row) == columns for row in matrix)
        assert all(sum(row) == pytest.approx(1, abs=1e-4) for row in matrix)


def test_an_empty_sentence_is_answered_by_an_empty_one(answers):
    assert answers[2] == {"target": "", "matrix": []}


def test_jsonlines_are_answered_like_json(client, url, targets):
    assert client.ask_jsonlines(url, SENTENCES) == targets


def test_records_are_answered_like_json_up_to_the_last_one(client, url, targets, base):
    assert client.ask_protobuf(url, SENTENCES, base) == targets


def test_without_a_configuration_there_is_no_matrix(client, url, targets):
    body = json.dumps({"instances": [{"data": text} for text in SENTENCES]}).encode()
    answer = json.loads(client_module.post(url, body, "application/json"))
    assert answer == {"predictions": [{"target": target} for target in targets]}


def test_the_command_line_gives_the_same_translations(base, targets):
    translated = subprocess.run(
        [Path(sys.executable).with_name("s2s"), "translate", "--model", base / "model"],
        env=environment(base),
        input="".join(f"{sentence}\n" for sentence in SENTENCES),
        capture_output=True,
        encoding="utf-8",
    )
    assert translated.returncode == 0, translated.stderr
    assert translated.stdout == "".join(f"{target}\n" for target in targets)
