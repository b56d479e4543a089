"""`container.entrypoint`."""

import signal
import sys
import types

import pytest

from container import entrypoint
from container.signals import StopSignal


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
