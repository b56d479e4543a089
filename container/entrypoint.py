"""What ``docker run IMAGE train`` and ``docker run IMAGE serve`` start."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from container.signals import StopSignal

_USAGE = "usage: docker run IMAGE train|serve"


def main(arguments: Sequence[str]) -> int:
    """Runs a command; returns the exit code."""
    match list(arguments):
        case ["train"]:
            # First of all: until someone listens, process 1 of a container loses the signal that ends it.
            stop = StopSignal()
            stop.install()
            from container.train import run as run_training

            code = run_training(stop)
            stop.ignore()
            return code
        case ["serve"]:
            from container.serve import run as run_server

            return run_server()
        case []:
            print(f"ClientError: no command; choose train or serve\n{_USAGE}", file=sys.stderr)
        case _:
            given = " ".join(arguments)
            print(f"ClientError: {given!r} is not a command; choose train or serve\n{_USAGE}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
