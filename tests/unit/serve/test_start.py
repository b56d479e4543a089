"""`container.serve`: what happens before the HTTP server runs."""

import os
import sys
from pathlib import Path

import pytest

from container import processes, serve, threads


@pytest.fixture
def executed(monkeypatch, tmp_path):
    calls = []

    def execve(path, arguments, environment):
        calls.append((path, arguments, environment))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(serve, "memory_disk", lambda: str(tmp_path))
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "SAGEMAKER_MODEL_SERVER_WORKERS", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
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
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_WORKERS", "3")
    run()
    [(_, _, environment)] = executed
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"


def test_there_are_as_many_processes_as_cores_if_nobody_says(executed, monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 3)
    monkeypatch.setattr(processes, "available_cores", lambda: 3)
    run()
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    run()
    numbers = [(_[2]["SAGEMAKER_MODEL_SERVER_WORKERS"], _[2]["OMP_NUM_THREADS"]) for _ in executed]
    assert numbers == [("3", "1"), ("1", "3")]


def test_settings_of_threads_that_are_there_stay(executed, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    run()
    [(_, _, environment)] = executed
    assert (environment["OMP_NUM_THREADS"], environment["OMP_WAIT_POLICY"]) == ("7", "ACTIVE")


def test_a_nonsense_variable_ends_with_code_2_and_one_line(executed, monkeypatch, capsys):
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "http")
    assert run() == 2
    assert executed == []
    [line] = capsys.readouterr().out.splitlines()
    assert line.endswith(
        "ClientError: environment: SAGEMAKER_BIND_TO_PORT is 'http'; "
        "it must be an integer from 1 to 65535, or be left out"
    )


def test_several_processes_share_their_metrics_in_a_fresh_folder(executed, monkeypatch, tmp_path):
    former = tmp_path / "former"
    former.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(former))
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_WORKERS", "2")
    run()
    run()
    folders = {Path(environment["PROMETHEUS_MULTIPROC_DIR"]) for _, _, environment in executed}
    assert len(folders - {former}) == 2
    assert all(folder.is_dir() and folder.parent == tmp_path for folder in folders)


def test_one_process_shares_its_metrics_with_nobody(executed, monkeypatch, tmp_path):
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_WORKERS", "1")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    run()
    [(_, _, environment)] = executed
    assert "PROMETHEUS_MULTIPROC_DIR" not in environment
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("multi_model", ["true", ""])
def test_the_routes_of_models_are_those_of_a_multi_model_endpoint_alone(monkeypatch, tmp_path, multi_model):
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", multi_model)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    client = serve.application().test_client()
    assert client.get("/models").status_code == (200 if multi_model else 404)
    assert client.get("/invocations").status_code == 405
    assert client.get("/ping").status_code == (200 if multi_model else 503)


def test_the_image_says_that_it_can_hold_several_models():
    text = (Path(__file__).parents[3] / "Dockerfile").read_text(encoding="utf-8")
    assert 'com.amazonaws.sagemaker.capabilities.multi-models="true"' in text
