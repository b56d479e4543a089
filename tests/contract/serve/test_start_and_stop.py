import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests


def maps(pid):
    return Path(f"/proc/{pid}/maps").read_text()


def test_ping_turns_from_503_to_200_once_and_only_the_worker_loads_torch(start_server):
    server = start_server(STUB_LOAD_SECONDS="1", STUB_TORCH="yes")
    seen = [server.wait_for_ping(503, 200)]
    while seen[-1] != 200:
        seen.append(server.ping())
        time.sleep(0.02)
    seen += [server.ping() for _ in range(5)]
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {503, 200}
    [worker] = server.workers()
    assert "libtorch" in maps(worker)
    assert "libtorch" not in maps(server.process.pid)


def test_a_request_while_the_model_is_loading_is_503_with_retry_after(start_server):
    server = start_server(STUB_LOAD_SECONDS="30")
    server.wait_for_ping(503)
    response = server.translate("a")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json()["error"]["code"] == "not_ready"
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < 10
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    ("how", "code", "line", "has_trace"),
    [
        (
            "client",
            2,
            "CRITICAL .* ClientError: the model cannot be served: /opt/ml/model: there is no model in the folder",
            False,
        ),
        ("bug", 1, "CRITICAL .* AlgorithmError: the model cannot be served: KeyError: 'weights'", True),
        ("kill", 3, "was sent SIGKILL", False),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_the_server(start_server, how, code, line, has_trace):
    server = start_server(STUB_LOAD_ERROR=how)
    assert server.process.wait(timeout=30) == code
    log = server.log()
    assert len(re.findall(line, log)) == 1, log
    assert ("Traceback" in log) == has_trace
    assert log.count("Booting worker") == 1


def test_the_real_application_ends_with_code_2_if_the_folder_holds_no_model(start_server, tmp_path):
    (tmp_path / "model").mkdir()
    server = start_server("from container.serve import run; run()", SAGEMAKER_BASE_DIR=str(tmp_path))
    assert server.process.wait(timeout=60) == 2, server.log()
    assert "ClientError: the model cannot be served" in server.log()
    assert "Traceback" not in server.log()


def test_sigterm_lets_the_requests_under_way_finish(start_server):
    server = start_server()
    server.wait_for_ping(200)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(server.translate, "wait") for _ in range(6)]
        time.sleep(0.5)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(requests.ConnectionError):
            server.translate("a")
        assert [answer.result().status_code for answer in answers] == [200] * 6
        assert server.process.wait(timeout=30) == 0
        assert time.monotonic() - started < 15
    assert "Traceback" not in server.log()


def test_new_connections_are_refused_at_once_while_the_others_are_answered(start_server):
    server = start_server()
    server.wait_for_ping(200)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.translate, "wait " * 20)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        for _ in range(10):
            started = time.monotonic()
            with pytest.raises(requests.ConnectionError):
                server.translate("a")
            assert time.monotonic() - started < 1
        assert not answer.done()
        assert answer.result().status_code == 200
    assert server.process.wait(timeout=30) == 0
    assert "Traceback" not in server.log()


def test_clients_that_have_not_sent_a_request_do_not_hold_up_the_end(start_server):
    server = start_server()
    server.wait_for_ping(200)
    with requests.Session() as session, server.connect() as silent, server.connect() as slow:
        assert session.get(f"{server.url}/ping").status_code == 200  # and stays connected
        slow.sendall(b"POST /invocations HT")
        time.sleep(0.2)
        started = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - started < 9
        assert silent.recv(1) == slow.recv(1) == b""


def test_a_request_that_cannot_finish_in_time_is_told_before_the_server_ends(start_server):
    server = start_server(S2S_GRACEFUL_TIMEOUT_SECONDS="4")
    server.wait_for_ping(200)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.translate, "hang")
        time.sleep(0.5)
        started = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - started < 8
        assert answer.result().status_code == 503
        assert "the server is shutting down" in answer.result().json()["error"]["message"]


