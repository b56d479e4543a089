"""What the server tells about itself while it works."""

import itertools
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

OK = {"route": "/invocations", "status": "200"}


def scrape(server):
    response = requests.get(f"{server.url}/metrics", timeout=10)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(numbers, name, **labels):
    return numbers.get((name, frozenset(labels.items())), 0)


def wait_until(condition):
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def folders(environment):
    """Where the processes of a server share their numbers, as they were told."""
    return [Path(text) for text in re.findall(r"PROMETHEUS_MULTIPROC_DIR=([^\0]+)", environment)]


@pytest.mark.parametrize("workers", [1, 2])
def test_metrics_are_those_of_all_processes_and_never_go_down_under_load(start_server, workers):
    server = start_server(SAGEMAKER_MODEL_SERVER_WORKERS=str(workers))
    server.wait_for_ping(200)
    wait_until(lambda: value(scrape(server), "s2s_model_ready") == workers)

    def client(_):
        return [server.translate("a b wait" if number % 5 == 0 else "c").status_code for number in range(15)]

    seen = []
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client, number) for number in range(8)]
        while not all(answer.done() for answer in answers):
            seen.append(scrape(server))
            assert requests.get(f"{server.url}/nothing/{len(seen)}", timeout=10).status_code == 404
        assert {status for answer in answers for status in answer.result()} == {200}
    seen.append(scrape(server))

    last = seen[-1]
    assert value(last, "s2s_requests_total", **OK) == 120
    assert value(last, "s2s_request_seconds_count", route="/invocations") == 120
    assert value(last, "s2s_request_seconds_bucket", route="/invocations", le="60.0") == 120
    assert value(last, "s2s_step_sentences_count") == 120  # the stub searches one at a time
    assert value(last, "s2s_source_tokens_total") == value(last, "s2s_target_tokens_total") == 8 * (3 * 3 + 12)
    assert value(last, "s2s_requests_total", route="other", status="404") == len(seen) - 1
    assert value(last, "s2s_rejected_requests_total", code="not_found") == len(seen) - 1
    assert value(last, "s2s_requests_in_flight", route="/invocations") == 0
    assert value(last, "s2s_waiting_requests") == value(last, "s2s_waiting_source_tokens") == 0
    assert [value for (name, _), value in last.items() if name == "s2s_build_info"] == [1]

    assert len(seen) > 5
    assert max(value(numbers, "s2s_requests_in_flight", route="/invocations") for numbers in seen) > 1
    assert max(value(numbers, "s2s_waiting_requests") for numbers in seen) > 1
    assert max(value(numbers, "s2s_waiting_source_tokens") for numbers in seen) > 1
    for before, after in itertools.pairwise(seen):
        for (name, labels), number in before.items():
            if re.search("_(total|count|bucket)$", name):
                assert value(after, name, **dict(labels)) >= number


def test_a_process_that_dies_takes_its_gauges_along_and_leaves_its_counts(start_server):
    server = start_server(SAGEMAKER_MODEL_SERVER_WORKERS="2", S2S_DEADLINE_SECONDS="30")
    server.wait_for_ping(200)
    wait_until(lambda: value(scrape(server), "s2s_model_ready") == 2)
    for _ in range(10):
        assert server.translate("a").status_code == 200
    [folder] = folders(Path(f"/proc/{server.process.pid}/environ").read_text())
    before = server.workers()

    with ThreadPoolExecutor(4) as pool:
        hanging = [pool.submit(server.translate, "hang") for _ in range(4)]
        wait_until(lambda: value(scrape(server), "s2s_waiting_requests") == 4)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(set(server.workers()) - set(before)) == 2)
        assert all(answer.exception() is not None for answer in hanging)
    server.wait_for_ping(200)
    wait_until(lambda: value(scrape(server), "s2s_model_ready") == 2)

    numbers = scrape(server)
    assert value(numbers, "s2s_requests_total", **OK) == 10
    assert value(numbers, "s2s_waiting_requests") == 0
    assert value(numbers, "s2s_requests_in_flight", route="/invocations") == 0
    left = {int(pid) for pid in re.findall(r"gauge_\w+_(\d+)\.db", " ".join(file.name for file in folder.iterdir()))}
    assert left == set(server.workers())
    assert server.terminate() == 0
    assert not folder.exists()


def test_one_process_shares_no_files_whatever_the_environment_says(start_server, tmp_path):
    server = start_server(PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    server.wait_for_ping(200)
    assert server.translate("a").status_code == 200
    numbers = scrape(server)
    assert value(numbers, "s2s_requests_total", **OK) == 1
    assert not [name for name, _ in numbers if name.endswith("_created")]
    assert list(tmp_path.iterdir()) == []
    assert folders(Path(f"/proc/{server.workers()[0]}/environ").read_text()) == []


def test_metrics_are_there_while_the_model_is_loading(start_server):
    server = start_server(STUB_LOAD_SECONDS="30")
    server.wait_for_ping(503)
    assert server.translate("a").status_code == 503
    numbers = scrape(server)
    assert value(numbers, "s2s_model_ready") == 0
    assert value(numbers, "s2s_rejected_requests_total", code="not_ready") == 2  # the ping as well


@pytest.mark.parametrize("workers", [1, 2])
def test_the_log_says_once_what_is_served_and_then_a_line_per_request(start_server, workers):
    server = start_server(SAGEMAKER_MODEL_SERVER_WORKERS=str(workers), OMP_NUM_THREADS="1")
    server.wait_for_ping(200)
    wait_until(lambda: value(scrape(server), "s2s_model_ready") == workers)
    server.translate("a b", headers={"X-Amzn-RequestId": "order-7"})
    server.wait_for_ping(200)
    [killed, *_] = server.workers()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in server.workers() and len(server.workers()) == workers)
    wait_until(lambda: server.ping() == 200)
    log = server.log()
    for line in (
        "model: lstm encoder with 1 x 8 units, lstm decoder with 1 x 8 units, 0 parameters, vocabularies of 12 source "
        "and 12 target tokens, beam of 5, float32",
        f"processes: {workers}, each on cpu with 1 computing threads and 128 HTTP threads",
        f"ready at 127.0.0.1:{server.port}",
    ):
        assert len(re.findall(rf"^\[.* INFO \d+\] {re.escape(line)}$", log, re.MULTILINE)) == 1, log
    [line] = re.findall(r"^\[.* INFO \d+\] (.*path=/invocations.*)$", log, re.MULTILINE)
    assert re.fullmatch(
        r"method=POST path=/invocations status=200 ms=\d+\.\d id=order-7 instances=1 tokens=2 target_tokens=2 code=ok",
        line,
    )
    assert "/metrics" not in log
