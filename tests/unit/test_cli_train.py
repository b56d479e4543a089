"""The command ``s2s train``: a local job, run by the container's own code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from s2s_algo.checkpoints.atomic import claimed
from s2s_algo.cli import main
from s2s_algo.commands import child_process
from s2s_algo.commands.child_process import run_to_end
from tests.contract.train.jobs import TINY, OptMl

YAML = """\
train: channels/input/data/train
validation: channels/input/data/validation/val.rec
vocab: channels/input/data/vocab
output: job
"""


def hyperparameters(**more):
    lines = "".join(f"  {name}: {value}\n" for name, value in {**TINY, **more}.items())
    return f"hyperparameters:\n{lines}"


@pytest.fixture
def place(tmp_path):
    """A folder with records and vocabularies below ``channels``."""
    OptMl.ready(tmp_path / "channels")
    return tmp_path


def config(place, text):
    (place / "job.yaml").write_text(text)
    return place / "job.yaml"


def refused(place, text):
    """The lines of what is told of a wrong file, without the name of the file."""
    file = config(place, text)
    result = CliRunner().invoke(main, ["train", "--config", str(file)])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert not (place / "job").exists()
    beginning = f"ClientError: {file}"
    assert result.stderr.startswith((f"{beginning}: ", f"{beginning}, line "))
    return result.stderr.removeprefix(beginning)[2:].splitlines()


def seen(place, text, monkeypatch, look, code=0):
    """What the container's process would see in its base folder."""
    found = []

    def run(command, environment):
        assert command == [sys.executable, "-m", "container.entrypoint", "train"]
        found.append(look(Path(environment["SAGEMAKER_BASE_DIR"])))
        return code

    monkeypatch.setattr(child_process, "run_to_end", run)
    result = CliRunner().invoke(main, ["train", "-c", str(config(place, text))])
    assert result.exit_code == code, result.output
    return found[0]


