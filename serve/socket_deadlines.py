"""Cutting connections whose client sends its request, takes its answer or closes its side too slowly."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

# Reading ends as if the client had closed its side: the request can still be answered with an error.
READING = socket.SHUT_RD
# Writing ends for good.
WRITING = socket.SHUT_RDWR


class SocketDeadlines:
    """Deadlines of sockets that threads are blocked on.

    Timeouts of the sockets themselves would not do: a client that sends one byte a second never exceeds them.

    Args:
        clock: Seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, tuple[float, int]] = {}
        self._cut: set[socket.socket] = set()

    def begin(self, connection: socket.socket, phase: int, seconds: float) -> None:
        """Starts a phase, `READING` or `WRITING`, that may take so many seconds."""
        with self._lock:
            self._deadlines[connection] = (self._clock() + seconds, phase)

    def end(self, connection: socket.socket) -> bool:
        """Ends the phase of a socket; returns whether its time was over and the socket was cut."""
        with self._lock:
            self._deadlines.pop(connection, None)
            was_cut = connection in self._cut
            self._cut.discard(connection)
            return was_cut

    def cut_expired(self) -> None:
        """Cuts the sockets whose time is over, which wakes the threads that are blocked on them."""
        with self._lock:
            now = self._clock()
            expired = [connection for connection, (deadline, _) in self._deadlines.items() if deadline <= now]
            for connection in expired:
                _, phase = self._deadlines.pop(connection)
                self._cut_off(connection, phase)

    def cut(self, connection: socket.socket) -> None:
        """Cuts a socket that has taken too long to send, before a thread reads from it."""
        with self._lock:
            self._cut_off(connection, READING)

    def _cut_off(self, connection: socket.socket, phase: int) -> None:
        self._cut.add(connection)
        with contextlib.suppress(OSError):  # the client was faster and has closed it
            connection.shutdown(phase)


def linger(connection: socket.socket, seconds: float, most_bytes: int = 65_536) -> None:
    """Says that no more will be sent and waits for the client to close its side.

    A connection that is closed before, with bytes of the client unread, would take the answer with it.

    Args:
        connection: A socket that is closed afterwards without any waiting.
        seconds: Longest time to wait.
        most_bytes: Most bytes of the client to throw away.
    """
    deadline = time.monotonic() + seconds
    try:
        connection.shutdown(socket.SHUT_WR)
        while most_bytes > 0 and (remaining := deadline - time.monotonic()) > 0:
            connection.settimeout(remaining)
            received = connection.recv(4096)
            if not received:
                break
            most_bytes -= len(received)
    except OSError:  # the time is over, or the client has gone
        pass
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # whoever reads on finds the end at once
