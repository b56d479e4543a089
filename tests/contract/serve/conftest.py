"""Real server processes on the loopback interface, with a stub for a translator."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
START = "from container.serve import run; run('stub_serving:application()')"
JSON = "application/json"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server that was started; the process is gunicorn's master."""

    def __init__(self, log: Path, environment: dict[str, str], start: str = START) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = log
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own = {
            "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",
            "S2S_BIND_ADDRESS": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        }
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", start],
                env=inherited | own | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        return self.log_file.read_text()

    def ping(self) -> int:
        try:
            return requests.get(f"{self.url}/ping", timeout=10).status_code
        except requests.ConnectionError:
            return 0

    def wait_for_ping(self, *statuses: int) -> int:
        limit = time.monotonic() + 60
        while (status := self.ping()) not in statuses:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < limit, self.log()
            time.sleep(0.05)
        return status

    def wait_for_models(self, processes: int) -> None:
        """Until so many processes have one."""
        self.wait_for_ping(200)
        limit = time.monotonic() + 30
        while f"s2s_model_ready {processes}.0" not in requests.get(f"{self.url}/metrics", timeout=10).text:
            assert time.monotonic() < limit, self.log()
            time.sleep(0.1)

    def translate(self, text: str, **options) -> requests.Response:
        body = {"instances": [{"data": text}]}
        return requests.post(f"{self.url}/invocations", json=body, timeout=60, **options)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def terminate(self) -> int:
        """Sends SIGTERM and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


@pytest.fixture(scope="module")
def start_server(tmp_path_factory):
    servers = []

    def start(start=START, **environment):
        server = Server(tmp_path_factory.mktemp("server") / "log", environment, start)
        servers.append(server)
        return server

    yield start
    running = [server for server in servers if server.process.poll() is None]
    for server in running:
        server.process.send_signal(signal.SIGTERM)
    for server in running:
        server.process.wait(timeout=40)
