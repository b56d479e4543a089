"""Lines that leave one by one, over real connections."""

import http.client
import json
import re
import socket
import time

import pytest
import requests

LINES = "application/jsonlines"


@pytest.fixture(scope="module")
def server(start_server):
    # The time to take an answer is that of one line, not of all.
    server = start_server(S2S_READ_TIMEOUT_SECONDS="1")
    server.wait_for_ping(200)
    return server


def waiting(server):
    [line] = re.findall(r"^s2s_waiting_requests (.*)$", requests.get(f"{server.url}/metrics").text, re.MULTILINE)
    return float(line)


@pytest.fixture
def connection(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    yield connection
    connection.close()


def body(*texts):
    return "\n".join(json.dumps({"source": text}) for text in texts)


def post(connection, *texts):
    connection.request("POST", "/invocations", body(*texts), {"Content-Type": LINES})
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, LINES)
    return response


def test_a_line_leaves_before_the_next_is_translated(connection):
    """Each of them takes 0.3 seconds."""
    response = post(connection, *["a wait"] * 8)
    assert response.headers["Transfer-Encoding"] == "chunked"
    times, lines = [], []
    while line := response.readline():
        lines.append(json.loads(line))
        times.append(time.monotonic())
    assert lines == [{"target": "wait a"}] * 8
    # More than the time that one line may take to be taken, and the connection is still good.
    assert times[-2] - times[0] > 1
    assert post(connection, "a b", "c").read() == b'{"target": "b a"}\n{"target": "c"}'


def test_an_answer_that_cannot_be_whole_cannot_be_taken_for_one(server, connection):
    response = post(connection, "a b", "a wait", "fail", "c")
    with pytest.raises(http.client.IncompleteRead) as error:
        response.read()
    assert error.value.partial.startswith(b'{"target": "b a"}')
    log = server.log()
    assert " status=200 " in log
    assert " code=internal_error " in log
    assert "Error handling request" not in log
    assert server.ping() == 200
    assert server.translate("a b").json() == {"predictions": [{"target": "b a"}]}


def test_a_client_of_http_1_0_gets_all_or_an_error(server):
    def answer(*texts):
        with server.connect() as connection:
            data = body(*texts).encode()
            head = f"POST /invocations HTTP/1.0\r\nContent-Type: {LINES}\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status, response.headers["Content-Length"], response.read()

    whole = b'{"target": "b a"}\n{"target": "c"}'
    assert answer("a b", "c") == (200, str(len(whole)), whole)
    assert answer("a b", "fail")[0] == 500


def test_a_client_that_leaves_in_the_middle_is_noticed(server):
    with server.connect() as connection:
        data = body(*["a wait"] * 100).encode()
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: {LINES}\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        assert connection.recv(4096)
        connection.shutdown(socket.SHUT_RDWR)
    # All hundred would take half a minute.
    began = time.monotonic()
    assert server.translate("a b").status_code == 200
    while waiting(server) and time.monotonic() - began < 10:
        time.sleep(0.05)
    assert time.monotonic() - began < 5
