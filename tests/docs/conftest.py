"""The stories that blocks of code are run in: a folder, what is in it, and what stands for addresses of the pages."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from s2s_algo.hyperparameters import validate
from tests.contract.serve.conftest import Server
from tests.contract.test_round_trip import SERVE
from tests.contract.train.jobs import OptMl
from tests.docs import warm_commands
from tests.docs.pages import ROOT, Block
from tests.service_model import broken_rules

WORDS = {
    "house": "das Haus",
    "tree": "den Baum",
    "river": "den Fluß",
    "bridge": "die Brücke",
    "garden": "den Garten",
    "night": "die Nacht",
}
TOKENS = [
    *(
        (f"look , the {one} and the {other} {mark}", f"sieh , {WORDS[one]} und {WORDS[other]} {mark}")
        for one, other in itertools.product(WORDS, repeat=2)
        for mark in ".!?"
    ),
    *((f"look , the {word} {mark}", f"sieh , {target} {mark}") for word, target in WORDS.items() for mark in ".!?"),
]
RAW = [
    (f"Look, {one} and {other}{mark}", f"Sieh, {WORDS[one].split()[1]} und {WORDS[other].split()[1]}{mark}")
    for one, other in itertools.product(WORDS, repeat=2)
    for mark in ".!?"
]
HYPERPARAMETERS = {
    "rnn_num_hidden": "48",
    "num_embed_source": "24",
    "num_embed_target": "24",
    "batch_size": "16",
    "max_seq_len_source": "20",
    "max_seq_len_target": "20",
    "learning_rate": "0.01",
    "max_num_batches": "80",
    "checkpoint_frequency_num_batches": "20",
    "cleanup_old_models": '{"keep_last_n": 4}',
}


class Story:
    """Runs blocks one after the other in one folder; those of Python share their names.

    Attributes:
        folder: Where they are run.
        stands_for: Texts of the pages, and what is put in their place.
    """

    def __init__(self, folder: Path, stands_for: Mapping[str, str] = {}, commands: Path | None = None) -> None:
        self.folder = folder
        self._commands = commands or Path(sys.executable).parent
        self.stands_for = stands_for
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def run(self, block: Block) -> str:
        """Runs a block and returns what it printed."""
        code = block.code
        for text, other in self.stands_for.items():
            code = code.replace(text, other)
        return self._python(code, block) if block.language == "python" else self._bash(code, block)

    def _python(self, code: str, block: Block) -> str:
        # As many empty lines before it as the page has lines, so that a traceback names the page's.
        compiled = compile("\n" * (block.line - 1) + code, str(block.page), "exec")
        with redirect_stdout(io.StringIO()) as printed:
            exec(compiled, self._names)
        return printed.getvalue()

    def _bash(self, code: str, block: Block) -> str:
        environment = {
            "PATH": f"{self._commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        assert done.returncode == 0, f"{block.place} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


def write_corpus(folder: Path, pairs: list[tuple[str, str]]) -> None:
    for side, language in enumerate(("en", "de")):
        for name, some in (("train", pairs), ("val", pairs[::9])):
            (folder / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in some), encoding="utf-8")


@pytest.fixture(scope="session")
def commands(tmp_path_factory) -> Iterator[Path]:
    """A folder with `s2s` and `python` for shells, which need not import torch any more."""
    folder = tmp_path_factory.mktemp("commands")
    path = folder / "socket"
    ask = f'exec "{sys.executable}" -SE "{Path(warm_commands.__file__)}" ask "{path}"'
    scripts = {
        "s2s": f'{ask} s2s_algo.cli "$@"',
        "python": f'[ "$1 $2" = "-m container.entrypoint" ] || exec "{sys.executable}" "$@"\nshift\n{ask} "$@"',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    command = [sys.executable, "-m", "tests.docs.warm_commands", "serve", str(path)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}) as server:
        try:
            deadline = time.monotonic() + 60
            while not path.exists():
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield folder
        finally:
            server.kill()


@pytest.fixture
def text(tmp_path, commands) -> Story:
    """The files train.en, train.de, val.en and val.de, of tokens."""
    write_corpus(tmp_path, TOKENS)
    return Story(tmp_path, commands=commands)


@pytest.fixture
def words(tmp_path, commands, monkeypatch) -> Story:
    """Those files; the job trains shorter than that of the page."""
    write_corpus(tmp_path, TOKENS)
    monkeypatch.chdir(tmp_path)
    return Story(tmp_path, {".venv/bin/": "", '"256"': '"16"', '"2000"': '"4"'}, commands)


@pytest.fixture
def corpora(tmp_path, commands) -> Story:
    """Those files, and others of both languages: train.tsv, val.tsv, memory.tmx.gz."""
    write_corpus(tmp_path, TOKENS)
    for name in ("train", "val"):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in TOKENS))
    units = (
        f'<tu><tuv xml:lang="en"><seg>{source}</seg></tuv><tuv xml:lang="de"><seg>{target}</seg></tuv></tu>'
        for source, target in TOKENS
    )
    memory = f'<?xml version="1.0"?><tmx version="1.4"><header/><body>{"".join(units)}</body></tmx>'
    (tmp_path / "memory.tmx.gz").write_bytes(gzip.compress(memory.encode()))
    return Story(tmp_path, commands=commands)


@pytest.fixture
def raw_text(tmp_path, commands) -> Story:
    """The same files, of raw text."""
    write_corpus(tmp_path, RAW)
    return Story(tmp_path, commands=commands)


@pytest.fixture
def translation(tmp_path, commands) -> Story:
    """Those files and test.en, test.de, all packed; with fewer pieces and a smaller job than the page has."""
    write_corpus(tmp_path, RAW)
    for language in ("en", "de"):
        shutil.copy(tmp_path / f"val.{language}", tmp_path / f"test.{language}")
    for file in tmp_path.glob("*.??"):
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    fewer = {"source 4000": "source 40", "target 4000": "target 40", '"384"': '"16"', '"256"': '"8"', '"9000"': '"4"'}
    return Story(tmp_path, fewer, commands)


@pytest.fixture
def dates(tmp_path, commands, monkeypatch) -> Story:
    """A folder; the job trains shorter than that of the page."""
    monkeypatch.chdir(tmp_path)
    fewer = {'("train", 8000)': '("train", 800)', '"600"': '"4"', '"rnn_num_hidden": "96"': '"rnn_num_hidden": "16"'}
    return Story(tmp_path, {**fewer, "500)": "50)"}, commands)


def write_dictionary(path: Path) -> None:
    """Two thousand short words in the format of the CMU Pronouncing Dictionary."""
    names = {letter: letter.upper() for letter in "bdfgklmnprstvz"}
    middles = {"a": "AE1", "e": "EH1", "i": "IH1", "o": "AA1", "u": "AH1", "ee": "IY1", "oo": "UW1", "ay": "EY1"}
    with path.open("w", encoding="utf-8") as file:
        for first, middle, last in itertools.product(names, middles, names):
            file.write(f"{first}{middle}{last} {names[first]} {middles[middle]} {names[last]}\n")
        # Of these, the first is a second pronunciation, the second the same but for its stress, the third no word.
        file.write("bat(2) B AA1 T # place, british\nbad(2) B AE2 D\n3d TH R IY1 D IY1\n")


@pytest.fixture
def pronunciation(tmp_path, commands, monkeypatch) -> Iterator[Story]:
    """A small dictionary; the job trains shorter than that of the page. Its parts are looked at afterwards."""
    monkeypatch.chdir(tmp_path)
    write_dictionary(tmp_path / "cmudict.dict")
    yield Story(tmp_path, {"3000": "4", "rnn_num_hidden: 224": "rnn_num_hidden: 16"}, commands)
    parts = {}
    for part in ("train", "val", "test"):
        sides = [(tmp_path / f"{part}.{side}").read_text().splitlines() for side in ("letters", "phonemes")]
        parts[part] = list(zip(*sides, strict=True))
    assert parts["val"]
    assert parts["test"]
    assert sum(len(dict(pairs)) for pairs in parts.values()) == 14 * 8 * 14  # so no word is in two parts
    assert ("b e e t", "B IY T") in parts["train"]
    assert [phonemes for word, phonemes in parts["train"] if word == "b a t"] == ["B AE T", "B AA T"]
    assert [phonemes for word, phonemes in parts["train"] if word == "b a d"] == ["B AE D"]


def pack_sockeye(folder: Path) -> Path:
    """Makes the archive of such a model, and returns where it lies unpacked."""
    model = ROOT / "tests" / "golden" / "models" / "rnn_rnn_lstm_mlp_1.10.5"
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        for name in ("config", "params.best", "version", "vocab.src.json", "vocab.trg.json"):
            archive.add(model / name, name)
    return model


@pytest.fixture
def sockeye(tmp_path, commands) -> Story:
    """A model.tar.gz of Sockeye 1.10."""
    return Story(tmp_path, {"MODEL_FOLDER": str(pack_sockeye(tmp_path))}, commands)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, commands) -> Path:
    """The folder of a job that has learnt those tokens."""
    folder = tmp_path_factory.mktemp("trained")
    write_corpus(folder, TOKENS)
    opt_ml = OptMl(folder / "job")
    (folder / "job" / "checkpoints").mkdir(parents=True)
    opt_ml.configure("hyperparameters.json", HYPERPARAMETERS)
    code = """
        s2s prepare train.en train.de val.en val.de --output job/input/data --channels
        SAGEMAKER_BASE_DIR=job python -m container.entrypoint train
    """
    environment = {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    subprocess.run(["bash", "-ec", code], check=True, cwd=folder, env=environment)
    return opt_ml.base


@pytest.fixture
def job(trained, tmp_path, commands) -> Story:
    """What a job leaves; texts, another job's file and hyperparameters, and a model to import.

    In place of AWS there is a command that reads the request.
    """
    shutil.copytree(trained, tmp_path / "job")
    write_corpus(tmp_path, TOKENS)
    for language in ("en", "de"):
        shutil.copy(tmp_path / f"val.{language}", tmp_path / f"test.{language}")
    (tmp_path / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    data = "".join(f"{name}: data/{name}\n" for name in ("train", "validation", "vocab"))
    (tmp_path / "job.yaml").write_text(f"{data}output: other\nhyperparameters:\n  max_num_batches: 2\n")
    pack_sockeye(tmp_path)
    aws = 'test "$1 $2" = "sagemaker create-algorithm" && "$PYTHON" -m json.tool "${4#file://}"'
    stands_for = {
        "8000": "40",
        "--output /opt/ml/model": "--output imported",
        "/opt/ml/": "job/",
        "aws ": f"PYTHON='{sys.executable}' bash -c '{aws}' aws ",
    }
    return Story(tmp_path, stands_for, commands)


def serve(base: Path, log: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    # At the end nobody waits for an answer, but the clients' connections are still there.
    ours = {"SAGEMAKER_BASE_DIR": str(base), "S2S_GRACEFUL_TIMEOUT_SECONDS": "1"}
    server = Server(log, {**ours, **environment}, SERVE)
    try:
        server.wait_for_ping(200)
        yield server
    finally:
        server.terminate()


@pytest.fixture
def endpoint(trained, tmp_path, monkeypatch) -> Iterator[Story]:
    """A server of a trained model; the job's folder is `job`."""
    (tmp_path / "job").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    for server in serve(trained, tmp_path / "serve.log", {}):
        yield Story(tmp_path, {"http://localhost:8080": server.url, "http://127.0.0.1:8080": server.url})


