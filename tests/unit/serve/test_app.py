import json
import logging
import re
import threading
import time

import pytest

from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed
from serve.app import create_app, serving_of
from serve.invocation import BODY_READ
from serve.media_types import Format
from serve.settings import Settings
from tests.unit.serve.fakes import FakeTranslator, SlowGate, frame, started_app

JSON, LINES, RECORDIO = (format_.value for format_ in Format)
BODY = b'{"instances": [{"data": "a b"}]}'


@pytest.fixture
def translator():
    return FakeTranslator()


@pytest.fixture
def client(translator):
    client = started_app(translator=translator).test_client()
    translator.calls.clear()
    yield client
    translator.gate.set()


def error_of(response):
    assert response.content_type == JSON
    return response.get_json()["error"]


# -- ping


def test_ping_is_503_until_the_model_is_loaded_and_then_200_with_an_empty_body():
    gate = threading.Event()

    def load():
        assert gate.wait(10)
        return FakeTranslator()

    app = create_app(load, Settings())
    client = app.test_client()
    ready = threading.Event()
    serving_of(app).service.start(on_ready=ready.set, on_load_failure=print)
    response = client.get("/ping")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert error_of(response)["code"] == "not_ready"
    assert client.post("/invocations", data=BODY, content_type=JSON).status_code == 503
    gate.set()
    assert ready.wait(10)
    response = client.get("/ping")
    assert (response.status_code, response.data) == (200, b"")


# -- execution parameters


def test_execution_parameters_are_concurrency_and_payload_and_no_strategy(client):
    assert client.get("/execution-parameters").get_json() == {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 6}


