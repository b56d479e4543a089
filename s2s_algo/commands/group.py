"""A group of commands that tells errors of ours as the container does."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import click

from s2s_algo.errors import PlatformError, S2SError


class CommandGroup(click.Group):
    """Shows errors of ours as one line, with their family's exit code; what ends a command from outside as a shell."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except S2SError as error:
            _tell(ctx, error)
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
            ctx.exit(128 + signal.SIGINT)
        except BrokenPipeError:
            # What is still buffered must not be written to the closed pipe when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(128 + signal.SIGPIPE)
        except OSError as error:
            if error.filename is not None:
                raise
            _tell(ctx, PlatformError(f"standard input or output: {error.strerror}"))


def _tell(ctx: click.Context, error: S2SError) -> None:
    click.echo(f"{error.family}: {error}", err=True)
    ctx.exit(error.exit_code)
