"""Everything that is installed for running is pinned, whoever needs it."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from release import dependencies
from release.dependencies import closure, declared, pinned


def test_all_that_runs_is_pinned_whoever_needs_it():
    assert closure(declared()) - pinned().keys() == set()


def test_all_that_developing_and_the_demo_need_is_pinned():
    assert closure(declared("dev", "demo")) - pinned().keys() == set()


def test_what_is_installed_for_running_is_what_is_pinned():
    installed = {name: version(name).partition("+")[0] for name in closure(declared())}
    assert {name: pinned()[name] for name in installed} == installed


NEEDS = {
    "a": ["b>=1", "c[x]; python_version > '3'", "never; python_version < '3'"],
    "b": ["a", "D_e.f"],
    "c": ["g; extra == 'x'", "h; extra == 'y'"],
}


def test_needs_of_needs_are_followed_with_their_extras_and_conditions(monkeypatch):
    monkeypatch.setattr(dependencies, "requires", NEEDS.get)
    assert closure(["A>=2"]) == {"a", "b", "c", "d-e-f", "g"}


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(PackageNotFoundError, match=r"no-such-package is not installed\. Run make setup\."):
        closure(["no-such-package>=1"])
