"""SIGTERM, or Ctrl-C at a terminal: the container shall end; the platform kills it some time later."""

from __future__ import annotations

import signal
from types import FrameType

from s2s_algo.training.stopping import StopRequested, stop_if


class StopSignal:
    """Turns the signals into ``StopRequested``: at once while nothing can be lost, later at the next safe moment.

    Args:
        requested: Whether one came before.
    """

    def __init__(self, requested: bool = False) -> None:
        self._requested = requested
        self._deferred = True

    def install(self) -> None:
        """Begins to listen; as yet only ``check`` raises. Process 1 of a container ignores SIGTERM otherwise."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def interrupt(self) -> None:
        """From now on a signal raises wherever the program is."""
        self._deferred = False
        self.check()

    def defer(self) -> None:
        """From now on only ``check`` raises."""
        self._deferred = True

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