def test_execution_parameters_repeat_what_the_job_says():
    environment = {"SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "4", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "20"}
    client = started_app(Settings.from_environment(environment)).test_client()
    assert client.get("/execution-parameters").get_json() == {"MaxConcurrentTransforms": 4, "MaxPayloadInMB": 20}


# -- invocations


@pytest.mark.parametrize("path", ["/invocations", "/endpoints/my-endpoint/invocations"])
def test_both_paths_translate(client, path):
    response = client.post(path, data=BODY, content_type=JSON)
    assert (response.status_code, response.content_type) == (200, JSON)
    assert response.data == b'{"predictions": [{"target": "b a"}]}'


BODIES = {
    JSON: b'{"instances": [{"data": "a b"}, {"data": ""}, {"data": "c"}]}',
    LINES: b'{"source": "a b"}\n\n{"source": "c"}\n',
    RECORDIO: b"".join(frame(encode_pair(source, [])) for source in ([4, 5], [], [6])),
}


@pytest.mark.parametrize("sent", BODIES)
@pytest.mark.parametrize("accepted", BODIES)
def test_every_format_is_answered_in_every_other(client, sent, accepted):
    response = client.post("/invocations", data=BODIES[sent], content_type=sent, headers={"Accept": accepted})
    assert (response.status_code, response.content_type) == (200, accepted)
    if accepted == RECORDIO:
        records = [Record.FromString(payload) for payload in split_framed(response.data)]
        assert [list(record.features["target"].int32_tensor.values) for record in records] == [[5, 4], [], [6]]
    else:
        lines = response.get_json()["predictions"] if accepted == JSON else map(json.loads, response.data.splitlines())
        assert [line["target"] for line in lines] == ["b a", "", "c"]


def test_the_answer_format_is_settled_before_anything_is_decoded(client, translator):
    response = client.post("/invocations", data=b"not JSON", content_type=JSON, headers={"Accept": "text/csv"})
    assert response.status_code == 406
    assert error_of(response)["code"] == "not_acceptable"
    assert translator.calls == []


def test_the_configured_answer_format_counts_if_the_request_leaves_it_open():
    settings = Settings(default_accept=Format.JSON_LINES)
    client = started_app(settings).test_client()
    assert client.post("/invocations", data=BODY, content_type=JSON).data == b'{"target": "b a"}'
    answer = client.post("/invocations", data=BODY, content_type=JSON, headers={"Accept": JSON})
    assert answer.content_type == JSON


def test_a_matrix_asked_for_in_a_record_comes_in_a_json_answer(client):
    record = Record()
    record.features["source"].int32_tensor.values.extend([4, 5])
    record.configuration = '{"attention_matrix": "true"}'
    headers = {"Accept": JSON}
    response = client.post("/invocations", data=record.SerializeToString(), content_type=RECORDIO, headers=headers)
    assert response.get_json() == {"predictions": [{"target": "b a", "matrix": [[0, 1], [1, 0]]}]}


def test_encoded_bodies_are_refused(client):
    response = client.post("/invocations", data=b"x", content_type=JSON, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert error_of(response)["message"] == "Content-Encoding 'gzip' is not supported; send the body as it is"


def test_a_limit_that_is_set_holds_on_both_sides():
    client = started_app(Settings(max_body_bytes=len(BODY))).test_client()
    assert client.post("/invocations", data=BODY, content_type=JSON).status_code == 200
    response = client.post("/invocations", data=BODY + b" ", content_type=JSON)
    assert response.status_code == 413
    assert error_of(response)["code"] == "too_large"


# -- errors


def test_an_unknown_path_is_404_with_the_routes(client):
    response = client.get("/nothing")
    assert response.status_code == 404
    assert error_of(response) == {
        "code": "not_found",
        "message": "there is nothing at '/nothing'; the routes are GET /ping, GET /execution-parameters, "
        "GET /metrics, POST /invocations and POST /endpoints/{name}/invocations",
        "location": None,
    }


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/invocations"), ("POST", "/ping"), ("PUT", "/endpoints/x/invocations")]
)
def test_a_wrong_method_is_405_with_the_allowed_ones(client, method, path):
    response = client.open(path, method=method)
    assert response.status_code == 405
    assert error_of(response)["code"] == "method_not_allowed"
    assert response.headers["Allow"]


def test_a_bug_is_500_with_an_id_and_its_trace_is_in_the_log_alone(client, translator, caplog):
    translator.errors = [RuntimeError("secret")]
    with caplog.at_level(logging.INFO):
        response = client.post("/invocations", data=BODY, content_type=JSON)
    assert response.status_code == 500
    error = error_of(response)
    assert error["code"] == "internal_error"
    assert "secret" not in response.text
    request_id = response.headers["X-Request-Id"]
    assert request_id in error["message"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == f"internal error {request_id}"
    assert "secret" in str(record.exc_info[1])


def test_a_full_queue_is_503_with_retry_after_in_under_100_ms(translator):
    client = started_app(Settings(max_waiting_tokens=2), translator).test_client()
    translator.calls.clear()
    translator.gate.clear()
    answers = []

    def post():
        answers.append(client.post("/invocations", data=BODY, content_type=JSON).status_code)

    first = threading.Thread(target=post)
    first.start()
    while not translator.calls:
        time.sleep(0.005)
    times = []
    for _ in range(3):  # the machine may be busy at one moment
        started = time.monotonic()
        response = client.post("/invocations", data=BODY, content_type=JSON)
        times.append(time.monotonic() - started)
    assert min(times) < 0.1
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert error_of(response)["code"] == "overloaded"
    assert client.get("/ping").status_code == 200
    translator.gate.set()
    first.join()
    assert answers == [200]


def test_the_deadline_of_a_request_counts_from_its_arrival(translator):
    client = started_app(Settings(deadline=0.2), translator).test_client()
    translator.gate.clear()
    started = time.monotonic()
    response = client.post("/invocations", data=BODY, content_type=JSON)
    assert 0.2 <= time.monotonic() - started < 5
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert error_of(response)["code"] == "deadline_exceeded"
    translator.gate.set()


def test_without_a_deadline_a_request_waits_as_long_as_it_takes(translator):
    client = started_app(Settings(deadline=None), translator).test_client()
    translator.gate.clear()
    threading.Timer(0.5, translator.gate.set).start()
    assert client.post("/invocations", data=BODY, content_type=JSON).status_code == 200


def test_a_request_that_was_cut_off_for_its_slowness_is_408(client):
    overrides = {"CONTENT_LENGTH": "1000", BODY_READ: lambda: True}
    response = client.post("/invocations", data=BODY, content_type=JSON, environ_overrides=overrides)
    assert response.status_code == 408
    assert error_of(response)["message"] == (
        "the request did not arrive within 30 seconds; send it faster or in smaller parts, or allow more time with "
        "S2S_READ_TIMEOUT_SECONDS"
    )


# -- the log


def line_of(caplog):
    """The pairs of the last line, of which nothing is left over."""
    line = caplog.records[-1].getMessage()
    pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"=]*)(?: |$)', line)
    assert " ".join(f"{key}={value}" for key, value in pairs) == line
    return {key: json.loads(value) if value.startswith('"') else value for key, value in pairs}


def test_every_request_has_a_line_of_pairs_in_the_log(client, caplog):
    with caplog.at_level(logging.INFO):
        response = client.post("/invocations", data=BODIES[JSON], content_type=JSON)
    line = line_of(caplog)
    assert 0 < float(line.pop("ms")) < 5000
    assert line == {
        "method": "POST",
        "path": "/invocations",
        "status": "200",
        "id": response.headers["X-Request-Id"],
        "instances": "3",
        "tokens": "3",
        "target_tokens": "3",
        "code": "ok",
    }


def test_only_the_best_translations_count_as_target_tokens(client, caplog):
    body = {"instances": [{"data": "a b", "configuration": {"n_best": 3}}]}
    with caplog.at_level(logging.INFO):
        assert client.post("/invocations", json=body).status_code == 200
    assert line_of(caplog)["target_tokens"] == "2"


def test_the_line_of_an_error_has_the_same_pairs_and_says_what_was_wrong(client, caplog):
    with caplog.at_level(logging.INFO):
        client.post("/invocations", data=b'{"instances": [7]}', content_type=JSON)
        line = line_of(caplog)
        client.post("/invocations", data=BODY, content_type=JSON)
    assert (line["status"], line["code"]) == ("400", "bad_request")
    assert line.pop("message").startswith("instance 1: the instance is a number; it must be an object")
    assert list(line) == list(line_of(caplog))


def test_nothing_of_a_request_can_forge_pairs_or_lines_of_the_log(client, caplog):
    forged = 'x" status=200\n[forged]\r\x85\u2028\x00'
    instance = {"data": "a", "configuration": {forged: 1}}
    requests = [
        {"path": "/x%0a[forged]%0d\x00%ff%20code=ok"},
        {"path": "/invocations", "method": "PO ST"},
        {"path": "/invocations", "method": "POST", "json": {"instances": [instance]}},
        {"path": "/invocations", "method": "POST", "data": BODY, "content_type": 'x"; status=200'},
        {"path": "/ping", "method": "PUT", "headers": {"X-Request-Id": 'a" code=ok b='}},
    ]
    for request in requests:
        with caplog.at_level(logging.INFO):
            response = client.open(**request)
        assert response.status_code >= 400
        line = line_of(caplog)
        assert line["status"] == str(response.status_code)
        assert line["code"] == error_of(response)["code"]
        assert caplog.records[-1].getMessage().isprintable()
        assert caplog.records[-1].getMessage().isascii()
    assert line["id"] == 'a" code=ok b='


@pytest.mark.parametrize("path", ["/ping", "/metrics"])
def test_what_is_asked_again_and_again_does_not_fill_the_log(client, caplog, path):
    with caplog.at_level(logging.INFO):
        assert client.get(path).status_code == 200
    assert caplog.records == []


def test_a_health_check_that_fails_leaves_its_reason_in_the_log(caplog):
    client = create_app(FakeTranslator, Settings()).test_client()  # whose service was never started
    with caplog.at_level(logging.INFO):
        client.get("/ping")
    line = line_of(caplog)
    assert (line["code"], line["message"]) == ("not_ready", "the model is still being loaded")


# -- the id of a request


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Request-Id": "a"}, "a"),
        ({"X-Amzn-RequestId": "8b2e-41"}, "8b2e-41"),
        ({"X-Amzn-RequestId": "theirs", "X-Request-Id": "other"}, "theirs"),
        ({"X-Amzn-RequestId": "tabs\tinside", "X-Request-Id": "other"}, "other"),
        ({"X-Request-Id": "x" * 128}, "x" * 128),
        ({"X-Request-Id": 'with "quotes" and = signs'}, 'with "quotes" and = signs'),
    ],
)
def test_the_id_that_a_client_gives_is_answered_and_logged(client, caplog, headers, expected):
    with caplog.at_level(logging.INFO):
        response = client.post("/invocations", data=BODY, content_type=JSON, headers=headers)
    assert response.headers["X-Request-Id"] == line_of(caplog)["id"] == expected


