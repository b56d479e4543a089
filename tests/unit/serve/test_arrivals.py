import contextlib
import selectors
import socket
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from serve import arrivals
from serve.arrivals import Arrivals
from serve.socket_deadlines import SocketDeadlines

HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


class Bench:
    """Arrivals, a clock and what became of the connections."""

    def __init__(self):
        self.now = 1000.0
        self.poller = selectors.DefaultSelector()
        self.started, self.closed = [], []
        self.deadlines = SocketDeadlines(lambda: self.now)
        self.arrivals = Arrivals(
            self.poller,
            self.started.append,
            self.closed.append,
            self.deadlines,
            idle_seconds=75,
            read_seconds=30,
            most_at_work=2,
            clock=lambda: self.now,
        )
        self.pairs = []

    def connect(self):
        ours, theirs = socket.socketpair()
        self.pairs.append((ours, theirs))
        connection = SimpleNamespace(cfg=Config(), sock=ours, client=("127.0.0.1", 1), parser=None, data_ready=False)
        return connection, theirs

    def poll(self):
        while events := self.poller.select(0):
            for key, _ in events:
                key.data(key.fileobj)

    def close(self):
        for pair in self.pairs:
            for end in pair:
                end.close()
        self.poller.close()


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


def gathered(connection):
    return connection.parser.unreader.buf.getvalue()


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        HEAD + b"Content-Length: 5\r\n\r\nhello",
        HEAD + b"content-length:\t5 \r\nX: y\r\n\r\nhello",
        HEAD + b"Content-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 65000\r\n\r\n" + b"x" * 65000,
        HEAD + b"X-Content-Length: 5\r\n\r\n",
        b"\x16\x03 no HTTP\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1_000_000])
