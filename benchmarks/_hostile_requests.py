"""What a server must bear: broken bodies, broken HTTP, clients that hang up, and clients that are slow."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks._exchange import NO_ANSWER, Client, Exchange, Verdict, judge, read_answer
from benchmarks._good_requests import JSON, LINES, RECORDS, GoodRequest

# For the server that these requests are sent to.
READ_TIMEOUT = 8

_SLOW_PARTS = 12
_SLOW_PAUSE = 0.1

# How closing a connection becomes a reset.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class _Request:
    """A request in proper HTTP that must be refused, or answered, with a certain status."""

    name: str
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})
    method: str = "POST"
    path: str = "/invocations"

    def perform(self, client: Client) -> Verdict:
        status, _ = client.request(self.method, self.path, self.body, self.headers)
        return judge(status, frozenset({self.status}))


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Bytes on a connection of their own, of which no more are to come."""

    name: str
    data: bytes
    allowed: frozenset[int]

    def perform(self, client: Client) -> Verdict:
        with client.connect() as connection:
            # The server may have seen enough before it is told everything.
            with contextlib.suppress(OSError):
                connection.sendall(self.data)
                connection.shutdown(socket.SHUT_WR)
            return judge(read_answer(connection)[0], self.allowed)


@dataclass(frozen=True, slots=True)
class _HangUp:
    """A client that sends something and is gone, with or without a last word, after it has read a part or nothing."""

    name: str
    data: bytes
    is_reset: bool
    pause: float = 0.0
    reads: int = 0

    def perform(self, client: Client) -> Verdict:
        with client.connect() as connection:
            connection.sendall(self.data)
            time.sleep(self.pause)
            if self.reads:
                connection.recv(self.reads)
            if self.is_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return Verdict(NO_ANSWER)


