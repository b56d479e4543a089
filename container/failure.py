"""From an error to the log, the failure file and the exit code."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from s2s_algo.errors import AlgorithmError, PlatformError, S2SError
from s2s_algo.memory import is_out_of_memory

logger = logging.getLogger(__name__)


def report(error: BaseException, failure_file: Path) -> int:
    """Tells why the job failed, where people look.

    The platform shows the first 1,024 characters of the failure file.

    Returns:
        The exit code.
    """
    known = classify(error)
    text = f"{known.family}: {known}"
    if isinstance(known, AlgorithmError):
        logger.error("%s", text, exc_info=error)
        text += "\n\n" + "".join(traceback.format_exception(error))
    else:
        logger.error("%s", text)
    try:
        failure_file.parent.mkdir(parents=True, exist_ok=True)
        failure_file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        logger.error("%s cannot be written: %s", failure_file, problem)
    return known.exit_code


def classify(error: BaseException) -> S2SError:
    """The family of an error that may not be one of ours."""
    if isinstance(error, S2SError):
        return error
    if is_out_of_memory(error):
        return PlatformError(
            "out of memory. Lower batch_size, max_seq_len_source, max_seq_len_target or the sizes of the model, or use "
            "a larger machine."
        )
    if isinstance(error, OSError):
        place = str(error.filename) if error.filename else ""
        return PlatformError(
            f"the machine refused ({error.strerror or error}). Check the disk's space and permissions.", where=place
        )
    return AlgorithmError(
        f"an unexpected error: {type(error).__name__}: {error}. This is a bug of s2s; please report it with the log."
    )
