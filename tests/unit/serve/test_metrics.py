import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serve.app import create_app
from serve.metrics import CONTENT_TYPE, Metrics, forget_process, remove_folder
from serve.settings import Settings
from tests.unit.serve.fakes import FakeStream, FakeTranslator, started_app

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"
BODY = {"instances": [{"data": "a b"}, {"data": "c"}]}
INVOCATIONS = {"route": "/invocations"}


def samples(text):
    """Every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(text, name, **labels):
    return samples(text).get((name, frozenset(labels.items())))


@pytest.fixture
def translator():
    return FakeTranslator()


@pytest.fixture
def client(translator):
    yield started_app(translator=translator).test_client()
    translator.gate.set()


def scrape(client):
    response = client.get("/metrics")
    assert (response.status_code, response.content_type) == (200, CONTENT_TYPE)
    return response.data


# -- what is counted


def test_answers_are_counted_by_route_and_status(client):
    for _ in range(3):
        client.post("/invocations", json=BODY)
    client.post("/endpoints/one/invocations", json=BODY)
    client.post("/endpoints/two/invocations", json=BODY)
    client.post("/invocations", data=b"{")
    client.get("/ping")
    text = scrape(client)
    assert value(text, "s2s_requests_total", **INVOCATIONS, status="200") == 3
    assert value(text, "s2s_requests_total", **INVOCATIONS, status="415") == 1
    assert value(text, "s2s_requests_total", route="/endpoints/<name>/invocations", status="200") == 2
    assert value(text, "s2s_requests_total", route="/ping", status="200") == 1


def test_errors_are_counted_by_their_code(client, translator):
    translator.errors = [None, RuntimeError("a bug")]
    assert client.post("/invocations", json=BODY).status_code == 200
    assert client.post("/invocations", json=BODY).status_code == 500
    client.post("/invocations", data=b"{", content_type="application/json")
    client.post("/invocations", data=b"[", content_type="application/json")
    text = scrape(client)
    assert value(text, "s2s_rejected_requests_total", code="internal_error") == 1
    assert value(text, "s2s_rejected_requests_total", code="bad_request") == 2
    assert sum(number for (name, _), number in samples(text).items() if name == "s2s_rejected_requests_total") == 3


def test_the_number_of_time_series_does_not_grow_with_what_clients_think_of(client):
    def visit(number):
        client.get(f"/path{number}")
        client.post(f"/path/{number}")
        client.open("/ping", method=f"METHOD{number}")
        client.post(f"/endpoints/{number}/invocations", json=BODY, headers={"X-Request-Id": str(number)})

    scrape(client)  # which is counted in the next one
    visit(0)
    before = set(samples(scrape(client)))
    for number in range(1, 30):
        visit(number)
    text = scrape(client)
    assert set(samples(text)) == before
    assert value(text, "s2s_requests_total", route="other", status="404") == 60
    assert value(text, "s2s_requests_total", route="other", status="405") == 30


def test_tokens_count_once_they_are_translated(client, translator):
    client.post("/invocations", json={"instances": [{"data": "a b", "configuration": {"n_best": 3}}, {"data": "c"}]})
    translator.errors = [RuntimeError("a bug")]
    client.post("/invocations", json=BODY)
    client.post("/invocations", json={"instances": [{"data": "a"}, 7]})
    text = scrape(client)
    assert value(text, "s2s_source_tokens_total") == 3
    assert value(text, "s2s_target_tokens_total") == 3


def test_the_time_of_an_answer_falls_into_a_bucket_from_5_ms_to_60_s(client, translator):
    translator.gate.clear()
    threading.Timer(0.3, translator.gate.set).start()
    client.post("/invocations", json=BODY)
    text = scrape(client)
    assert 0.25 < value(text, "s2s_request_seconds_sum", **INVOCATIONS) < 5
    assert value(text, "s2s_request_seconds_bucket", **INVOCATIONS, le="0.25") == 0
    assert value(text, "s2s_request_seconds_bucket", **INVOCATIONS, le="60.0") == 1
    bounds = [
        float(dict(labels)["le"])
        for name, labels in samples(text)
        if name == "s2s_request_seconds_bucket" and ("route", "/invocations") in labels
    ]
    assert (min(bounds), sorted(bounds)[-2:]) == (0.005, [60, float("inf")])


def test_what_waits_is_a_gauge_and_so_is_what_is_in_flight(client, translator):
    translator.calls.clear()
    translator.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(client.application.test_client().post, "/invocations", json=BODY) for _ in range(2)]
        limit = time.monotonic() + 10
        while value(text := scrape(client), "s2s_waiting_requests") != 2:
            assert time.monotonic() < limit
        assert value(text, "s2s_waiting_source_tokens") == 6
        assert value(text, "s2s_requests_in_flight", **INVOCATIONS) == 2
        translator.gate.set()
        assert [answer.result().status_code for answer in answers] == [200, 200]
    text = scrape(client)
    assert value(text, "s2s_waiting_requests") == value(text, "s2s_waiting_source_tokens") == 0
    assert value(text, "s2s_requests_in_flight", **INVOCATIONS) == 0


def test_nothing_stays_in_flight_after_errors(client, translator):
    translator.errors = [RuntimeError("a bug")]
    client.post("/invocations", json=BODY)
    client.get("/nothing")
    client.put("/ping")
    text = scrape(client)
    in_flight = {labels: number for (name, labels), number in samples(text).items() if name == "s2s_requests_in_flight"}
    assert in_flight.pop(frozenset({("route", "/metrics")})) == 1  # this one
    assert set(in_flight.values()) == {0}


def test_every_step_says_how_many_sentences_were_searched_together(client, translator):
    translator.most = 2
    client.post("/invocations", json={"instances": [{"data": "a"}] * 5})
    text = scrape(client)
    # Steps of 2, 2 and 1; the one that tried the model out served nobody.
    assert value(text, "s2s_step_sentences_count") == 3
    assert value(text, "s2s_step_sentences_sum") == 5
    assert value(text, "s2s_step_sentences_bucket", le="1.0") == 1


def test_sentences_that_go_on_after_a_step_were_searched_in_it_too(client, monkeypatch):
    monkeypatch.setattr(FakeStream, "running", 3)
    client.post("/invocations", json={"instances": [{"data": "a"}]})
    assert value(scrape(client), "s2s_step_sentences_sum") == 4


def test_a_step_in_which_nobody_is_left_to_search_for_does_not_count(translator):
    client = started_app(Settings(deadline=0.1), translator).test_client()
    translator.most = 1
    translator.gate.clear()
    assert client.post("/invocations", json=BODY).status_code == 503
    translator.gate.set()
    assert client.post("/invocations", json={"instances": [{"data": "a"}]}).status_code == 200
    text = scrape(client)
    # Of the first request one sentence was searched already, and the other never was.
    assert value(text, "s2s_step_sentences_count") == value(text, "s2s_step_sentences_sum") == 2


def test_ready_is_a_gauge_and_names_version_and_device():
    loaded = threading.Event()

    def load():
        assert loaded.wait(10)
        return FakeTranslator()

    app = create_app(load, Settings())
    text = scrape(app.test_client())
    assert value(text, "s2s_model_ready") == 0
    service = app.extensions["s2s"].service
    ready = threading.Event()
    service.start(on_ready=ready.set, on_load_failure=print)
    loaded.set()
    assert ready.wait(10)
    text = scrape(app.test_client())
    assert value(text, "s2s_model_ready") == 1
    [[labels]] = [[dict(labels)] for name, labels in samples(text) if name == "s2s_build_info"]
    assert labels["device"] == "cpu"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", labels["version"])
    assert service.stop(10)
    assert value(scrape(app.test_client()), "s2s_model_ready") == 0


def test_applications_count_each_for_itself():
    first, second = (create_app(FakeTranslator, Settings()).test_client() for _ in range(2))
    first.get("/nothing")
    assert value(scrape(first), "s2s_requests_total", route="other", status="404") == 1
    assert value(scrape(second), "s2s_requests_total", route="other", status="404") is None


def test_many_threads_lose_no_count():
    metrics = Metrics(None)

    def work(_):
        for _ in range(500):
            metrics.begin("/invocations")
            metrics.translated(2, 3)
            metrics.end("/invocations", 200, 0.01, None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    text = metrics.text()
    assert value(text, "s2s_requests_total", **INVOCATIONS, status="200") == 4000
    assert value(text, "s2s_target_tokens_total") == 12_000
    assert value(text, "s2s_requests_in_flight", **INVOCATIONS) == 0


# -- several processes; tests/contract/serve has the rest


def test_what_a_dead_process_left_of_the_moment_is_removed_and_its_counts_stay(tmp_path):
    names = ["gauge_livesum_7.db", "gauge_livemax_7.db", "gauge_livesum_77.db", "counter_7.db", "histogram_7.db"]
    for name in names:
        (tmp_path / name).touch()
    forget_process(tmp_path, 7)
    assert {file.name for file in tmp_path.iterdir()} == set(names[2:])


def test_a_folder_is_removed_unless_it_holds_something_foreign(tmp_path):
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    for folder in (own, foreign):
        folder.mkdir()
        (folder / "counter_7.db").touch()
    (foreign / "letter.txt").touch()
    for folder in (own, foreign, tmp_path / "missing"):
        remove_folder(folder)
        forget_process(folder, 7)
    assert [file.name for file in tmp_path.iterdir()] == ["foreign"]
    assert [file.name for file in foreign.iterdir()] == ["letter.txt"]


# -- the page


def test_the_page_lists_all_metrics_as_they_are(client):
    client.get("/nothing")
    families = {
        (
            family.name + ("_total" if family.type == "counter" else ""),
            family.type,
            ", ".join(f"`{name}`" for name in family.samples[0].labels if name != "le"),
            family.documentation,
        )
        for family in text_string_to_metric_families(scrape(client).decode())
        if not family.name.endswith("_created")
    }
    rows = re.findall(r"^\| `(s2s_\w+)` \| (\w+) \|(.*?)\| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = [(name, type_, labels.strip(), meaning) for name, type_, labels, meaning in rows]
    assert len(listed) == len(set(listed)) == 13
    assert sorted(listed) == sorted(families)


def test_the_scrape_configuration_of_the_page_names_the_route_and_the_usual_port():
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [job] = yaml.safe_load(text)["scrape_configs"]
    assert job["metrics_path"] in {rule.rule for rule in create_app(FakeTranslator, Settings()).url_map.iter_rules()}
    assert job["static_configs"] == [{"targets": [f"localhost:{Settings().port}"]}]


def test_the_queries_of_the_page_use_series_that_exist(client):
    queries = re.findall(r"rate\((\w+)\[", PAGE.read_text(encoding="utf-8"))
    assert len(queries) == 3
    assert set(queries) <= {name for name, _ in samples(scrape(client))}


def test_the_log_lines_of_the_page_have_the_keys_of_real_ones(client, caplog):
    with caplog.at_level(logging.INFO):
        client.post("/invocations", json=BODY)
        client.post("/invocations", data=b"{", content_type="application/json")
    shown = re.findall(r"^method=POST .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    real = [record.getMessage() for record in caplog.records]

    def keys(line):
        return re.findall(r"(?:^| )(\w+)=", line.partition("message=")[0]), "message=" in line

    assert [keys(line) for line in shown] == [keys(line) for line in real]
