"""The packages that the product needs, directly and through others, by the metadata of what is installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[1]


def declared(*extras: str) -> list[str]:
    """The requirements in pyproject.toml: those for running, or those of some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not extras:
        return list(project["dependencies"])
    return [requirement for extra in extras for requirement in project["optional-dependencies"][extra]]


def pinned() -> dict[NormalizedName, str]:
    """The versions in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def closure(requirements: Iterable[str]) -> set[NormalizedName]:
    """The packages of some requirements and all that these need on this machine.

    Raises:
        PackageNotFoundError: One of them is not installed.
    """
    seen: set[tuple[NormalizedName, str]] = set()
    waiting = [(Requirement(requirement), "") for requirement in requirements]
    while waiting:
        requirement, extra_of_parent = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra_of_parent}):
            continue
        name = canonicalize_name(requirement.name)
        # What a package needs for itself, and what it needs for each extra that is asked for.
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(Requirement(needed), extra) for needed in _requires(name)]
    return {name for name, _ in seen}


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        raise PackageNotFoundError(f"{name} is not installed. Run make setup.") from None