@pytest.mark.parametrize("id_", ["", "x" * 129, "a\nSet-Cookie: b", "a\r", "a\x00", "a\x7f", "Zürich", "a\u2028"])
def test_an_id_that_is_long_or_unprintable_is_replaced_by_ours(client, caplog, id_):
    with caplog.at_level(logging.INFO):
        environment = {"HTTP_X_REQUEST_ID": id_}
        response = client.post("/invocations", data=BODY, content_type=JSON, environ_overrides=environment)
    assert re.fullmatch("[0-9a-f]{16}", response.headers["X-Request-Id"])
    assert line_of(caplog)["id"] == response.headers["X-Request-Id"]


def test_ids_of_ours_differ(client):
    assert len({client.get("/ping").headers["X-Request-Id"] for _ in range(20)}) == 20


@pytest.mark.parametrize(("playground", "status"), [(True, 200), (False, 404)])
def test_the_playground_is_there_unless_it_is_switched_off(playground, status):
    client = started_app(Settings(port=1, playground=playground)).test_client()
    assert client.get("/").status_code == status


# -- lines one by one


SOME_LINES = b'{"source": "a b"}\n{"source": "c"}\n{"source": "b c"}'


def post_lines(client, body=SOME_LINES, **environment):
    return client.post("/invocations", data=body, content_type=LINES, environ_overrides=environment)


