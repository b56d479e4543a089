"""The wheel, installed into an environment of its own, is the whole product and nothing else."""

import configparser
import email
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from release.dependencies import ROOT, declared

PACKAGES = ("container", "s2s_algo", "serve")
# Beside them, what the repository has more of must not matter.
OTHERS = ("benchmarks", "examples", "local_test", "release", "tests")

USE_FILES = """
import s2s_algo.data.record_pb2, s2s_algo.training.reporting.page, serve.playground
s2s_algo.training.reporting.page._template()
serve.playground.playground(lambda: None)
print(s2s_algo.__file__, serve.__file__)
"""


def run(command, code=0, cwd=None):
    """Without this process's own way to the packages, so that what is not installed is not found."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout or done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from links to the repository, so that nothing is left there."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*PACKAGES, *OTHERS, "LICENSE", "README.md", "pyproject.toml"):
        (source / name).symlink_to(ROOT / name)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    run([sys.executable, "-c", build, folder], cwd=source)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel):
    """A fresh virtual environment with the wheel, which finds the packages of this one."""
    folder = wheel.parent / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    python = folder / "bin" / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel])
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    # Not read again for what is in it, so that an editable installation there is not found.
    (Path(site) / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def in_environment(environment, program, *arguments, code=0):
    return run([environment / "bin" / program, *arguments], code, cwd=environment)


def test_every_file_of_the_packages_is_in_it_and_nothing_else(wheel):
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"serve/playground.html", "s2s_algo/training/reporting/report.html.j2"} < there
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == there


def test_its_metadata_is_that_of_the_project(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [prefix] = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        said = email.message_from_bytes(archive.read(f"{prefix}/METADATA"))
        entries = configparser.ConfigParser()
        entries.read_string(archive.read(f"{prefix}/entry_points.txt").decode())
        assert archive.read(f"{prefix}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert (said["Name"], said["License-Expression"], said["Requires-Python"]) == ("s2s", "Apache-2.0", ">=3.11")
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_all("Provides-Extra") == ["demo", "docs", "release", "dev"]
    running = [requirement for requirement in said.get_all("Requires-Dist") if "extra ==" not in requirement]
    assert sorted(running) == sorted(declared())
    # There is no home page to name yet.
    assert said["Home-page"] is None
    assert said.get_all("Project-URL") is None
    assert {section: dict(entries[section]) for section in entries.sections()} == {
        "console_scripts": {"s2s": "s2s_algo.cli:main"}
    }


def test_the_command_says_its_version(environment, wheel):
    version = wheel.name.split("-")[1]
    assert in_environment(environment, "s2s", "--version") == f"s2s, version {version}\n"


def test_the_command_describes_the_hyperparameters(environment):
    page = (ROOT / "docs" / "hyperparameters.md").read_text(encoding="utf-8")
    assert in_environment(environment, "s2s", "describe", "hyperparameters") == page


def test_the_files_that_are_read_at_run_time_are_found(environment):
    places = in_environment(environment, "python", "-c", USE_FILES).split()
    assert [place for place in places if not place.startswith(str(environment))] == []


def test_the_container_starts_from_it(environment):
    told = in_environment(environment, "python", "-m", "container.entrypoint", "fly", code=2)
    assert "fly" in told
