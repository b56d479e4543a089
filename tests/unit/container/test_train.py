"""`container.train`: what the contract's tests cannot provoke from outside."""

import os
import signal
from types import SimpleNamespace

import pytest

from container import train
from container.failure import report
from container.resources import Resources
from container.signals import StopSignal
from s2s_algo.errors import ClientError
from s2s_algo.training.stopping import StopRequested


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a job whose work is replaced; returns the exit code and the text of the failure file."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(train, "configure_logging", lambda: None)

    def run_with(work):
        monkeypatch.setattr(train, "_train", lambda paths, stop: work())
        code = train.run(StopSignal())
        failure = tmp_path / "output" / "failure"
        return code, failure.read_text() if failure.exists() else None

    return run_with


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize("code", [0, 2, 3])
def test_work_that_ends_says_how(run, code):
    assert run(lambda: code) == (code, None)


def test_a_stop_is_a_success_without_a_model(run, caplog):
    caplog.set_level("INFO")
    assert run(raising(StopRequested())) == (0, None)
    assert caplog.messages[-1] == "Stopped by a signal before the first update: there is no model to save."


@pytest.mark.parametrize(
    ("error", "code", "begin"),
    [
        (ClientError("wrong"), 2, "ClientError: wrong"),
        (OSError(28, "No space left on device", "/x"), 3, "InternalServerError: /x: the machine refused (No space"),
        (MemoryError(), 3, "InternalServerError: out of memory. Lower batch_size"),
        (AssertionError("never"), 1, "AlgorithmError: an unexpected error: AssertionError: never. This is a bug"),
        (SystemExit(0), 1, "AlgorithmError: an unexpected error: SystemExit: 0. "),
    ],
)
def test_every_error_has_its_exit_code_and_its_family_in_the_failure_file(run, error, code, begin):
    exit_code, failure = run(raising(error))
    assert exit_code == code
    assert failure.startswith(begin)


def test_a_failure_file_that_cannot_be_removed_ends_no_job(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(train, "configure_logging", lambda: None)
    monkeypatch.setattr(train, "_train", lambda paths, stop: 0)
    (tmp_path / "output" / "failure").mkdir(parents=True)
    assert train.run(StopSignal()) == 0


@pytest.mark.parametrize("begun", [False, True])
def test_a_signal_that_came_before_spares_a_new_job_the_import_of_torch(tmp_path, monkeypatch, begun):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(train, "configure_logging", lambda: None)
    configuration = SimpleNamespace(
        hyperparameters=SimpleNamespace(processes=1),
        resources=Resources("algo-1", ("algo-1",)),
        checkpoints=tmp_path / "checkpoints",
    )
    if begun:
        (tmp_path / "checkpoints" / "checkpoint-000000001").mkdir(parents=True)
    done = []
    monkeypatch.setattr(train, "read_configuration", lambda paths: configuration)
    monkeypatch.setattr(train, "local_gpus", lambda: done.append("imported") or 0)
    monkeypatch.setattr(train, "work", lambda *_, **__: done.append("worked"))
    stop = StopSignal()
    stop._handle(signal.SIGTERM, None)
    assert train.run(stop) == 0
    assert done == (["imported", "worked"] if begun else [])


def test_a_signal_while_a_failure_is_reported_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(train, "configure_logging", lambda: None)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = StopSignal()

    def work(paths, stop):
        stop.interrupt()
        raise ClientError("wrong")

    def report_slowly(error, failure):
        os.kill(os.getpid(), signal.SIGTERM)
        return report(error, failure)

    monkeypatch.setattr(train, "_train", work)
    monkeypatch.setattr(train, "report", report_slowly)
    try:
        stop.install()
        assert train.run(stop) == 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert (tmp_path / "output" / "failure").read_text() == "ClientError: wrong"


@pytest.mark.parametrize(
    ("asked", "gpus", "expected"),
    [
        (None, 0, 1),
        (None, 1, 1),
        (None, 4, 4),
        (8, 0, 8),
        (9, 0, None),
        (2, 4, 2),
        (4, 4, 4),
        (9, 9, 9),
        (5, 4, None),
        (2, 1, None),
    ],
)
def test_there_is_a_process_for_each_gpu_unless_fewer_are_asked_for(tmp_path, monkeypatch, asked, gpus, expected):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(train, "configure_logging", lambda: None)
    configuration = SimpleNamespace(
        hyperparameters=SimpleNamespace(processes=asked),
        resources=Resources("algo-1", ("algo-1",)),
        checkpoints=None,
    )
    started = []
    monkeypatch.setattr(train, "read_configuration", lambda paths: configuration)
    monkeypatch.setattr(train, "local_gpus", lambda: gpus)
    monkeypatch.setattr(train, "available_cores", lambda: 2)
    monkeypatch.setattr(train, "work", lambda *_, **__: started.append(1))
    monkeypatch.setattr(train, "launch", lambda paths, resources, processes, *_: started.append(processes) or 0)
    assert train.run(StopSignal()) == (0 if expected else 2)
    assert started == ([expected] if expected else [])
    if not expected:
        failure = (tmp_path / "output/failure").read_text()
        most = f"the {gpus} GPUs of this machine" if gpus else "8, 4 for each of the 2 cores that this machine has"
        assert failure.startswith(f"ClientError: processes: {asked} is more than {most}")