def test_a_request_is_handed_over_when_it_is_whole_and_not_before(bench, request_, step):
    connection, client = bench.connect()
    bench.arrivals.begin(connection)
    step = max(step, len(request_) // 100)
    for start in range(0, len(request_), step):
        assert not bench.started
        client.sendall(request_[start : start + step])
        bench.poll()
    assert bench.started == [connection]
    assert connection.data_ready
    assert gathered(connection) == request_
    assert not bench.arrivals.has_turn(connection.sock)
    assert not bench.poller.get_map()


@pytest.mark.parametrize(
    "start",
    [
        HEAD + b"Content-Length: 1048576\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: many\r\n\r\nhello",
        HEAD + b"Content-Length: 9999999999\r\n\r\nhello",
        HEAD + b"X: " + b"y" * 65536,
    ],
)
def test_what_cannot_be_gathered_or_told_is_read_by_a_thread(bench, start):
    connection, client = bench.connect()
    bench.arrivals.begin(connection)
    client.sendall(start)
    bench.poll()
    assert bench.started == [connection]
    assert bench.arrivals.has_turn(connection.sock)
    assert start.startswith(gathered(connection))


def test_few_threads_read_at_the_same_time_and_the_others_are_not_forgotten(bench):
    connections = []
    for _ in range(4):
        connection, client = bench.connect()
        connections.append(connection)
        bench.arrivals.begin(connection)
        client.sendall(HEAD + b"Content-Length: 2000000\r\n\r\n")
    bench.poll()
    assert bench.started == connections[:2]
    bench.arrivals.end_turn(connections[1].sock)
    assert bench.started == connections[:3]
    whole, client = bench.connect()
    client.sendall(GET)
    bench.arrivals.begin(whole)
    assert bench.started == [*connections[:3], whole]
    bench.arrivals.end_turn(connections[0].sock)
    bench.arrivals.end_turn(connections[0].sock)  # once when the body is read and once in the end
    assert bench.started == [*connections[:3], whole, connections[3]]
    assert not bench.arrivals.has_turn(connections[0].sock)


def test_the_next_request_of_a_connection_may_have_come_with_the_last_one(bench):
    connection, client = bench.connect()
    client.sendall(GET + GET + GET[:10])
    bench.arrivals.begin(connection)
    next(connection.parser)
    bench.arrivals.begin(connection)
    assert bench.started == [connection] * 2
    next(connection.parser)
    bench.arrivals.begin(connection)
    assert bench.started == [connection] * 2
    client.sendall(GET[10:])
    bench.poll()
    assert bench.started == [connection] * 3
    assert gathered(connection) == GET


# -- time


def test_a_silent_connection_is_closed(bench):
    connection, _ = bench.connect()
    bench.arrivals.begin(connection)
    bench.now += 74.9
    bench.arrivals.cut_expired()
    assert not bench.closed
    bench.now += 0.1
    bench.arrivals.cut_expired()
    assert bench.closed == [connection]
    assert not bench.started
    assert not bench.poller.get_map()


@pytest.mark.parametrize("start", [GET[:7], HEAD + b"Content-Length: 40\r\n\r\n"])
def test_bytes_that_trickle_in_do_not_move_the_deadline(bench, start):
    connection, client = bench.connect()
    bench.arrivals.begin(connection)
    bench.now += 60
    client.sendall(start)
    bench.poll()
    for _ in range(30):
        assert not bench.started
        bench.now += 1
        client.send(b"x")
        bench.poll()
        bench.arrivals.cut_expired()
    assert bench.started == [connection]
    assert gathered(connection) == start + b"x" * 30
    assert connection.sock.recv(1) == b""
    connection.sock.send(b"408")  # it can still be answered
    assert client.recv(3) == b"408"
    assert bench.deadlines.end(connection.sock)


def test_who_waits_for_a_reader_for_too_long_is_told(bench):
    connections = []
    for _ in range(3):
        connection, client = bench.connect()
        connections.append(connection)
        client.sendall(HEAD + b"Content-Length: 2000000\r\n\r\n")
        bench.arrivals.begin(connection)
    bench.now += 30
    bench.arrivals.cut_expired()
    assert bench.started == connections
    assert not bench.arrivals.has_turn(connections[2].sock)
    assert bench.deadlines.end(connections[2].sock)
    bench.arrivals.end_turn(connections[0].sock)
    assert bench.started == connections


def test_a_server_that_stops_waits_for_less(bench):
    silent, _ = bench.connect()
    late, client = bench.connect()
    for connection in (silent, late):
        bench.arrivals.begin(connection)
    client.sendall(GET[:7])
    bench.poll()
    bench.arrivals.hurry(idle_seconds=1, read_seconds=5)
    bench.now += 1
    bench.arrivals.cut_expired()
    assert bench.closed == [silent]
    kept, _ = bench.connect()
    bench.arrivals.begin(kept)
    bench.now += 1
    bench.arrivals.cut_expired()
    assert bench.closed == [silent, kept]
    assert not bench.started
    bench.now += 3
    bench.arrivals.cut_expired()
    assert bench.started == [late]


# -- clients that leave


def test_a_client_that_leaves_before_it_sends_is_forgotten(bench):
    connection, client = bench.connect()
    bench.arrivals.begin(connection)
    client.close()
    bench.poll()
    assert bench.closed == [connection]
    assert not bench.started


def test_a_request_that_ends_early_is_handed_over_to_be_refused(bench):
    connection, client = bench.connect()
    bench.arrivals.begin(connection)
    client.sendall(HEAD + b"Content-Length: 5\r\n\r\nhel")
    client.shutdown(socket.SHUT_WR)
    bench.poll()
    assert bench.started == [connection]
    assert not bench.closed
    assert not bench.deadlines.end(connection.sock)


def test_a_broken_connection_is_closed(bench):
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    bench.pairs.append((listener, server))
    connection, _ = bench.connect()
    connection.sock = server
    bench.arrivals.begin(connection)
    client.sendall(GET[:7])
    bench.poll()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()  # with a reset
    bench.poll()
    assert bench.closed == [connection]
    assert not bench.started


# -- large requests, greedy clients


def large(size):
    head = HEAD + f"Content-Length: {size}\r\n\r\n".encode()
    return head + b"x" * size


def send(bench, client, data):
    client.settimeout(10)
    for start in range(0, len(data), 100_000):
        client.sendall(data[start : start + 100_000])
        bench.poll()


def fill(source):
    """Sends until the other side would have to read."""
    source.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while source.send(b"x" * 100_000):
            pass


def test_large_requests_are_gathered_and_take_turns(bench):
    connections = []
    for _ in range(3):
        connection, client = bench.connect()
        connections.append(connection)
        bench.arrivals.begin(connection)
        send(bench, client, large(900_000))
    assert bench.started == connections[:2]
    assert gathered(connections[0]) == large(900_000)
    assert all(bench.arrivals.has_turn(connection.sock) for connection in connections[:2])
    bench.arrivals.end_turn(connections[1].sock)
    assert bench.started == connections


def test_slow_clients_with_large_requests_do_not_keep_others_from_being_parsed(bench):
    for _ in range(3):
        connection, client = bench.connect()
        client.sendall(HEAD + b"Content-Length: 2000000\r\n\r\n")
        bench.arrivals.begin(connection)
    connection, client = bench.connect()
    bench.arrivals.begin(connection)
    send(bench, client, large(100_000))
    assert bench.started[-1] is connection


def test_few_bytes_are_worked_on_at_the_same_time_but_one_request_always_is(bench):
    connections = []
    for size in (90_000_000, 1_100_000, 1_200_000):
        connection, client = bench.connect()
        connections.append(connection)
        client.sendall(HEAD + f"Content-Length: {size}\r\n\r\n".encode())
        bench.arrivals.begin(connection)
    assert bench.started == connections[:1]
    bench.arrivals.end_turn(connections[0].sock)
    assert bench.started == connections


def test_all_gathered_bytes_together_are_bounded(bench, monkeypatch):
    monkeypatch.setattr(arrivals, "_MOST_OF_ALL", 1_000_000)
    connections = []
    for size in (300_000, 300_000, 300_000, 120_000):
        connection, client = bench.connect()
        connections.append(connection)
        bench.arrivals.begin(connection)
        send(bench, client, large(900_000)[:size])
    assert bench.started == connections[3:]
    assert gathered(connections[3])


def test_a_client_that_takes_no_answers_waits_until_it_does(bench):
    connection, client = bench.connect()
    fill(connection.sock)
    client.sendall(GET)
    bench.arrivals.begin(connection)
    bench.poll()
    assert not bench.started
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while client.recv(100_000):
            pass
    bench.poll()
    assert bench.started == [connection]
    assert gathered(connection) == GET


def test_a_client_that_never_takes_answers_is_closed(bench):
    connection, client = bench.connect()
    fill(connection.sock)
    client.sendall(GET)
    bench.arrivals.begin(connection)
    bench.now += 30
    bench.arrivals.cut_expired()
    assert bench.closed == [connection]
    assert not bench.started


def test_room_is_made_by_the_oldest_connection_without_a_request(bench):
    connections = []
    for start in (GET[:5], b"", b""):
        connection, client = bench.connect()
        connections.append(connection)
        client.sendall(start)
        bench.arrivals.begin(connection)
    assert bench.arrivals.close_one()
    assert bench.arrivals.close_one()
    assert not bench.arrivals.close_one()
    assert bench.closed == connections[1:]