def test_lines_leave_as_soon_as_they_are_translated(client, translator):
    translator.most = 1
    response = post_lines(client)
    assert (response.status_code, response.content_type) == (200, LINES)
    assert "Content-Length" not in response.headers
    lines = response.iter_encoded()
    assert json.loads(next(lines)) == {"target": "b a"}
    translator.gate.clear()
    rest = threading.Timer(0.3, translator.gate.set)
    rest.start()
    assert b"".join(lines) == b'\n{"target": "c"}\n{"target": "c b"}'


@pytest.mark.parametrize(
    ("body", "settings", "environment"),
    [
        (SOME_LINES.splitlines()[0], {}, {}),
        (SOME_LINES, {"SAGEMAKER_BATCH": "true"}, {}),
        (SOME_LINES, {}, {"SERVER_PROTOCOL": "HTTP/1.0"}),
    ],
)
def test_one_line_a_batch_transform_and_an_old_client_get_all_at_once(body, settings, environment):
    client = started_app(Settings.from_environment(settings)).test_client()
    response = post_lines(client, body, **environment)
    assert int(response.headers["Content-Length"]) == len(response.data)
    assert response.data.splitlines()[0] == b'{"target": "b a"}'


def test_all_at_once_is_the_same_as_one_by_one(client):
    assert post_lines(client).data == post_lines(client, SERVER_PROTOCOL="HTTP/1.0").data


def test_an_error_before_the_first_line_has_its_status(client, translator):
    translator.errors = [RuntimeError("secret")]
    response = post_lines(client)
    assert response.status_code == 500
    assert post_lines(client, SOME_LINES + b"\nno").status_code == 400


def test_an_error_after_the_first_line_ends_the_answer_and_is_logged(client, translator, caplog):
    caplog.set_level(logging.INFO)
    translator.most, translator.errors, translator.gate = 1, [None, RuntimeError("secret")], SlowGate()
    response = post_lines(client)
    lines = response.iter_encoded()
    assert next(lines) == b'{"target": "b a"}'
    with pytest.raises(BrokenPipeError):  # which the HTTP server takes without a word
        next(lines)
    response.close()
    [line] = [message for message in caplog.messages if message.startswith("method=POST")]
    assert " status=200 " in line
    assert " code=internal_error " in line
    metrics = client.get("/metrics").text
    assert 's2s_requests_in_flight{route="/invocations"} 0.0' in metrics


def test_a_streamed_answer_is_logged_and_counted_when_it_ends(client, translator, caplog):
    caplog.set_level(logging.INFO)
    translator.most = 1
    response = post_lines(client)
    lines = response.iter_encoded()
    next(lines)
    assert not [message for message in caplog.messages if message.startswith("method=POST")]
    list(lines)
    response.close()
    [line] = [message for message in caplog.messages if message.startswith("method=POST")]
    assert " instances=3 tokens=5 target_tokens=5 code=ok" in line


def test_a_client_that_leaves_frees_its_place(client, translator, caplog):
    caplog.set_level(logging.INFO)
    translator.most, translator.gate = 1, SlowGate()
    response = post_lines(client, b"\n".join([b'{"source": "a"}'] * 60))
    next(response.iter_encoded())
    response.close()
    assert len(translator.calls) < 60
    metrics = client.get("/metrics").text
    assert "s2s_waiting_requests 0.0" in metrics
    assert 's2s_rejected_requests_total{code="client_gone"} 1.0' in metrics
    [line] = [message for message in caplog.messages if message.startswith("method=POST")]
    assert " status=200 " in line
    assert " code=client_gone " in line


@pytest.mark.parametrize("path", ["/endpoints/x//invocations", "/invocations//"])
def test_paths_with_two_slashes_are_not_found(client, path):
    response = client.post("/invocations", data=BODY, content_type=JSON, environ_overrides={"PATH_INFO": path})
    assert response.status_code == 404
    assert error_of(response)["code"] == "not_found"
