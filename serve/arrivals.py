"""Requests that are still arriving, gathered without a thread for each.

A thread that waits for a slow client is taken from all others. So the one that accepts connections gathers what comes,
and a request gets a thread when it is here whole and its client takes answers. One that is too large to be gathered is
read by a thread after all; few of them may be read and parsed at the same time.
"""

from __future__ import annotations

import math
import re
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.http import get_parser

from serve.socket_deadlines import SocketDeadlines

_MEBIBYTE = 1 << 20

# Most bytes of a request, head and body, that are gathered, and of all of them together.
_MOST_OF_ONE = _MEBIBYTE
_MOST_OF_ALL = 64 * _MEBIBYTE
# What is shorter is parsed in no time and in hardly any memory.
_SHORT = 65_536
# Most bytes of all requests that threads read or parse at the same time, and what one counts that does not say.
_MOST_AT_WORK = 64 * _MEBIBYTE
_UNKNOWN = 8 * _MEBIBYTE

_RECEIVED_AT_ONCE = 65_536
_LONGEST_HEAD = 65_536

_HEAD_END = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})[ \t]*\r\n", re.IGNORECASE)
# The length of the body cannot be told from the head, or the client waits for a word before it sends on.
_UNKNOWN_LENGTH = re.compile(rb"\r\n(transfer-encoding|expect)\b", re.IGNORECASE)


