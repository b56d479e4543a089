"""A group of commands that tells errors of ours as the container does."""

from __future__ import annotations

from typing import Any

import click

from s2s_algo.errors import S2SError


class CommandGroup(click.Group):
    """Shows errors of ours as one line, with their family's exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except S2SError as error:
            click.echo(f"{error.family}: {error}", err=True)
            ctx.exit(error.exit_code)
