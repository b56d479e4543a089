"""What is no HTTP gets an answer of the same form as every other error, and the server lives on."""

import json

import pytest


@pytest.fixture(scope="module")
def server(start_server):
    server = start_server(S2S_READ_TIMEOUT_SECONDS="2")
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


CHUNKED = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "fragment"),
    [
        (CHUNKED + b"zz\r\n", b"400 ", b"Invalid chunk size: b'zz'"),
        (CHUNKED + b"3\r\nabcdef\r\n", b"400 ", b"Invalid chunk terminator"),
        (b"Content-Length: 100\r\n\r\n{", b"408 ", b"the request did not arrive within 2 seconds"),
    ],
)
def test_nothing_after_a_body_that_could_not_be_read_counts_as_a_request(server, request_, status, fragment):
    request_ = b"POST /invocations HTTP/1.1\r\n" + request_ + b"GET /ping HTTP/1.1\r\n\r\n"
    first, headers, body = exchange(server, request_)
    assert first.startswith(b"HTTP/1.1 " + status)
    assert headers[b"Connection"] == b"close"
    assert fragment in body
    assert int(headers[b"Content-Length"]) == len(body)


def test_a_body_that_nobody_wanted_gets_no_answer_of_its_own(server):
    first, headers, body = exchange(server, b"GET /ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert (headers[b"Content-Length"], body) == (b"0", b"")


def test_a_megabyte_that_is_no_http_does_not_fill_the_log(server):
    before = len(server.log())
    first, _, body = exchange(server, b"GET /ping HTTP/1.1\r\n" + bytes(700_000) + b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 400 ")
    assert len(body) < 1000
    assert len(server.log()) - before < 3000
