"""``s2s doctor``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from s2s_algo.commands.parameters import PATH
from s2s_algo.commands.table import Table

_DEFAULT_PORT = "8080"


@click.command()
@click.option("--base-dir", "base", type=PATH, help="In place of /opt/ml; default: SAGEMAKER_BASE_DIR, or /opt/ml.")
def doctor(base: Path | None) -> None:
    """Checks this machine: Python, packages, cores, memory, GPUs, the folders of the container, and its port.

    Each line ends with ok, note (it works, but should be known) or problem (training or serving will fail). What to do
    is said below the table. The exit code is 1 if there is a problem, and 0 otherwise.

    \b
    Example:
        s2s doctor --base-dir job
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.checkup.hardware import look_at_hardware
    from s2s_algo.checkup.places import look_at_places
    from s2s_algo.checkup.software import look_at_software

    port = os.environ.get("SAGEMAKER_BIND_TO_PORT") or _DEFAULT_PORT
    if not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise click.UsageError(f"SAGEMAKER_BIND_TO_PORT: {port!r} is not a port; set it to 1 … 65535 or unset it.")
    folder = base or Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")
    findings = [
        *look_at_software(),
        *look_at_hardware(),
        *look_at_places(folder, must_exist=base is not None, port=int(port)),
    ]
    rows = [(finding.topic, finding.found, finding.state) for finding in findings]
    Table(("what", "found", "state"), rows).print()
    if any(finding.advice for finding in findings):
        click.echo("\nWhat to do:")
    for finding in findings:
        if finding.advice:
            click.echo(f"* {finding.topic} ({finding.state}): {finding.advice}")
    if any(finding.state == "problem" for finding in findings):
        sys.exit(1)
