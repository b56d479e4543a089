"""Log lines as the platform's built-in algorithms write them."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Mapping

from s2s_algo.errors import ClientError

_LEVEL_VARIABLE = "SAGEMAKER_CONTAINER_LOG_LEVEL"


def configure_logging(environment: Mapping[str, str] = os.environ) -> None:
    """Sends all log lines to standard output: ``[MM/DD/YYYY HH:MM:SS LEVEL thread] message``.

    ``SAGEMAKER_CONTAINER_LOG_LEVEL`` is a level's name or number, by default INFO.

    Raises:
        ClientError: The variable holds neither.
    """
    # The platform reads the log as UTF-8; a stray surrogate in a token must not end the job.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    logging.basicConfig(
        level=_level(environment.get(_LEVEL_VARIABLE) or "INFO"),
        format="[%(asctime)s %(levelname)s %(thread)d] %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        stream=sys.stdout,
        force=True,
    )
    # Torch tells its own statistics at exit, which is nothing for the log of a job.
    logging.getLogger("torch").setLevel(logging.WARNING)


def _level(text: str) -> int:
    names = logging.getLevelNamesMapping()
    if text.isascii() and text.isdigit():
        return int(text)
    if text.upper() not in names:
        raise ClientError(
            f"{_LEVEL_VARIABLE}: {text!r} is not a log level; "
            "set it to DEBUG, INFO, WARNING, ERROR or a number such as 20"
        )
    return names[text.upper()]
