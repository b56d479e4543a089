"""`container.serve`: what happens before the HTTP server runs."""

import os
import sys

import pytest

from container import serve


@pytest.fixture
def executed(monkeypatch):
    calls = []

    def execve(path, arguments, environment):
        calls.append((path, arguments, environment))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "SAGEMAKER_MODEL_SERVER_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    return calls


def run():
    with pytest.raises(SystemExit) as caught:
        serve.run()
    return caught.value.code


def test_the_process_becomes_gunicorn(executed):
    assert run() == 0
    [(path, arguments, _)] = executed
    assert path == sys.executable
    assert arguments[1:5] == ["-m", "gunicorn", "--config", "python:serve.gunicorn_conf"]
    assert arguments[-1] == "container.serve:application()"


def test_the_cores_are_shared_among_the_server_processes(executed, monkeypatch):
    monkeypatch.setattr(serve, "available_cores", lambda: 8)
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_WORKERS", "3")
    run()
    [(_, _, environment)] = executed
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "2"


def test_a_number_of_threads_that_is_set_stays(executed, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    run()
    [(_, _, environment)] = executed
    assert environment["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    ("quota", "cores"), [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", 4), ("", 4)]
)
def test_a_quota_of_the_container_limits_the_cores(quota, cores, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    (tmp_path / "cpu.max").write_text(quota)
    assert serve.available_cores(tmp_path / "cpu.max") == cores
    assert serve.available_cores(tmp_path / "absent") == 4


def test_a_nonsense_variable_ends_with_code_2_and_one_line(executed, monkeypatch, capsys):
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "http")
    assert run() == 2
    assert executed == []
    [line] = capsys.readouterr().out.splitlines()
    assert line.endswith(
        "ClientError: environment: SAGEMAKER_BIND_TO_PORT is 'http'; "
        "it must be an integer from 1 to 65535, or be left out"
    )
