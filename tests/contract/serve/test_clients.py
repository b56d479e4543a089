"""Clients that are slow, many, greedy or gone."""

import contextlib
import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

MEBIBYTE = 2**20
FEW_FILES = """
import resource
from container.serve import run
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
run('stub_serving:application()')
"""
BODY = b'{"instances": [{"data": "a b"}]}'


@pytest.fixture(scope="module")
def count(tmp_path_factory):
    return tmp_path_factory.mktemp("count") / "count"


@pytest.fixture(scope="module")
def server(start_server, count):
    server = start_server(S2S_READ_TIMEOUT_SECONDS="2", SAGEMAKER_MAX_PAYLOAD_IN_MB="1", STUB_COUNT=str(count))
    server.wait_for_ping(200)
    return server


@pytest.fixture(scope="module")
def patient_server(start_server):
    server = start_server()
    server.wait_for_ping(200)
    return server


def head(*lines):
    return "".join(f"{line}\r\n" for line in ("POST /invocations HTTP/1.1", "Host: x", *lines, "")).encode()


JSON = "Content-Type: application/json"


def answer(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read().decode(errors="replace")


# -- the wire


def test_a_kept_connection_serves_several_requests(server):
    with requests.Session() as session:
        for _ in range(3):
            response = session.post(
                f"{server.url}/invocations", data=BODY, headers={"Content-Type": "application/json"}
            )
            assert response.content == b'{"predictions": [{"target": "b a"}]}'


def test_a_chunked_body_is_read(server):
    with server.connect() as connection:
        connection.sendall(head(JSON, "Transfer-Encoding: chunked") + b"5\r\n" + BODY[:5] + b"\r\n")
        connection.sendall(f"{len(BODY) - 5:x}\r\n".encode() + BODY[5:] + b"\r\n0\r\n\r\n")
        assert answer(connection) == (200, '{"predictions": [{"target": "b a"}]}')


def test_expect_continue_is_honoured(server):
    with server.connect() as connection:
        connection.sendall(head(JSON, f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert answer(connection)[0] == 200


@pytest.mark.parametrize(
    ("size", "status"), [(MEBIBYTE - 1, 200), (MEBIBYTE, 200), (MEBIBYTE + 1, 413), (20 * MEBIBYTE, 413)]
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_size_limit_holds_on_both_sides_and_the_client_sees_the_answer(server, size, status, is_chunked):
    body = BODY + b" " * (size - len(BODY))
    data = (body[start : start + 100_000] for start in range(0, size, 100_000)) if is_chunked else body
    response = requests.post(
        f"{server.url}/invocations", data=data, headers={"Content-Type": "application/json"}, timeout=20
    )
    assert response.status_code == status
    if status == 413:
        assert response.json()["error"]["code"] == "too_large"


@pytest.mark.parametrize(
    ("request_", "fragment"),
    [
        (head(JSON, "Content-Length: 100") + BODY, "the body ended after 32 of the 100 bytes"),
        (head(JSON, "Transfer-Encoding: chunked") + b"zz\r\n", "the body could not be read: InvalidChunkSize"),
        (head(JSON, "Transfer-Encoding: chunked") + b"20\r\nabc", "the body could not be read: NoMoreData"),
        (head(JSON), "the body is empty"),
        (head(JSON, "Content-Length: 0"), "the body is empty"),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_is_400(server, request_, fragment):
    with server.connect() as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        status, text = answer(connection)
    assert status == 400
    assert fragment in json.loads(text)["error"]["message"]


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414,)),
        (head(*(f"X-{number}: y" for number in range(150))), (431,)),
        (head("X-Long: " + "y" * 10_000), (431,)),
        (head(JSON, "Content-Length: -1"), (400,)),
        (head(JSON, "Content-Length: 5", "Transfer-Encoding: chunked"), (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
    ],
)
def test_what_is_not_http_is_refused(server, request_, statuses):
    with server.connect() as connection:
        connection.sendall(request_)
        assert answer(connection)[0] in statuses
    assert server.ping() == 200


def test_the_master_has_no_control_socket(server):
    inodes = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    own = {str(link.readlink()) for link in Path(f"/proc/{server.process.pid}/fd").iterdir()}
    assert not {f"socket:[{inode}]" for inode in inodes} & own


# -- slow clients


def test_slow_clients_do_not_block_others_and_are_cut(server):
    """Fifty of them send one byte now and then, in the head or in the body."""
    connections = [server.connect() for _ in range(50)]
    try:
        for number, connection in enumerate(connections):
            connection.sendall(head(JSON, "Content-Length: 1000") if number % 2 else b"POST /invocations HT")
        started = time.monotonic()
        while time.monotonic() - started < 1.5:
            for connection in connections:
                connection.send(b" ")
            before = time.monotonic()
            assert server.translate("a").status_code == 200
            assert server.ping() == 200
            assert time.monotonic() - before < 2
        statuses = []
        for connection in connections[1::2]:
            status, text = answer(connection)
            statuses.append(status)
            assert "the request did not arrive within 2 seconds" in text
        assert statuses == [408] * 25
        for connection in connections[::2]:
            assert connection.recv(1) == b""
        assert time.monotonic() - started < 8
    finally:
        for connection in connections:
            connection.close()
    assert server.ping() == 200


@pytest.mark.parametrize(
    "request_", [b"\x16\x03 no HTTP\r\n\r\n", head(JSON, f"Content-Length: {len(BODY)}", "Connection: close") + BODY]
)
def test_clients_that_do_not_close_their_side_do_not_block_others(server, request_):
    connections = [server.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(request_)
    time.sleep(0.2)
    started = time.monotonic()
    assert server.translate("a").status_code == 200
    assert time.monotonic() - started < 2
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"POST /invocations HT",
        head(JSON, "Content-Length: 1000") + b"{",
        head(JSON, "Content-Length: 2000000") + b"{",
        head(JSON, "Transfer-Encoding: chunked"),
    ],
    ids=["silent", "head", "body", "large body", "chunked body"],
)
def test_many_more_slow_clients_than_threads_do_not_block_others(patient_server, beginning):
    connections = [patient_server.connect() for _ in range(300)]
    for connection in connections:
        connection.sendall(beginning)
    for _ in range(5):
        started = time.monotonic()
        assert patient_server.translate("a").status_code == 200
        assert patient_server.ping() == 200
        assert time.monotonic() - started < 2
    for connection in connections:
        connection.close()


def test_many_clients_that_take_no_answers_do_not_block_others(patient_server):
    """They send request after request, whose answers fill every buffer on the way."""
    connections = [patient_server.connect() for _ in range(150)]
    for connection in connections:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 300)
    for _ in range(5):
        time.sleep(1)
        started = time.monotonic()
        assert patient_server.ping() == 200
        assert time.monotonic() - started < 8  # the answers take their time, but nobody waits for the clients
    for connection in connections:
        connection.close()


def test_more_connections_than_there_may_be_do_not_keep_others_out(start_server):
    server = start_server(start=FEW_FILES)
    server.wait_for_ping(200)
    connections = [server.connect() for _ in range(500)]
    started = time.monotonic()
    assert server.ping() == 200
    assert server.translate("a").status_code == 200
    assert time.monotonic() - started < 2
    for connection in connections:
        connection.close()
    [_] = server.workers()
    assert "Traceback" not in server.log()


def large_answers_request(instances):
    """For answers of 0.8 MB each."""
    instance = {"data": "a " * 400, "configuration": {"attention_matrix": "true"}}
    return json.dumps({"instances": [instance] * instances}).encode()


def test_a_slow_client_that_keeps_reading_gets_all_of_its_answer(server):
    """It takes three times as long as a client may take for a part of it."""
    body = large_answers_request(8)
    with server.connect() as connection:
        connection.sendall(head(JSON, f"Content-Length: {len(body)}", "Connection: close") + body)
        received = b""
        while block := connection.recv(65_536):
            received += block
            time.sleep(len(block) / 1_000_000)
    assert len(received) > 6_000_000
    answered, _, content = received.partition(b"\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert len(json.loads(content)["predictions"]) == 8


def test_a_client_that_does_not_read_is_cut(server):
    body = large_answers_request(16)
    with server.connect() as connection:
        connection.sendall(head(JSON, f"Content-Length: {len(body)}") + body)
        received = len(connection.recv(1))  # the answer begins
        time.sleep(6)
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(65_536):
                received += len(block)
        assert received < 10_000_000
    assert server.ping() == 200


# -- clients that leave


def test_a_request_whose_client_left_is_not_decoded(server, count):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.translate, "wait wait wait")
        time.sleep(0.3)
        body = b'{"instances": [{"data": "c c c"}]}'
        with server.connect() as connection:
            connection.sendall(head(JSON, f"Content-Length: {len(body)}") + body)
            time.sleep(0.3)
        assert first.result().status_code == 200
    assert server.translate("a").status_code == 200
    assert "c c c" not in count.read_text()


# -- greedy clients


def test_a_full_queue_refuses_at_once_and_ping_stays_quick(start_server):
    server = start_server(S2S_MAX_WAITING_TOKENS="4")
    server.wait_for_ping(200)

    def timed(_):
        started = time.monotonic()
        response = server.translate("wait wait")
        return response.status_code, time.monotonic() - started, response.headers.get("Retry-After")

    with ThreadPoolExecutor(10) as pool:
        answers = pool.map(timed, range(10))
        time.sleep(0.2)
        started = time.monotonic()
        assert server.ping() == 200
        assert time.monotonic() - started < 2
        answers = sorted(answers)
    assert [status for status, _, _ in answers] == [200] * 2 + [503] * 8
    assert {retry_after for status, _, retry_after in answers if status == 503} == {"5"}
    assert answers[2][1] < 0.1  # the quickest; the others wait for each other's Python
    assert all(seconds < 1 for status, seconds, _ in answers if status == 503)


def test_more_waiting_requests_than_half_the_threads_leave_threads_for_ping(start_server):
    server = start_server(S2S_SERVER_THREADS="8")
    server.wait_for_ping(200)
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(server.translate, "wait") for _ in range(12)]
        time.sleep(0.3)
        started = time.monotonic()
        assert server.ping() == 200
        assert time.monotonic() - started < 2
        statuses = [answer.result().status_code for answer in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 4


def test_memory_that_runs_out_fails_one_request(server):
    response = server.translate("exhaust")
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "memory_exhausted"
    assert server.translate("a").status_code == 200


BOMBS = {
    "many instances": b'{"instances": [' + b'{"data": "a"},' * 1_000_000 + b"{}]}",
    "many arrays": b"[" + b"[]," * 8_000_000 + b"[]]",
    "deep": b"[" * 25_000_000,
    "long text": b'["' + b"a " * 12_000_000 + b'"]',
}


def test_bombs_take_bounded_memory_and_do_not_hold_up_ping(start_server):
    server = start_server(STUB_TORCH="yes")
    server.wait_for_ping(200)
    [worker] = server.workers()
    before = peak_memory(worker)
    with ThreadPoolExecutor(len(BOMBS)) as pool:
        headers = {"Content-Type": "application/json"}
        answers = [
            pool.submit(requests.post, f"{server.url}/invocations", data=bomb, headers=headers, timeout=60)
            for bomb in BOMBS.values()
        ]
        while not all(answer.done() for answer in answers):
            started = time.monotonic()
            assert server.ping() == 200
            assert time.monotonic() - started < 2
            time.sleep(0.05)
    assert {answer.result().status_code for answer in answers} <= {400, 413}
    # Four bodies of 25 MB at the same time, each as bytes and as text.
    assert peak_memory(worker) - before < 500 * MEBIBYTE
    assert server.workers() == [worker]


def peak_memory(pid):
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