def start(file, cwd):
    return subprocess.Popen(
        [Path(sys.executable).with_name("s2s"), "train", "--config", str(file)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_job_is_trained_as_in_the_container(place):
    # A package of this name in the working directory is nobody's business.
    (place / "container").mkdir()
    (place / "container" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    numbers = hyperparameters(max_num_batches=4, checkpoint_frequency_num_batches=2, learning_rate="1e-3")
    process = start(config(place, YAML + "checkpoints: kept\n" + numbers), place)
    log, _ = process.communicate(timeout=200)
    assert process.returncode == 0, log
    assert f"The model is in {place}/job/model" in log
    assert {path.name for path in (place / "job").iterdir()} == {"model", "output", "lock.sagemaker-ignore"}
    assert (place / "job" / "output" / "data" / "metrics.jsonl").exists()
    assert list((place / "kept").glob("checkpoint-*"))
    trained = json.loads((place / "job" / "model" / "config.json").read_text())["training"]
    assert trained["hyperparameters"]["max_num_batches"] == 4
    assert trained["hyperparameters"]["learning_rate"] == 0.001


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_job_with_the_model_saved(place, number):
    text = YAML + hyperparameters(max_num_batches=10**6, checkpoint_frequency_num_batches=10)
    process = start(config(place, text), place)
    log = ""
    deadline = time.monotonic() + 120
    while "Validation-" not in log and time.monotonic() < deadline:
        log += process.stdout.readline()
    process.send_signal(number)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, log + rest
    assert "Stopped by a signal after " in rest
    assert (place / "job" / "model" / "config.json").exists()
    assert not os.path.lexists(place / "job" / "input")


def test_the_exit_code_is_that_of_the_container(place):
    (place / "channels" / "input" / "data" / "train" / "train.rec").write_bytes(b"no record")
    process = start(config(place, YAML + hyperparameters()), place)
    log, _ = process.communicate(timeout=120)
    assert process.returncode == 2, log
    assert (place / "job" / "output" / "failure").read_text().startswith("ClientError: ")


def test_channels_are_links_to_what_the_file_names(place, monkeypatch):
    def look(base):
        data = base / "input" / "data"
        return (
            base,
            (data / "train").resolve(),
            [(str(path.relative_to(data)), path.resolve()) for path in data.rglob("*.rec") if "val" in str(path)],
            (data / "vocab").resolve(),
            sorted(path.name for path in data.iterdir()),
            sorted(path.name for path in (base / "input" / "config").iterdir()),
        )

    data = place / "channels" / "input" / "data"
    assert seen(place, YAML, monkeypatch, look) == (
        place / "job",
        data / "train",
        [("validation/1/val.rec", data / "validation" / "val.rec")],
        data / "vocab",
        ["train", "validation", "vocab"],
        ["hyperparameters.json"],
    )
    assert {path.name for path in (place / "job").iterdir()} == {"lock.sagemaker-ignore"}


def test_files_of_a_list_keep_their_order_and_may_share_a_name(place, monkeypatch):
    names = ["b/x.rec", "a/x.rec", *(f"c/{number}.rec" for number in range(9))]
    for name in names:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(name.encode())
    listed = "".join(f"- {name}\n" for name in names)
    text = YAML.replace("train: channels/input/data/train", f"train:\n{listed}")

    def look(base):
        channel = base / "input" / "data" / "train"
        return [path.read_text() for path in sorted(channel.rglob("*.rec"), key=lambda path: path.as_posix())]

    assert seen(place, text, monkeypatch, look) == names


def test_a_model_may_be_a_folder_or_an_archive(place, monkeypatch):
    (place / "first").mkdir()
    (place / "first" / "config.json").write_text("{}")
    (place / "old.tgz").write_bytes(b"packed")

    def look(base):
        return {path.name: path.read_bytes() for path in (base / "input" / "data" / "model").iterdir()}

    assert seen(place, YAML + "model: first\n", monkeypatch, look) == {"config.json": b"{}"}
    assert seen(place, YAML + "model: old.tgz\n", monkeypatch, look) == {"model.tar.gz": b"packed"}


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_what_yaml_calls_nothing_is_absent(nothing, place, monkeypatch):
    assert refused(place, YAML.replace("channels/input/data/vocab", nothing))[0].startswith("vocab: missing; ")
    optional = "".join(f"{name}: {nothing}\n" for name in ("model", "checkpoints", "hyperparameters"))

    def look(base):
        return sorted(path.name for folder in ("config", "data") for path in (base / "input" / folder).iterdir())

    assert seen(place, YAML + optional, monkeypatch, look) == ["hyperparameters.json", "train", "validation", "vocab"]


def test_values_arrive_as_they_are_written(place, monkeypatch):
    text = """\
hyperparameters:
  batch_size: 64
  learning_rate: 1e-4
  cnn_hidden_dropout: .5
  rnn_decoder_hidden_dropout: 0.1
  rnn_residual_connections: True
  optimized_metric: "bleu"
  cleanup_old_models: {keep_last_n: 2}
"""

    def look(base):
        return json.loads((base / "input" / "config" / "hyperparameters.json").read_text())

    assert seen(place, YAML + text, monkeypatch, look) == {
        "batch_size": "64",
        "learning_rate": "1e-4",
        "cnn_hidden_dropout": ".5",
        "rnn_decoder_hidden_dropout": "0.1",
        "rnn_residual_connections": "True",
        "optimized_metric": "bleu",
        "cleanup_old_models": '{"keep_last_n": "2"}',
    }


def test_checkpoints_are_where_the_file_says(place, monkeypatch):
    def look(base):
        return json.loads((base / "input" / "config" / "checkpointconfig.json").read_text())

    assert seen(place, YAML + "checkpoints: job/kept\n", monkeypatch, look) == {"LocalPath": f"{place}/job/kept"}


def test_paths_are_relative_to_the_file_and_not_to_the_working_directory(place, monkeypatch):
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert seen(place, YAML, monkeypatch, lambda base: base) == place / "job"


def test_all_problems_are_told_at_once(place):
    text = """\
trian: x
batch_size: 3
colour: red
train: [channels/input/data/train, absent.rec]
validation: nowhere
vocab: channels
output: job.yaml
model: gone
hyperparameters:
  batchsize: 64
  rnn_num_hidden: 7
  num_embed_source: [1, 2]
"""
    lines = refused(place, text)
    assert lines == [
        "'trian' is not known; did you mean 'train'?",
        "'batch_size' is a hyperparameter; write it below hyperparameters",
        "'colour' is not known; the keys are train, validation, vocab, output, model, checkpoints, hyperparameters",
        f"train: there is no {place}/absent.rec; paths are relative to the folder of this file",
        f"train: {place}/channels/input/data/train is a folder in a list; give the files that are in it, or one folder "
        "without a list",
        f"validation: there is no {place}/nowhere; paths are relative to the folder of this file",
        f"vocab: vocab.src.json and vocab.trg.json missing in {place}/channels; name the folder that holds "
        "vocab.src.json and vocab.trg.json",
        f"output: {place}/job.yaml is a file; name a folder",
        f"model: there is no {place}/gone; paths are relative to the folder of this file",
        "hyperparameters: num_embed_source is a list; write a number, a text, true, false or a map",
        *lines[10:],
    ]
    rest = "\n".join(lines[10:])
    assert "'batchsize' was unexpected" in rest
    assert "did you mean 'batch_size'?" in rest
    assert "rnn_num_hidden: '7'" in rest


def test_what_is_needed_is_named(place):
    form = (
        "it must be a map with train, validation, vocab, output and, if need be, model, checkpoints and hyperparameters"
    )
    assert refused(place, "train: channels\nvocab:\n") == [
        f"{key}: missing; {form}" for key in ("validation", "vocab", "output")
    ]
    assert refused(place, "") == [f"'' is not a map; {form}"]
    assert refused(place, "- train\n") == [f"['train'] is not a map; {form}"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train: a\ntrain: b\n", "line 2: 'train' is given more than once; write each name once"),
        ("a: &x 1\nb: *x\n", "line 2: *x is an alias; write the value out"),
        ("train: [a\noutput: b\n", "not YAML at line 2, column 7 ("),
        ("? [a]\n: b\n", "line 1: a name must be a text"),
        ("train: \x07\n", "not YAML ("),
        ("---\na: b\n---\nc: d\n", "not YAML at line 3, column 1 ("),
        ("[" * 5000, "not YAML"),
    ],
)
def test_what_is_no_yaml_of_ours_is_told_with_its_place(place, text, told):
    assert refused(place, text)[0].startswith(told)


def test_tags_make_no_objects(place):
    refused(place, "!!python/object/apply:os.mkdir [made]\n")
    assert not (place / "made").exists()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    result = CliRunner().invoke(main, ["train", "--config", str(tmp_path / "absent.yaml")])
    assert result.exit_code == 2
    assert result.stderr == f"ClientError: cannot read {tmp_path}/absent.yaml: No such file or directory\n"


def test_checkpoints_need_a_folder_of_their_own(place):
    assert refused(place, YAML + "checkpoints: ./job\n") == [
        "checkpoints: it is the output folder itself; name another one, such as one in it"
    ]


def test_a_folder_of_the_container_is_left_alone(place):
    result = CliRunner().invoke(main, ["train", "-c", str(config(place, YAML.replace(": job", ": channels")))])
    assert result.exit_code == 2
    assert f"{place}/channels/input: it is there already" in result.stderr
    assert (place / "channels" / "input" / "data" / "train" / "train.rec").exists()


def test_what_a_killed_run_has_left_is_replaced(place, monkeypatch):
    (place / "job").mkdir()
    (place / "job" / "input").symlink_to(place / "s2s-train-gone")
    assert seen(place, YAML, monkeypatch, lambda base: (base / "input" / "data" / "train" / "train.rec").exists())
    assert not os.path.lexists(place / "job" / "input")


def test_two_jobs_do_not_share_an_output(place):
    (place / "job").mkdir()
    with claimed(place / "job"):
        result = CliRunner().invoke(main, ["train", "-c", str(config(place, YAML))])
    assert result.exit_code == 2
    assert f"{place}/job: another training job is using this folder." in result.stderr


def test_a_failing_child_s_code_is_handed_on(place, monkeypatch):
    assert seen(place, YAML, monkeypatch, lambda base: True, code=3)


def test_a_child_that_was_killed_has_the_code_of_a_shell():
    assert run_to_end([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], os.environ) == 137


def test_a_signal_before_the_child_listens_waits_for_it(tmp_path):
    """The child is born deaf, as the container's process is until it has its handlers."""
    child = (
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(0.3)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})\n"
        "time.sleep(30)\n"
    )
    before = signal.getsignal(signal.SIGINT)
    assert run_to_end([sys.executable, "-c", child, str(tmp_path / "came this far")], os.environ) == 5
    assert (tmp_path / "came this far").exists()
    assert signal.getsignal(signal.SIGINT) is before
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, set())
