"""An audit that could not ask does not say that all is well."""

import json
import sys

from release.audit import CLEAN, UNKNOWN, VULNERABLE, audit, judge

GOOD = {"name": "numpy", "version": "2.4.6", "vulns": []}
BAD = {
    "name": "flask",
    "version": "0.1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["0.2", "1.0"]}, {"id": "PYSEC-2", "fix_versions": []}],
}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}


def test_nothing_known_of_any_package_is_clean():
    assert judge({"dependencies": [GOOD, GOOD]}) == (CLEAN, "2 packages have no known vulnerabilities")


def test_vulnerabilities_are_told_with_the_versions_that_mend_them():
    code, text = judge({"dependencies": [GOOD, BAD]})
    assert code == VULNERABLE
    assert text == "flask 0.1: PYSEC-1, mended in 0.2, 1.0\nflask 0.1: PYSEC-2, not mended yet"


def test_a_package_that_nobody_was_asked_about_is_not_clean():
    code, text = judge({"dependencies": [GOOD, SKIPPED]})
    assert code == UNKNOWN
    assert text.splitlines()[0] == "NOT AUDITED: 1 of 2 packages: torch"
    assert text.splitlines()[1].startswith("This says nothing about vulnerabilities. Run make audit on a machine that")


def test_what_is_known_is_told_beside_what_is_not():
    code, text = judge({"dependencies": [*[SKIPPED] * 6, BAD]})
    assert code == VULNERABLE
    assert "flask 0.1: PYSEC-1" in text
    assert "NOT AUDITED: 6 of 7 packages: torch, torch, torch, torch, torch, …" in text


def test_an_audit_of_nothing_is_no_audit():
    assert judge({"dependencies": []})[0] == UNKNOWN


def test_a_database_that_is_not_reached_is_told_with_the_reason():
    program = "import sys; print('Traceback', file=sys.stderr); sys.exit('ConnectionError: no such host')"
    code, text = audit([sys.executable, "-c", program])
    assert code == UNKNOWN
    assert text.startswith("NOT AUDITED: the database of advisories was not reached: ConnectionError: no such host\n")


def test_a_report_of_the_program_is_read_whatever_its_exit_code():
    report = json.dumps({"dependencies": [BAD]})
    assert audit([sys.executable, "-c", f"print({report!r}); exit(1)"])[0] == VULNERABLE
