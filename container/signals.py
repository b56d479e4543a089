"""SIGTERM, or Ctrl-C at a terminal: the container shall end; the platform kills it some time later."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from s2s_algo.training.stopping import StopRequested, stop_if

# What the log says of a job that has learnt nothing yet.
STOPPED_EARLY = "Stopped by a signal before the first update: there is no model to save."


class StopSignal:
    """Turns the signals into ``StopRequested``: at once while nothing can be lost, later at the next safe moment."""

    def __init__(self) -> None:
        self._requested = False
        self._deferred = True

    def install(self) -> None:
        """Begins to listen; as yet only ``check`` raises. Process 1 of a container ignores SIGTERM otherwise."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        # Where nothing can be raised, as while an object is deleted, Python would print it; the next check raises.
        usual = sys.unraisablehook
        sys.unraisablehook = lambda found: None if found.exc_type is StopRequested else usual(found)
        # The image blocks it before it starts Python: whatever process 1 neither handles nor blocks is lost.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def interrupt(self) -> None:
        """From now on a signal raises wherever the program is."""
        self._deferred = False
        self.check()

    def defer(self) -> None:
        """From now on only ``check`` raises."""
        self._deferred = True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, a signal raises wherever the program is; afterwards only ``check`` does."""
        try:
            self.interrupt()
            yield
        finally:
            self.defer()

    def ignore(self) -> None:
        """The command is done: while Python shuts down, a signal must not change how it ends."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    @property
    def requested(self) -> bool:
        """Whether the signal came."""
        return self._requested

    def check(self) -> None:
        """Raises ``StopRequested`` if the signal came."""
        stop_if(self._requested)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self._requested
        self._requested = True
        if not self._deferred and not again:
            raise StopRequested


class StopFile:
    """The same in a training process that a launcher started: the launcher hears the signals.

    Args:
        requested: Is there as soon as the job shall end.
        deferred: To be made when there is something to lose; until then the launcher just ends the process.
    """

    def __init__(self, requested: Path, deferred: Path) -> None:
        self._requested = requested
        self._deferred = deferred

    @property
    def requested(self) -> bool:
        """Whether the job shall end."""
        return self._requested.exists()

    def interrupt(self) -> None:
        """The launcher sees to that."""

    def defer(self) -> None:
        """From now on the process ends by itself."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._deferred.touch()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, the launcher may end the process; afterwards it ends by itself."""
        try:
            yield
        finally:
            self.defer()