class _Arrival:
    """What has come of a request.

    Args:
        connection: Gunicorn's.
        deadline: When it is given up.

    Attributes:
        received: All bytes so far.
        size: Bytes of the whole request, as far as these tell.
        takes_no_answer: Whether it is whole and waits for its client to read what was sent before.
    """

    def __init__(self, connection: Any, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.received = bytearray()
        self.size: float = 1
        self.takes_no_answer = False
        self._has_head = False

    @property
    def is_here(self) -> bool:
        """Whether the request is whole."""
        return len(self.received) >= self.size

    def add(self, received: bytes) -> None:
        """More has come."""
        start = max(0, len(self.received) - len(_HEAD_END))
        self.received += received
        if self._has_head:
            return
        end = self.received.find(_HEAD_END, start)
        if end >= 0:
            self._has_head = True
            self.size = _size(bytes(self.received[: end + len(_HEAD_END)]))
        elif len(self.received) > _LONGEST_HEAD:
            self.size = math.inf
        else:
            self.size = len(self.received) + 1


def _size(head: bytes) -> float:
    """Bytes of a request with this head.

    What is in doubt counts as endless: the thread of a request that was taken for whole would wait for the rest.
    """
    if _UNKNOWN_LENGTH.search(head):
        return math.inf
    lengths = head.lower().count(b"\r\ncontent-length")
    if lengths == 0:
        return len(head)
    declared = _CONTENT_LENGTH.search(head)
    return len(head) + int(declared[1]) if declared and lengths == 1 else math.inf


class _Lane:
    """Requests of which few may have threads at the same time; the others wait in the order in which they came.

    Args:
        start: Gives a thread to a request.
        most: Requests that may have one.
    """

    def __init__(self, start: Callable[[_Arrival], None], most: int) -> None:
        self._start = start
        self._most = most
        self._bytes: dict[socket.socket, float] = {}  # of those that have threads
        self.waiting: deque[_Arrival] = deque()

    def __contains__(self, source: socket.socket) -> bool:
        return source in self._bytes

    def enter(self, arrival: _Arrival) -> None:
        """Lets a request wait for its turn, which may be now."""
        self.waiting.append(arrival)
        self._go_on()

    def leave(self, source: socket.socket) -> None:
        """The request of a socket has had its turn, if it had one."""
        self._bytes.pop(source, None)
        self._go_on()

    def _go_on(self) -> None:
        while self.waiting and len(self._bytes) < self._most:
            size = self.waiting[0].size if self.waiting[0].size < math.inf else _UNKNOWN
            if self._bytes and sum(self._bytes.values()) + size > _MOST_AT_WORK:
                return
            arrival = self.waiting.popleft()
            self._bytes[arrival.connection.sock] = size
            self._start(arrival)


class Arrivals:
    """Gathers requests; belongs to the thread that accepts connections.

    Args:
        poller: Calls the data of a socket, a function, with the socket when it can be read or written.
        start: Gives a thread to the connection of a request.
        close: Closes a connection without an answer.
        deadlines: Told of connections that were cut.
        idle_seconds: A connection may wait before it sends anything.
        read_seconds: A request may take to arrive, from its first byte.
        most_at_work: Threads that may read large requests at the same time, and that may parse them.
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
        most_at_work: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poller = poller
        self._start = start
        self._close = close
        self._deadlines = deadlines
        self._idle_seconds = idle_seconds
        self._read_seconds = read_seconds
        self._clock = clock
        self._gathered: dict[socket.socket, _Arrival] = {}  # the oldest first
        self._bytes = 0  # of these
        self._reading = _Lane(self._start_thread, most_at_work)  # those that were not gathered
        self._parsing = _Lane(self._start_thread, most_at_work)  # those that were

    def begin(self, connection: Any) -> None:
        """Waits for the next request of a connection."""
        connection.sock.setblocking(False)
        arrival = _Arrival(connection, self._clock() + self._idle_seconds)
        self._gathered[connection.sock] = arrival
        self._poller.register(connection.sock, selectors.EVENT_READ, partial(self._receive, arrival))
        if connection.parser is None:
            connection.parser = get_parser(connection.cfg, connection.sock, connection.client)
        elif early := connection.parser.unreader.take_buffered():  # came together with the request before
            self._add(arrival, early)
        if connection.sock in self._gathered:
            self._receive(arrival, connection.sock)  # most requests come in one piece with their connection

    def _receive(self, arrival: _Arrival, source: socket.socket) -> None:
        """Takes what has come."""
        try:
            received = source.recv(_RECEIVED_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:  # the client has broken the connection off
            self._forget(arrival)
            self._close(arrival.connection)
            return
        if received:
            self._add(arrival, received)
        else:
            self._end(arrival)

    def _add(self, arrival: _Arrival, received: bytes) -> None:
        if not arrival.received:
            arrival.deadline = self._clock() + self._read_seconds
        arrival.add(received)
        self._bytes += len(received)
        if arrival.is_here:
            self._forget(arrival)
            self._hand_over(arrival)
        elif arrival.size > _MOST_OF_ONE or self._bytes > _MOST_OF_ALL:
            self._forget(arrival)
            self._reading.enter(arrival)

    def _end(self, arrival: _Arrival) -> None:
        """The client has closed its side, or is regarded as having done so."""
        self._forget(arrival)
        if arrival.received and not arrival.takes_no_answer:
            self._start_thread(arrival)  # what is missing is found missing, and the client may read that
        else:
            self._close(arrival.connection)

    def _forget(self, arrival: _Arrival) -> None:
        self._poller.unregister(arrival.connection.sock)
        del self._gathered[arrival.connection.sock]
        self._bytes -= len(arrival.received)

    def _hand_over(self, arrival: _Arrival) -> None:
        """Gives the request a thread, as soon as an answer of usual length would not have to wait for the client."""
        source = arrival.connection.sock
        if is_ready(source, select.POLLOUT):
            self._take_turn(arrival)
            return
        arrival.takes_no_answer = True
        self._gathered[source] = arrival
        self._bytes += len(arrival.received)
        self._poller.register(source, selectors.EVENT_WRITE, partial(self._goes_on, arrival))

    def _goes_on(self, arrival: _Arrival, _: socket.socket) -> None:
        self._forget(arrival)
        self._take_turn(arrival)

    def _take_turn(self, arrival: _Arrival) -> None:
        if arrival.size > _SHORT:
            self._parsing.enter(arrival)
        else:
            self._start_thread(arrival)

    def _start_thread(self, arrival: _Arrival) -> None:
        arrival.connection.parser.unreader.unread(bytes(arrival.received))
        arrival.connection.data_ready = True
        self._start(arrival.connection)

    def has_turn(self, source: socket.socket) -> bool:
        """Whether the request of a socket keeps others waiting until `end_turn`."""
        return source in self._reading or source in self._parsing

    def end_turn(self, source: socket.socket) -> None:
        """A request is read and parsed, or will not be."""
        self._reading.leave(source)
        self._parsing.leave(source)

    def cut_expired(self) -> None:
        """Gives up requests that take too long; what a thread has to say of them is that."""
        now = self._clock()
        for arrival in [arrival for arrival in self._gathered.values() if arrival.deadline <= now]:
            if arrival.received:
                self._deadlines.cut(arrival.connection.sock)
            self._end(arrival)
        for lane in (self._reading, self._parsing):
            for arrival in [arrival for arrival in lane.waiting if arrival.deadline <= now]:
                lane.waiting.remove(arrival)
                self._deadlines.cut(arrival.connection.sock)
                self._start_thread(arrival)

    def close_one(self) -> bool:
        """Makes room for another connection: closes the oldest of those without a request; returns if there is one."""
        arrival = next((arrival for arrival in self._gathered.values() if not arrival.received), None)
        if arrival is not None:
            self._end(arrival)
        return arrival is not None

    def hurry(self, idle_seconds: float, read_seconds: float) -> None:
        """Leaves connections and requests no more than this, because the server stops."""
        now = self._clock()
        self._idle_seconds, self._read_seconds = idle_seconds, read_seconds
        for arrival in [*self._gathered.values(), *self._reading.waiting, *self._parsing.waiting]:
            arrival.deadline = min(arrival.deadline, now + (read_seconds if arrival.received else idle_seconds))


def is_ready(source: socket.socket, event: int) -> bool:
    """Whether a socket can be read, ``select.POLLIN``, or written, ``select.POLLOUT``, without waiting."""
    poll = select.poll()  # not select.select, which knows 1,024 files
    poll.register(source, event)
    return bool(poll.poll(0))
