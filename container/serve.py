"""The command ``serve``: an HTTP server on the model folder.

Source: container contract 4.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from flask import Flask
from gunicorn.glogging import Logger

from container.logging import configure_logging
from container.paths import Paths
from s2s_algo.errors import ClientError
from serve.app import create_app, load_translator
from serve.settings import Settings

logger = logging.getLogger(__name__)


def run(application: str = "container.serve:application()") -> NoReturn:
    """Replaces this process by the HTTP server.

    Args:
        application: Where gunicorn finds the WSGI application, in each of its processes.
    """
    try:
        configure_logging()
        settings = Settings.from_environment(os.environ)
    except ClientError as error:
        logger.critical("%s: %s", error.family, error)
        sys.exit(error.exit_code)
    # Read when torch is loaded: more threads than cores would wait for each other.
    per_process = str(max(1, available_cores() // settings.workers))
    threads = {"OMP_NUM_THREADS": per_process, "MKL_NUM_THREADS": per_process}
    command = [sys.executable, "-m", "gunicorn", "--config", "python:serve.gunicorn_conf"]
    command += ["--logger-class", f"{__name__}.{ServerLogger.__name__}", application]
    os.execve(sys.executable, command, threads | os.environ)  # noqa: S606


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Returns how many cores this container may use, which can be fewer than the machine has.

    Args:
        quota: The file with the CPU quota of the control group, such as ``200000 100000`` for two cores.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(cores, int(allowed) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores


def application() -> Flask:
    """Creates the WSGI application, in each server process."""
    paths = Paths.from_environment()
    return create_app(lambda: load_translator(paths.model), Settings.from_environment(os.environ))


class ServerLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands gunicorn's messages on, so that all lines of the log have one form."""

    def setup(self, cfg: Any) -> None:
        """Sets logging up in the master, from which the server processes are forked."""
        super().setup(cfg)
        configure_logging()
        self.error_log.handlers.clear()
        self.error_log.setLevel(logging.NOTSET)
        self.error_log.propagate = True