def test_sigterm_while_the_application_is_made_ends_without_a_complaint(start_server):
    server = start_server(STUB_START_SECONDS="3")
    limit = time.monotonic() + 20
    while not server.workers():
        assert time.monotonic() < limit
        time.sleep(0.05)
    time.sleep(1.5)
    assert server.terminate() == 0
    assert "Traceback" not in server.log()


def test_a_second_sigterm_does_no_harm(start_server):
    server = start_server()
    server.wait_for_ping(200)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.translate, "wait wait")
        time.sleep(0.4)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        assert answer.result().status_code == 200
    assert server.process.wait(timeout=30) == 0


def test_two_server_processes_each_have_a_model(start_server, tmp_path):
    count = tmp_path / "count"
    server = start_server(SAGEMAKER_MODEL_SERVER_WORKERS="2", STUB_COUNT=str(count))
    server.wait_for_ping(200)
    limit = time.monotonic() + 20
    while not (count.exists() and count.read_text() == "<unk> <unk>\n" * 2):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert len(server.workers()) == 2
    assert server.translate("a b").json() == {"predictions": [{"target": "b a"}]}


def test_a_process_without_a_model_leaves_requests_to_one_that_has_it(start_server):
    """So that /ping does not say once this and once that."""
    server = start_server(SAGEMAKER_MODEL_SERVER_WORKERS="2", STUB_LOAD_SECONDS="3", STUB_TORCH="yes")
    server.wait_for_ping(200)
    time.sleep(2)  # until the other has its model, too
    [killed, left] = server.workers()
    for _ in range(2):
        os.kill(killed, signal.SIGKILL)
        time.sleep(1.5)  # until its successor has begun to load
        for _ in range(50):
            assert server.ping() == 200
            assert server.translate("a").status_code == 200
        [killed] = {*server.workers()} - {left}
    assert len(server.workers()) == 2


def test_a_process_that_cannot_load_the_model_does_not_end_one_that_serves_and_is_tried_again_later(
    start_server, tmp_path
):
    disk = tmp_path / "disk"
    disk.touch()
    server = start_server(SAGEMAKER_MODEL_SERVER_WORKERS="2", STUB_DISK=str(disk))
    server.wait_for_models(2)
    [killed, _] = server.workers()
    disk.unlink()
    os.kill(killed, signal.SIGKILL)
    limit = time.monotonic() + 20
    while "InternalServerError: the model cannot be served" not in server.log():
        assert time.monotonic() < limit
        time.sleep(0.05)
    disk.touch()
    time.sleep(1)
    assert server.translate("a b").json() == {"predictions": [{"target": "b a"}]}
    assert server.log().count("Booting worker") == 3
    server.wait_for_models(2)
    assert server.log().count("Booting worker") == 4
    assert server.terminate() == 0


def test_a_process_that_is_told_to_end_while_it_loads_has_not_failed(start_server):
    server = start_server(STUB_LOAD_SECONDS="3")
    server.wait_for_ping(503)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_ping(200)
    assert server.log().count("Booting worker") == 2
    assert server.terminate() == 0


@pytest.mark.parametrize("illness", ["hang", "break"])
def test_a_server_process_whose_decoder_is_lost_is_replaced(start_server, illness):
    server = start_server(S2S_HANG_TIMEOUT_SECONDS="1", S2S_DEADLINE_SECONDS="0.5")
    server.wait_for_ping(200)
    [before] = server.workers()
    assert server.translate(illness).status_code == {"hang": 503, "break": 500}[illness]
    limit = time.monotonic() + 20
    while before in server.workers() or server.ping() != 200:
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert server.translate("a b").json() == {"predictions": [{"target": "b a"}]}
    assert "this server process ends and is replaced" in server.log()


def test_a_server_process_that_is_killed_while_it_serves_is_replaced(start_server):
    server = start_server()
    server.wait_for_ping(200)
    [before] = server.workers()
    os.kill(before, signal.SIGKILL)
    while before in server.workers():
        time.sleep(0.05)
    server.wait_for_ping(200)
    assert server.translate("a").status_code == 200
