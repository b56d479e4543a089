"""The SageMaker Python SDK as a client: examples/sagemaker_local_mode.py, as a user runs it."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.engine import IMAGE

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "sagemaker_local_mode.py"

# The SDK wants older releases of some packages than we do, so it lives in an environment of its own.
VARIABLE = "S2S_SDK_PYTHON"


@pytest.fixture(scope="module")
def python():
    """A Python that has the SDK."""
    if importlib.util.find_spec("sagemaker"):
        return sys.executable
    if VARIABLE not in os.environ:
        install = "python -m venv sdk && sdk/bin/pip install 'sagemaker[local]<3'"
        pytest.skip(f"no SageMaker SDK: `{install}`, and {VARIABLE}=sdk/bin/python")
    return os.environ[VARIABLE]


@pytest.fixture(scope="module")
def compose(engine):
    if not shutil.which("docker"):
        pytest.skip("the SDK runs the command docker, which is not there")
    has_plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    if not has_plugin and not shutil.which("docker-compose"):
        pytest.skip("the SDK needs `docker compose`, or docker-compose")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("hosts", [1, 2])
def test_the_sdk_trains_deploys_predicts_and_transforms(compose, python, tmp_path, hosts):
    options = ["--image", IMAGE, "--hosts", str(hosts), "--port", str(free_port()), "--folder", str(tmp_path / "run")]
    # Fewer updates than a good model needs: this is about the ways to it.
    run = subprocess.run(
        [python, str(EXAMPLE), *options, "--batches", "60"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=800,
    )
    log = run.stdout
    assert run.returncode == 0, log[-5000:]
    assert "Traceback" not in log

    # The SDK shows the container's log in between, not always on lines of its own.
    formats = ("json", "jsonlines", "recordio")
    answers = {name: re.findall(rf"(?<!\w){name} .*-> .*'([a-j ]*)'", log) for name in formats}
    transformed = re.findall(r'\{"target": "([a-j ]*)"\}', log)
    assert len(transformed) == 3
    assert answers["json"] == answers["jsonlines"] == answers["recordio"] == transformed
    rows = re.findall(r" {8}([a-j]) ((?: +[01]\.\d\d){4})", log)
    assert [token for token, _ in rows] == answers["json"][0].split()
    assert all(sum(map(float, weights.split())) == pytest.approx(1, abs=0.03) for _, weights in rows)

    if hosts == 2:
        assert "Training with 1 processes on each of 2 hosts" in log
    # Nobody looks at the terminal that local mode gives to its containers.
    assert "updates/s]" not in log
    assert "translating for BLEU" not in log
    assert (tmp_path / "run" / "output" / "model.tar.gz").exists()
