"""Python and its packages."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping, Sequence

from s2s_algo.checkup.finding import Finding

_DISTRIBUTION = "s2s"
# A requirement as the metadata of a distribution has it, such as: matplotlib>=3.10; extra == "demo"
_REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:>=\s*([\d.]+))?[^;]*(?:;\s*extra == [\"'](\w+)[\"'])?")


def look_at_software() -> Iterator[Finding]:
    """Python, the packages that are needed, and those that are not."""
    yield Finding("Python", platform.python_version())
    try:
        requirements = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "packages", "s2s is not installed", "note", "Install it with pip, so that its packages can be checked."
        )
        return
    yield from look_at_packages(requirements)


def look_at_packages(requirements: Sequence[str]) -> Iterator[Finding]:
    """Whether packages are there and new enough.

    Args:
        requirements: As the metadata of a distribution has them.
    """
    needed: dict[str, str] = {}
    optional: dict[str, str] = {}
    for requirement in requirements:
        if (match := _REQUIREMENT.match(requirement)) and match[3] in (None, "demo"):
            (needed if match[3] is None else optional)[match[1]] = match[2] or ""
    if wrong := _too_old(needed):
        wanted = " ".join(f"'{name}>={oldest}'" if oldest else name for name, oldest in wrong.items())
        found = ", ".join(_shown(name, oldest) for name, oldest in wrong.items())
        yield Finding("packages", found, "problem", f"Run: pip install {wanted}")
    else:
        yield Finding("packages", f"all {len(needed)} that are needed")
    found = ", ".join(_shown(name, oldest) for name, oldest in optional.items())
    if _too_old(optional):
        advice = "Nothing, unless you want `make demo`, which alone needs them: pip install 's2s[demo]'"
        yield Finding("optional packages", found, "note", advice)
    elif optional:
        yield Finding("optional packages", found)


def _too_old(packages: Mapping[str, str]) -> dict[str, str]:
    """Those of the packages that are missing or too old."""
    return {name: oldest for name, oldest in packages.items() if not _is_new_enough(name, oldest)}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_new_enough(name: str, oldest: str) -> bool:
    version = _version(name)
    return version is not None and _numbers(version) >= _numbers(oldest)


def _shown(name: str, oldest: str) -> str:
    version = _version(name)
    if version is None:
        return f"{name} is missing"
    return f"{name} {version}" if _is_new_enough(name, oldest) else f"{name} {version} is older than {oldest}"


def _numbers(version: str) -> list[int]:
    """The release of a version, such as [2, 13, 0] of 2.13.0+cpu."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return [int(number) for number in match[0].split(".")] if match else []
