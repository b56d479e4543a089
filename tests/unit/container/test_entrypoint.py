"""`container.entrypoint`."""

import os
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest

from container import entrypoint
from container.signals import STOPPED_EARLY, StopSignal
from tests.contract.train.jobs import OptMl


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ClientError: no command; choose train or serve"),
        (["Train"], "ClientError: 'Train' is not a command; choose train or serve"),
        (["train", "serve"], "ClientError: 'train serve' is not a command; choose train or serve"),
        (["--help"], "ClientError: '--help' is not a command; choose train or serve"),
    ],
)
def test_anything_but_the_two_commands_is_answered_with_both(capsys, arguments, message):
    assert entrypoint.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err == f"{message}\nusage: docker run IMAGE train|serve\n"
    assert printed.out == ""


def test_train_listens_to_signals_before_anything_else_is_imported(monkeypatch):
    handlers = []

    class Training(types.ModuleType):
        @property
        def run(self):
            handlers.append(signal.getsignal(signal.SIGTERM).__self__)
            return lambda stop: 7 if stop is handlers[0] else 0

    monkeypatch.setitem(sys.modules, "container.train", Training("container.train"))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert entrypoint.main(["train"]) == 7
        assert isinstance(handlers[0], StopSignal)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_serve_runs_the_server(monkeypatch):
    server = types.ModuleType("container.serve")
    server.run = lambda: 5
    monkeypatch.setitem(sys.modules, "container.serve", server)
    assert entrypoint.main(["serve"]) == 5


@pytest.mark.parametrize(("command", "last"), [("train", STOPPED_EARLY), ("serve", "Shutting down: Master")])
def test_a_signal_that_came_before_python_had_started_is_heard(tmp_path, command, last):
    """The image blocks it until then; here it is sent to whatever becomes Python."""
    opt_ml = OptMl.ready(tmp_path / "ml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = 'kill -TERM $$; exec "$@"'
    ended = subprocess.run(
        ["env", "--block-signal=TERM", "sh", "-c", script, "sh", sys.executable, "-m", "container.entrypoint", command],
        cwd=Path(entrypoint.__file__).parents[1],
        env={
            "PATH": os.environ["PATH"],
            "SAGEMAKER_BASE_DIR": str(opt_ml.base),
            "S2S_BIND_ADDRESS": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": str(port),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.strip().endswith(last)
    assert not (opt_ml.base / "model" / "model.safetensors").exists()
