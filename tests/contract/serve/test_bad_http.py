"""What is no HTTP gets an answer of the same form as every other error, and the server lives on."""

import json

import pytest


@pytest.fixture(scope="module")
def server(start_server):
    server = start_server()
    server.wait_for_ping(200)
    return server


def exchange(server, request: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    with server.connect() as connection:
        connection.sendall(request)
        answer = b""
        while received := connection.recv(65_536):
            answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, dict(line.split(b": ", 1) for line in lines), body


@pytest.mark.parametrize(
    ("request_", "status", "fragment"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request", "Invalid HTTP request line: 'nonsense'"),
        (b"G=T / HTTP/1.1\r\n\r\n", b"400 Bad Request", "Invalid HTTP method: 'G=T'"),
        (b"GET /ping HTTP/9.9\r\n\r\n", b"400 Bad Request", "Invalid HTTP Version"),
        (b"GET /ping HTTP/1.1\r\nbad header: 1\r\n\r\n", b"400 Bad Request", "bad header"),
        (b"GET /ping HTTP/1.1\r\n(" + b"x" * 4000 + b": 1\r\n\r\n", b"400 Bad Request", "(xxx"),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", b"414 ", "Request Line is too large"),
        (b"GET /ping HTTP/1.1\r\nA: " + b"x" * 9000 + b"\r\n\r\n", b"431 ", "limit request headers fields size"),
        (b"GET /ping HTTP/1.1\r\n" + b"A: 1\r\n" * 200 + b"\r\n", b"431 ", "limit request headers fields"),
        (b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", b"501 Not Implemented", "x"),
        (b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(50) + b"\r\n\r\n", b"400 Bad Request", ""),
    ],
)
def test_it_is_told_in_json(server, request_, status, fragment):
    first, headers, body = exchange(server, request_)
    assert first.startswith(b"HTTP/1.1 " + status)
    assert headers[b"Content-Type"] == b"application/json"
    assert headers[b"Connection"] == b"close"
    assert int(headers[b"Content-Length"]) == len(body) < 1000
    error = json.loads(body)["error"]
    assert error["code"] == "bad_http"
    assert error["message"].startswith("this is no HTTP request that can be read: ")
    assert fragment in error["message"]
    assert error["location"] is None
    assert server.ping() == 200
    assert "Traceback" not in server.log()
