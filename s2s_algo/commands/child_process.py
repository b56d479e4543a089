"""A process of ours that signals end cleanly."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence

_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def run_to_end(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a process and hands SIGTERM and Ctrl-C on to it, both as SIGTERM; returns its exit code.

    A signal of the first moments reaches it as soon as it unblocks SIGTERM, which it has to do.
    """
    # The child is born with both signals blocked: Ctrl-C, which a terminal sends to both processes, comes to it once.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    handlers = {}
    try:
        process = subprocess.Popen(list(command), env=dict(environment))  # noqa: S603 (nothing of it is the user's)
        handlers = {
            number: signal.signal(number, lambda *_: process.send_signal(signal.SIGTERM)) for number in _SIGNALS
        }
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        code = process.wait()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code  # as a shell tells of a signal