@pytest.fixture
def model(tmp_path, monkeypatch) -> Story:
    """A folder with a model at job/model."""
    shutil.copytree(ROOT / "tests" / "frozen" / "0.1.0" / "models" / "recurrent", tmp_path / "job" / "model")
    monkeypatch.chdir(tmp_path)
    return Story(tmp_path)


@pytest.fixture
def multi_model_endpoint(trained, tmp_path) -> Iterator[Story]:
    """A multi-model server, and a model's folder below its /opt/ml/models."""
    base = tmp_path / "ml"
    shutil.copytree(trained / "model", base / "models" / "en-de" / "model")
    for server in serve(base, tmp_path / "serve.log", {"SAGEMAKER_MULTI_MODEL": "true"}):
        yield Story(tmp_path, {"localhost:8080": server.url, "/opt/ml/": f"{base}/"})


@pytest.fixture
def aws(monkeypatch) -> Iterator[Story]:
    """Requests of boto3 are checked by botocore's model of the service and not sent.

    Beyond what botocore checks itself, enumerations, patterns and lengths must be right, and a job must take the
    hyperparameters.
    """
    checked: list[str] = []

    def check(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        checked.append(model.name)
        assert list(broken_rules(model.input_shape, params)) == []
        for job in (params, params.get("TrainingJobDefinition", {})):
            validate({**job.get("HyperParameters", {}), **job.get("StaticHyperParameters", {})})

    def answer(**_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        return AWSResponse("", 200, {}, None), {}

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    boto3.setup_default_session(aws_access_key_id="none", aws_secret_access_key="none")
    for service in ("sagemaker", "sagemaker-runtime"):
        boto3.DEFAULT_SESSION.events.register_first(f"provide-client-params.{service}.*", check)
        boto3.DEFAULT_SESSION.events.register_first(f"before-call.{service}.*", answer)
    yield Story(ROOT)
    assert checked
