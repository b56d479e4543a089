"""With a stand-in for the container, because only its start, its log and its end matter here."""

import os
import signal
import sys
import time

import pytest

from local_test import local_container
from local_test.local_container import ContainerError

TRAINED = """
print("Epoch[0]")
print("#quality_metric: host=algo-1, epoch=0, validation perplexity <loss>=2.5")
"""
FAILED = """
import os, pathlib
output = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "output")
output.mkdir()
(output / "failure").write_text("ClientError: no train channel")
raise SystemExit(2)
"""
SERVER = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), os._exit(0)))
print(os.getpid(), flush=True)
address = os.environ["S2S_BIND_ADDRESS"], int(os.environ["SAGEMAKER_BIND_TO_PORT"])
http.server.HTTPServer(address, Handler).serve_forever()
"""


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Returns a function that makes some code the container's entry point."""

    def install(code: str) -> None:
        package = tmp_path / "image" / "container"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "entrypoint.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        monkeypatch.chdir(tmp_path)  # python -m would otherwise find the real one in the current folder

    (tmp_path / "ml").mkdir()
    return install


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_training_shows_its_log_and_keeps_it(container, tmp_path, capsys):
    container(TRAINED)
    local_container.train(tmp_path / "ml", tmp_path / "train.log")
    assert "  Epoch[0]\n" in capsys.readouterr().out
    assert (tmp_path / "train.log").read_text().startswith("Epoch[0]\n")


def test_a_failed_training_shows_the_failure_file(container, tmp_path):
    container(FAILED)
    with pytest.raises(ContainerError, match="exit code 2: ClientError: no train channel"):
        local_container.train(tmp_path / "ml", tmp_path / "train.log")


def test_training_gets_sigterm_when_the_demo_is_interrupted(container, tmp_path, monkeypatch):
    container(
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(print('saved')))\nprint(1)\ntime.sleep(60)"
    )

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupt)
    stopped = []
    original = local_container._stop
    monkeypatch.setattr(local_container, "_stop", lambda *arguments: stopped.append(original(*arguments)))
    with pytest.raises(KeyboardInterrupt):
        local_container.train(tmp_path / "ml", tmp_path / "train.log")
    assert stopped == [0]


def test_the_endpoint_is_ready_inside_the_block_and_stopped_by_sigterm_after_it(container, tmp_path):
    container(SERVER)
    log = tmp_path / "serve.log"
    with local_container.serve(tmp_path / "ml", log) as url:
        assert url.startswith("http://127.0.0.1:")
        pid = int(log.read_text().split()[0])
        assert is_running(pid)
    assert not is_running(pid)
    assert log.read_text().splitlines()[-1] == "drained"


def test_the_endpoint_is_stopped_when_the_block_fails(container, tmp_path):
    container(SERVER)
    log = tmp_path / "serve.log"
    with pytest.raises(ZeroDivisionError), local_container.serve(tmp_path / "ml", log):
        raise ZeroDivisionError
    assert not is_running(int(log.read_text().split()[0]))


def test_an_endpoint_that_ends_early_shows_the_end_of_its_log(container, tmp_path):
    container("print('no model in model/')\nraise SystemExit(3)")
    with (
        pytest.raises(ContainerError, match=r"(?s)exit code 3 before it was ready.*no model in model/"),
        local_container.serve(tmp_path / "ml", tmp_path / "serve.log"),
    ):
        pass


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path):
    code = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(60)"
    process = local_container.subprocess.Popen([sys.executable, "-c", code], stdout=local_container.subprocess.PIPE)
    process.stdout.readline()
    began = time.monotonic()
    assert local_container._stop(process, 0.3) == -signal.SIGKILL
    assert time.monotonic() - began < 10


def test_metrics_of_one_checkpoint_are_put_together():
    lines = [
        "[01/01/2030 00:00:00 INFO 1] Checkpoint [1] Validation-perplexity=9.0",
        "#quality_metric: host=algo-1, epoch=0, validation perplexity <loss>=9.0",
        "#quality_metric: host=algo-1, epoch=0, validation accuracy <score>=0.25",
        "#quality_metric: host=algo-1, epoch=0, train perplexity <loss>=8.0",
        "#quality_metric: host=algo-1, epoch=1, validation perplexity <loss>=4.5",
        "#quality_metric: host=algo-1, epoch=1, validation accuracy <score>=0.5",
    ]
    assert local_container.read_validation_metrics(lines) == [
        {"perplexity": 9.0, "accuracy": 0.25},
        {"perplexity": 4.5, "accuracy": 0.5},
    ]
