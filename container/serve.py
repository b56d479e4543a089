"""The command ``serve``: an HTTP server on the model folder, or on those that a multi-model endpoint is told to load.

Source: container contract 4.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from typing import Any, NoReturn

from flask import Flask
from gunicorn.glogging import Logger

from container.logging import configure_logging
from container.paths import Paths
from container.processes import serving_processes
from container.threads import WAIT_ASLEEP, thread_settings
from s2s_algo.errors import ClientError
from serve.app import create_app, create_multi_model_app, load_translator
from serve.settings import METRICS_FOLDER, WORKERS, Settings, memory_disk

logger = logging.getLogger(__name__)

_LONGEST_WARNING = 1000


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
    workers = settings.workers
    if not os.environ.get(WORKERS):
        workers = serving_processes(Paths.from_environment().model, multi_model=settings.multi_model)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:serve.gunicorn_conf"]
    command += ["--logger-class", f"{__name__}.{ServerLogger.__name__}", application]
    # Each entry can take half a megabyte; a model needs less than 200.
    environment = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256"} | thread_settings(WAIT_ASLEEP, workers)
    environment |= {**os.environ, "PROMETHEUS_DISABLE_CREATED_SERIES": "true", WORKERS: str(workers)}
    environment.pop(METRICS_FOLDER, None)  # what a former run has left there would be counted again
    if workers > 1:
        environment[METRICS_FOLDER] = tempfile.mkdtemp(prefix="s2s-metrics-", dir=memory_disk())
    os.execve(sys.executable, command, environment)  # noqa: S606


def application() -> Flask:
    """Creates the WSGI application, in each server process."""
    paths, settings = Paths.from_environment(), Settings.from_environment(os.environ)
    if settings.multi_model:
        return create_multi_model_app(lambda folder: load_translator(folder, settings), paths.base / "models", settings)
    return create_app(lambda: load_translator(paths.model, settings), settings)


class ServerLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands gunicorn's messages on, so that all lines of the log have one form."""

    def setup(self, cfg: Any) -> None:
        """Sets logging up in the master, from which the server processes are forked."""
        super().setup(cfg)
        configure_logging()
        self.error_log.handlers.clear()
        self.error_log.setLevel(logging.NOTSET)
        self.error_log.propagate = True

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Logs, among others, what a client sent that is no request; it may be a megabyte."""
        super().warning(msg[:_LONGEST_WARNING], *args, **kwargs)
