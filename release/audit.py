"""Asks for known vulnerabilities of all packages in constraints.txt, with pip-audit; `make audit` runs it.

pip-audit itself exits with 0 if it could not ask about a package. Here that is a failure of its own:

====  ===========================================================
code  meaning
====  ===========================================================
0     all packages were asked about; nothing is known of them
1     some have known vulnerabilities
3     nobody knows: not all packages could be asked about
====  ===========================================================
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3

_CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# Every version is pinned, so nothing has to be resolved or downloaded.
_PIP_AUDIT = ("-m", "pip_audit", "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off")
_HOW_TO_MEND = (
    "This says nothing about vulnerabilities. Run make audit on a machine that reaches pypi.org, whose advisories "
    "pip-audit reads, or name another database: make audit AUDIT_OPTIONS='--vulnerability-service osv'."
)


def judge(report: Mapping[str, Any]) -> tuple[int, str]:
    """The exit code and what to print about the report of pip-audit in JSON."""
    packages = report["dependencies"]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    known = [
        f"{package['name']} {package['version']}: {found['id']}, {_mended(found['fix_versions'])}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    code = VULNERABLE if known else CLEAN
    if unknown or not packages:
        names = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        known += [f"NOT AUDITED: {len(unknown)} of {len(packages)} packages: {names}", _HOW_TO_MEND]
        code = code or UNKNOWN
    return code, "\n".join(known) or f"{len(packages)} packages have no known vulnerabilities"


def _mended(versions: Sequence[str]) -> str:
    return f"mended in {', '.join(versions)}" if versions else "not mended yet"


def audit(command: Sequence[str]) -> tuple[int, str]:
    """The same, of what a command of pip-audit finds."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        return UNKNOWN, f"NOT AUDITED: the database of advisories was not reached: {reason}\n{_HOW_TO_MEND}"
    return judge(report)


def main() -> int:
    """Audits constraints.txt; arguments go to pip-audit. Returns the exit code."""
    code, text = audit([sys.executable, *_PIP_AUDIT, "--requirement", str(_CONSTRAINTS), *sys.argv[1:]])
    print(text, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