@dataclass(frozen=True, slots=True)
class _Slow:
    """A client that sends in small parts and deserves its answer."""

    name: str
    request: GoodRequest

    def perform(self, client: Client) -> Verdict:
        data = self.request.raw()
        size = -(-len(data) // _SLOW_PARTS)
        with client.connect() as connection:
            for start in range(0, len(data), size):
                connection.sendall(data[start : start + size])
                time.sleep(_SLOW_PAUSE)
            return self.request.judge(*read_answer(connection))


@dataclass(frozen=True, slots=True)
class _Stalled:
    """A client that stops in the middle of its request and waits."""

    name: str
    data: bytes
    allowed: frozenset[int]

    def perform(self, client: Client) -> Verdict:
        with client.connect() as connection:
            connection.sendall(self.data)
            return judge(read_answer(connection)[0], self.allowed)


def hostile_requests(good: Sequence[GoodRequest], stalled: bool = True) -> list[Exchange]:
    """All kinds of them; those that take a while are few.

    Args:
        good: What the others do badly.
        stalled: Whether there are clients that wait until the server loses its patience.
    """
    quick = [*_bodies(), *_headers(), *_routes(), *_broken_http()]
    slow: list[Exchange] = [*_hang_ups(good), *(_Slow("slow", request) for request in good[:3])]
    if stalled:
        slow.append(_Stalled("stalled body", _head(100) + b"{", frozenset({408})))
        slow.append(_Stalled("stalled head", b"POST /invocations HT", frozenset({NO_ANSWER, 400, 408})))
    return [*quick * 12, *slow]


def _bodies() -> list[Exchange]:
    def of_json(name: str, body: bytes, status: int = 400) -> Exchange:
        return _Request(name, status, body)

    def of_instance(name: str, instance: object, status: int = 400) -> Exchange:
        return _Request(name, status, json.dumps({"instances": [instance]}).encode())

    return [
        of_json("empty", b""),
        of_json("cut JSON", b'{"instances": [{"data"'),
        of_json("deep JSON", b'{"instances": ' + b"[" * 5_000),
        of_json("no UTF-8", b"\xff\xfe{}"),
        of_json("equal keys", b'{"instances": [], "instances": []}'),
        of_json("no instances", b"{}"),
        of_json("huge integer", b'{"instances": [' + b"9" * 6_000 + b"]}"),
        of_json("NaN", b'{"instances": [{"data": "s1", "configuration": {"length_penalty_alpha": NaN}}]}'),
        of_json("half a surrogate", b'{"instances": [{"data": "\\ud800"}]}'),
        of_json("too many instances", json.dumps(["s1"] * 10_001).encode(), 413),
        of_instance("number for text", {"data": 5}),
        of_instance("unknown option", {"data": "s1", "configuration": {"beam": 2}}),
        of_instance("wide beam", {"data": "s1", "configuration": {"beam_size": 101}}),
        of_instance("beam of the vocabulary", {"data": "s1", "configuration": {"beam_size": 99}}),
        of_instance("more than the beam", {"data": "s1", "configuration": {"n_best": 50}}),
        of_instance("options as a list", {"data": "s1", "configuration": ["scores"]}),
        of_instance("too many tokens", {"data": "s1 " * 10_001}, 413),
        _Request("bad line", 400, b'{"source": "s1"}\nnonsense', {"Content-Type": LINES}),
        _Request("lying frame", 400, bytes.fromhex("0a23d7ceffffff1f"), {"Content-Type": RECORDS}),
        _Request("cut frame", 400, bytes.fromhex("0a23d7ce0800000001"), {"Content-Type": RECORDS}),
        _Request("no protobuf", 400, b"\xff" * 100, {"Content-Type": RECORDS}),
        _Request("zeros", 400, b"\0" * 100, {"Content-Type": RECORDS}),
        _Request("unknown id", 400, _record(b"\xc0\x84\x3d"), {"Content-Type": RECORDS}),
    ]


def _record(values: bytes) -> bytes:
    """A record by hand; the values are the varints of its source ids."""
    tensor = b"\x0a" + bytes([len(values)]) + values
    value = b"\x3a" + bytes([len(tensor)]) + tensor
    entry = b"\x0a\x06source\x12" + bytes([len(value)]) + value
    return b"\x0a" + bytes([len(entry)]) + entry


def _headers() -> list[Exchange]:
    body = b'["s1"]'
    return [
        _Request("no type", 415, body, {}),
        _Request("text", 415, b"s1", {"Content-Type": "text/plain"}),
        _Request("compressed", 415, body, {"Content-Type": JSON, "Content-Encoding": "gzip"}),
        _Request("unacceptable", 406, body, {"Content-Type": JSON, "Accept": "text/html"}),
    ]


def _routes() -> list[Exchange]:
    return [
        _Request("GET", 405, method="GET"),
        _Request("DELETE", 405, method="DELETE", path="/ping"),
        _Request("BREW", 405, method="BREW", path="/ping"),
        _Request("unknown path", 404, path="/nothing"),
        _Request("path that climbs", 404, method="GET", path="/../../etc/passwd"),
        _Request("path of escapes", 404, method="GET", path="/%00%ff%0d%0a"),
        _Request("long path", 414, method="GET", path="/" + "a" * 5_000),
    ]


def _head(length: object, *more: str) -> bytes:
    lines = ["POST /invocations HTTP/1.1", "Host: x", f"Content-Type: {JSON}", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def _chunked(body: bytes, *more: str) -> bytes:
    lines = ["POST /invocations HTTP/1.1", "Host: x", f"Content-Type: {JSON}", "Transfer-Encoding: chunked", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _broken_http() -> list[Exchange]:
    refused, unanswered = frozenset({400}), frozenset({NO_ANSWER, 400})
    return [
        _Bytes("cut body", _head(1_000) + b'["s1', refused),
        _Bytes("huge length", _head(10**12) + b'["s1"]', frozenset({413})),
        _Bytes("absurd length", _head("9" * 30) + b'["s1"]', frozenset({400, 413})),
        _Bytes("negative length", _head(-5) + b'["s1"]', refused),
        _Bytes("length of letters", _head("many") + b'["s1"]', refused),
        _Bytes("two lengths", _head(6, "Content-Length: 7") + b'["s1"]', refused),
        _Bytes("chunks of garbage", _chunked(b"zz\r\n" + b"\xff" * 200), refused),
        _Bytes("cut chunk", _chunked(b"ff\r\n[]"), refused),
        _Bytes("huge chunk", _chunked(b"f" * 12 + b"\r\n[]"), unanswered),
        _Bytes("chunks with a length", _chunked(b"0\r\n\r\n", "Content-Length: 5"), refused),
        _Bytes("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), unanswered),
        _Bytes("no colon", b"GET /ping HTTP/1.1\r\nHost x\r\n\r\n", refused),
        _Bytes("version", b"GET /ping HTTP/9.9\r\nHost: x\r\n\r\n", frozenset({400, 505})),
        _Bytes("long header", b"GET /ping HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", frozenset({400, 431})),
        _Bytes("many headers", b"GET /ping HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", frozenset({400, 431})),
        _Bytes("cut head", b"POST /invocations HTTP/1.1\r\nContent-", frozenset({NO_ANSWER})),
        _Bytes("nothing", b"", frozenset({NO_ANSWER})),
    ]


def _hang_ups(good: Sequence[GoodRequest]) -> list[Exchange]:
    found: list[Exchange] = []
    in_lines = [request for request in good if request.body.count(b"\n") > 1 and LINES in request.headers.values()]
    for is_reset in (False, True):
        how = "reset" if is_reset else "closed"
        found.append(_HangUp(f"{how} in the head", b"POST /invocations HTTP/1.1\r\nHo", is_reset))
        found.append(_HangUp(f"{how} in the body", _head(500) + b"[", is_reset))
        found += [_HangUp(f"{how} before the answer", request.raw(), is_reset) for request in good[:4]]
        found += [_HangUp(f"{how} during the search", request.raw(), is_reset, 0.01) for request in good[4:8]]
        found += [_HangUp(f"{how} after a line", request.raw(), is_reset, reads=1) for request in in_lines[:4]]
    return found
