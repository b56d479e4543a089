"""Requests that are still arriving, gathered without a thread for each.

A thread that waits for a slow client is taken from all others. So the one that accepts connections gathers what comes,
and a request gets a thread when it is here whole. One that is too large to be gathered is read by a thread after all;
few of them may do so at the same time.
"""

from __future__ import annotations

import math
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gunicorn.http import get_parser

from serve.socket_deadlines import SocketDeadlines

# Most bytes of a request, head and body, that are gathered.
_MOST_BYTES = 65_536

_HEAD_END = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
# The length of the body cannot be told from the head, or the client waits for a word before it sends on.
_UNKNOWN_LENGTH = re.compile(rb"\r\n(transfer-encoding|expect)\b", re.IGNORECASE)


@dataclass(slots=True)
class _Arrival:
    """What has come of a request; the connection is gunicorn's."""

    connection: Any
    deadline: float
    received: bytearray = field(default_factory=bytearray)


class Arrivals:
    """Gathers requests; belongs to the thread that accepts connections.

    Args:
        poller: Calls the data of a socket, a function, with the socket when it can be read.
        start: Gives a thread to the connection of a request.
        close: Closes a connection without an answer.
        deadlines: Told of connections that were cut.
        idle_seconds: A connection may wait before it sends anything.
        read_seconds: A request may take to arrive, from its first byte.
        most_readers: Threads that may read from clients at the same time.
        clock: Seconds that never jump.
    """

    def __init__(
        self,
        poller: selectors.BaseSelector,
        start: Callable[[Any], None],
        close: Callable[[Any], None],
        deadlines: SocketDeadlines,
        *,
        idle_seconds: float,
        read_seconds: float,
        most_readers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poller = poller
        self._start = start
        self._close = close
        self._deadlines = deadlines
        self._idle_seconds = idle_seconds
        self._read_seconds = read_seconds
        self._most_readers = most_readers
        self._clock = clock
        self._gathered: dict[socket.socket, _Arrival] = {}
        self._queue: deque[_Arrival] = deque()  # for one of the readers
        self._readers: set[socket.socket] = set()

    def begin(self, connection: Any) -> None:
        """Waits for the next request of a connection."""
        connection.sock.setblocking(False)
        arrival = _Arrival(connection, self._clock() + self._idle_seconds)
        if connection.parser is None:
            connection.parser = get_parser(connection.cfg, connection.sock, connection.client)
        elif early := connection.parser.unreader.take_buffered():  # came together with the request before
            self._add(arrival, early)
        self._gathered[connection.sock] = arrival
        self._poller.register(connection.sock, selectors.EVENT_READ, partial(self._receive, arrival))
        self._receive(arrival, connection.sock)  # most requests come in one piece with their connection

    def _receive(self, arrival: _Arrival, source: socket.socket) -> None:
        """Takes what has come."""
        if len(arrival.received) < _size(arrival.received):
            try:
                received = source.recv(_MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:  # the client has broken the connection off
                self._forget(arrival)
                self._close(arrival.connection)
                return
            if not received:
                self._end(arrival)
                return
            self._add(arrival, received)
        size = _size(arrival.received)
        if len(arrival.received) >= size:
            self._forget(arrival)
            self._hand_over(arrival)
        elif size > _MOST_BYTES:
            self._forget(arrival)
            self._queue.append(arrival)
            self._start_readers()

    def _add(self, arrival: _Arrival, received: bytes) -> None:
        if not arrival.received:
            arrival.deadline = self._clock() + self._read_seconds
        arrival.received += received

    def _end(self, arrival: _Arrival) -> None:
        """The client has closed its side, or is regarded as having done so."""
        self._forget(arrival)
        if arrival.received:
            self._hand_over(arrival)  # what is missing is found missing, and the client may read that
        else:
            self._close(arrival.connection)

    def _forget(self, arrival: _Arrival) -> None:
        self._poller.unregister(arrival.connection.sock)
        del self._gathered[arrival.connection.sock]

    def _hand_over(self, arrival: _Arrival) -> None:
        arrival.connection.parser.unreader.unread(bytes(arrival.received))
        arrival.connection.data_ready = True
        self._start(arrival.connection)

    def _start_readers(self) -> None:
        while self._queue and len(self._readers) < self._most_readers:
            arrival = self._queue.popleft()
            self._readers.add(arrival.connection.sock)
            self._hand_over(arrival)

    def is_read_by_thread(self, source: socket.socket) -> bool:
        """Whether a thread reads the request of this socket, which ends with `end_reading`."""
        return source in self._readers

    def end_reading(self, source: socket.socket) -> None:
        """A thread has read a request, or failed to."""
        self._readers.discard(source)
        self._start_readers()

    def cut_expired(self) -> None:
        """Gives up requests that take too long; what a thread has to say of them is that."""
        now = self._clock()
        for arrival in [arrival for arrival in self._gathered.values() if arrival.deadline <= now]:
            if arrival.received:
                self._deadlines.cut(arrival.connection.sock)
            self._end(arrival)
        while self._queue and self._queue[0].deadline <= now:
            arrival = self._queue.popleft()
            self._deadlines.cut(arrival.connection.sock)
            self._hand_over(arrival)

    def hurry(self, idle_seconds: float, read_seconds: float) -> None:
        """Leaves connections and requests no more than this, because the server stops."""
        now = self._clock()
        self._idle_seconds, self._read_seconds = idle_seconds, read_seconds
        for arrival in [*self._gathered.values(), *self._queue]:
            arrival.deadline = min(arrival.deadline, now + (read_seconds if arrival.received else idle_seconds))


def _size(received: bytearray) -> float:
    """Bytes that a request has, as far as what has come of it tells.

    What is in doubt counts as endless: the thread of a request that was taken for whole would wait for the rest.
    """
    end = received.find(_HEAD_END)
    if end < 0:
        return len(received) + 1
    head = bytes(received[: end + len(_HEAD_END)])
    lengths = head.lower().count(b"content-length")
    if lengths == 0 and not _UNKNOWN_LENGTH.search(head):
        return len(head)
    declared = _CONTENT_LENGTH.search(head)
    if declared is None or lengths > 1 or _UNKNOWN_LENGTH.search(head):
        return math.inf
    return len(head) + int(declared[1])
