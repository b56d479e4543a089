"""The files at the root of the repository agree with each other."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import local_test

ROOT = Path(local_test.__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PINNED = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = dict(line.split("==") for line in PINNED)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned():
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    loose = [requirement for group in groups for requirement in group if "==" not in requirement]
    names = {normalised(re.match(r"[\w.-]+", requirement)[0]) for requirement in loose}
    assert names - {normalised(name) for name in PINS} == set()


def test_pins_hold_for_every_build_of_a_package():
    assert [name for name, version in PINS.items() if "+" in version] == []


def test_pins_are_sorted():
    assert sorted(PINNED, key=str.lower) == PINNED


def test_the_image_has_the_pinned_torch():
    assert re.search(r"^ARG TORCH_VERSION=(.+)$", DOCKERFILE, re.MULTILINE)[1] == PINS["torch"]


def test_the_image_says_the_version_of_the_package():
    assert re.search(r"^ARG VERSION=(.+)$", DOCKERFILE, re.MULTILINE)[1] == PROJECT["project"]["version"]


def test_the_page_of_the_interface_says_the_version_of_the_package():
    page = (ROOT / "docs" / "openapi.yaml").read_text()
    assert re.search(r"^  version: (.+)$", page, re.MULTILINE)[1] == PROJECT["project"]["version"]


def test_what_the_image_copies_is_not_ignored():
    copies = re.findall(r"^COPY (?!--from=)(.+)$", DOCKERFILE, re.MULTILINE)
    copied = {name for line in copies for name in line.split()[:-1]}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed


def test_every_file_that_is_not_python_is_packaged():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    packages = [pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    left_out = [
        f"{package}/{name}"
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
        for name in [str(path.relative_to(ROOT / package))]
        if not any(fnmatch(name, pattern) for pattern in patterns.get(package, []))
    ]
    assert left_out == []
