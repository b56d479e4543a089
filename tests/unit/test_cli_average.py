"""The command ``s2s average``."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from s2s_algo.checkpoints.artifact import save_artifact
from s2s_algo.cli import main
from tests.tiny_job import script_validation, train_job

RAW = {
    "max_num_batches": "5",
    "checkpoint_frequency_num_batches": "1",
    "learning_rate": "0.2",
    "optimized_metric": "accuracy",
    "cleanup_old_models": '{"keep_last_n": 2, "keep_best_n": 2}',
}
ACCURACIES = [0.2, 0.7, 0.5, 0.1, 0.4]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The folder of a job that keeps the checkpoints 2 to 5."""
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as monkeypatch:
        script_validation(monkeypatch, accuracies=ACCURACIES)
        assembled = train_job(folder, RAW)
    save_artifact(assembled.artifact(), folder / "model")
    return folder


def run(*arguments, text=""):
    """Runs the command in this process."""
    return CliRunner().invoke(main, list(map(str, arguments)), input=text)


def average(job, output, *options):
    return run("average", job / "checkpoints", "--model", job / "model", "--output", output, *options)


def test_average_lists_the_checkpoints_with_their_scores(job, tmp_path):
    result = average(job, tmp_path / "new" / "out", "--best", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "checkpoint 2 after 2 updates: validation accuracy 0.700000\n"
        "checkpoint 3 after 3 updates: validation accuracy 0.500000\n"
        f"average of checkpoints: 2, written to {tmp_path}/new/out\n"
    )
    result = average(job, tmp_path / "last", "--last", 3)
    assert [line.split()[1] for line in result.stdout.splitlines()[:-1]] == ["3", "4", "5"]


def test_average_writes_a_model_that_translates(job, tmp_path):
    (tmp_path / "out").mkdir()
    assert average(job, tmp_path / "out", "--last", 2).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in (job / "model").iterdir()}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert [checkpoint["updates"] for checkpoint in config["training"]["average_of"]] == [4, 5]
    text = "a b c\nh\n"
    averaged, best = (
        run("translate", "--model", model, "--scores", text=text) for model in (tmp_path / "out", job / "model")
    )
    assert (averaged.exit_code, best.exit_code) == (0, 0)
    assert averaged.stdout.count("\n") == 2
    assert averaged.stdout != best.stdout


@pytest.mark.parametrize("options", [(), ("--best", 1, "--last", 1)])
def test_average_wants_the_best_or_the_last(job, tmp_path, options):
    result = average(job, tmp_path / "out", *options)
    assert result.exit_code == 2
    assert "Give either --best N or --last N." in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--best", "--last"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_average_refuses_what_is_no_positive_integer(job, tmp_path, option, value):
    result = average(job, tmp_path / "out", option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr


@pytest.mark.parametrize("missing", ["--model", "--output"])
def test_average_needs_a_model_and_a_place_for_the_new_one(job, tmp_path, missing):
    places = {"--model": job / "model", "--output": tmp_path / "out"}
    given = [word for option, place in places.items() if option != missing for word in (option, place)]
    result = run("average", job / "checkpoints", *given, "--last", 1)
    assert result.exit_code == 2
    assert f"Missing option '{missing}'" in result.stderr


def test_average_overwrites_nothing(job, tmp_path):
    before = (job / "model" / "config.json").read_bytes()
    result = average(job, job / "model", "--last", 1)
    assert result.exit_code == 2
    assert f"{job}/model is there already. Name a folder that is new or empty." in result.stderr
    assert (job / "model" / "config.json").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    assert f"{tmp_path}/file is there already." in average(job, tmp_path / "file", "--last", 1).stderr
    result = average(job, tmp_path / "file" / "deeper", "--last", 1)
    assert result.exit_code == 2
    assert f"{tmp_path}/file/deeper would lie in a file. Name a folder that is new or empty." in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_average_tells_what_is_wrong_in_one_line_and_leaves_no_output(job, tmp_path):
    result = average(job, tmp_path / "out", "--last", 5)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"ClientError: {job}/checkpoints: the last 5 checkpoints are asked for, but of the 5 that the job has "
        "evaluated only 4 are there and whole. Ask for fewer. The hyperparameter cleanup_old_models keeps more, such "
        'as {"keep_last_n": 5}; a job may also be resumed with it.\n'
    )
    assert not (tmp_path / "out").exists()


def test_average_tells_when_the_disk_refuses(job, tmp_path):
    result = average(job, "/proc/out", "--last", 1)
    assert result.exit_code == 3
    assert result.stderr.startswith("InternalServerError: /proc/out: cannot write")


def test_average_warns_of_what_it_passes_over(job, tmp_path):
    damaged = shutil.copytree(job, tmp_path / "job")
    (damaged / "checkpoints" / "checkpoint-000000004" / "training.safetensors").write_bytes(b"")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("s2s"),
            "average",
            "checkpoints",
            "--model",
            "model",
            "-o",
            "out",
            "--last",
            "2",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=damaged,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "Passed over: checkpoints/checkpoint-000000004: not a whole checkpoint: training.safetensors differs from its "
        "sum in manifest.json. Remove it; a job then goes on from another one.\n"
    )
    assert [line.split()[1] for line in done.stdout.splitlines()[:-1]] == ["3", "5"]


def test_average_explains_itself():
    result = run("average", "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: main average [OPTIONS] CHECKPOINTS")
    assert "CHECKPOINTS is the job's checkpoint folder" in result.stdout
