"""The routes of a multi-model endpoint, without a server process."""

import json
import logging

import pytest
import torch

from s2s_algo.errors import ClientError
from serve.app import create_multi_model_app, serving_of
from serve.model_source import ModelSource
from serve.settings import Settings
from tests.unit.serve.fakes import FakeTranslator

BODY = {"instances": [{"data": "a b"}]}
EXPECTED = 'the body must be a JSON object such as {"model_name": "NAME", "url": "/opt/ml/models/NAME/model"}'


@pytest.fixture
def translators():
    return {}


@pytest.fixture
def client(tmp_path, monkeypatch, translators):
    monkeypatch.setattr(ModelSource, "serving_cost", lambda self, translator: 8 * 2**20)
    for name in ("one", "two", "damaged"):
        (tmp_path / name / "model").mkdir(parents=True)

    def load(folder):
        name = folder.parent.name
        if name == "damaged":
            raise ClientError("not readable. Copy it again.", where="config.json")
        return translators.setdefault(name, FakeTranslator())

    app = create_multi_model_app(load, tmp_path, Settings(multi_model=True, model_memory=100 * 2**20))
    client = app.test_client()
    client.root = tmp_path
    yield client
    assert serving_of(app).service.stop(10)


def load(client, name, folder=None):
    return client.post("/models", json={"model_name": name, "url": f"{client.root}/{folder or name}/model"})


def error_of(response):
    error = response.get_json()["error"]
    return response.status_code, error["code"], error["message"]


def test_models_are_loaded_listed_asked_and_unloaded(client):
    assert (client.get("/ping").status_code, client.get("/ping").data) == (200, b"")
    shown = {"modelName": "one", "modelUrl": f"{client.root}/one/model"}
    assert client.get("/models").get_json() == {"models": []}
    response = load(client, "one")
    assert (response.status_code, response.get_json()) == (200, shown)
    assert client.get("/models").get_json() == {"models": [shown]}
    assert client.get("/models/one").get_json() == shown
    assert client.post("/models/one/invoke", json=BODY).get_json() == {"predictions": [{"target": "b a"}]}
    response = client.delete("/models/one")
    assert (response.status_code, response.get_json()) == (200, shown)
    assert client.get("/models").get_json() == {"models": []}


def test_the_second_of_a_name_is_409(client):
    load(client, "one")
    status, code, message = error_of(load(client, "one", "two"))
    assert (status, code) == (409, "model_exists")
    assert message.startswith("the model 'one' is loaded already")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/invoke")])
def test_a_model_that_is_not_loaded_is_404(client, method, path):
    response = client.open(f"/models/one{path}", method=method, json=BODY if path else None)
    assert error_of(response) == (404, "model_not_found", "the model 'one' is not loaded; load it with POST /models")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", f"the body is empty; {EXPECTED}"),
        (b"[]", f"the body is an array; {EXPECTED}"),
        (b'"one"', f"the body is a string; {EXPECTED}"),
        (b"{}", f"model_name is missing; {EXPECTED}"),
        (b'{"model_name": "one"}', f"url is missing; {EXPECTED}"),
        (b'{"model_name": 1, "url": "/"}', f"model_name is a number; it must be a string; {EXPECTED}"),
        (b'{"model_name": "one", "url": null}', f"url is null; it must be a string; {EXPECTED}"),
        (b'{"model_name": "", "url": "/"}', "model_name has 0 characters; it must have 1 to 256"),
        (
            json.dumps({"model_name": "x" * 257, "url": "/"}).encode(),
            "model_name has 257 characters; it must have 1 to 256",
        ),
        (
            json.dumps({"model_name": "x", "url": "/" * 4097}).encode(),
            "url has 4097 characters; it must have 1 to 4096",
        ),
        (
            b'{"model_name": "a/b", "url": "/"}',
            "model_name is 'a/b'; it must be printable, without slashes, and neither a dot nor two",
        ),
    ],
)
def test_a_body_that_says_something_else_is_400_and_says_what_it_must_say(client, body, message):
    assert error_of(client.post("/models", data=body)) == (400, "bad_request", message)


@pytest.mark.parametrize("name", [".", "..", "a\n", "\0", "/", "a/../b", "\ud800", "\u2028"])
def test_a_name_must_fit_into_a_path_and_a_line(client, name):
    status, code, message = error_of(load(client, name, "one"))
    assert (status, code) == (400, "bad_request")
    assert message.endswith("it must be printable, without slashes, and neither a dot nor two")
    assert message.isprintable()


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"model_name": "a", "model_name": "b"}', b"[" * 99, b"1" * 10_000])
def test_a_body_that_is_no_json_is_400(client, body):
    assert error_of(client.post("/models", data=body))[:2] == (400, "bad_request")


def test_members_that_nobody_knows_are_left_alone(client):
    body = {"model_name": "one", "url": f"{client.root}/one/model", "another": [1, {}]}
    assert client.post("/models", json=body).status_code == 200


@pytest.mark.parametrize("name", ["Zürich", "with space", "a%2Fb", 'quo"te', "?x=1#y", "x" * 256, "...", "+"])
def test_names_may_be_any_text_that_fits(client, name):
    from urllib.parse import quote

    assert load(client, name, "one").status_code == 200
    assert client.get(f"/models/{quote(name, safe='')}").get_json()["modelName"] == name
    assert client.post(f"/models/{quote(name, safe='')}/invoke", json=BODY).status_code == 200
    assert client.delete(f"/models/{quote(name, safe='')}").status_code == 200


def test_folders_that_are_not_there_are_404_and_those_that_hold_no_model_400(client):
    assert error_of(load(client, "absent"))[:2] == (404, "model_not_found")
    response = load(client, "damaged")
    assert error_of(response) == (400, "bad_request", "not readable. Copy it again.")
    assert response.get_json()["error"]["location"] == "config.json"
    response = client.post("/models", json={"model_name": "x", "url": "/etc"})
    assert error_of(response)[:2] == (400, "bad_request")
    assert "must be below that folder" in error_of(response)[2]
    assert client.get("/models").get_json() == {"models": []}


def test_lists_come_in_pages(client):
    client.application.extensions["s2s"].service._page_size = 3
    names = [f"{letter}&=?" for letter in "gcafbed"]
    for name in names:
        assert load(client, name, "one").status_code == 200
    found, token = [], ""
    while token is not None:
        page = client.get("/models", query_string={"next_page_token": token} if token else {}).get_json()
        assert len(page["models"]) <= 3
        found += [model["modelName"] for model in page["models"]]
        token = page.get("nextPageToken")
    assert found == sorted(names)


def test_memory_that_does_not_suffice_is_507(client, monkeypatch):
    monkeypatch.setattr(ModelSource, "loading_cost", lambda self, folder: 60 * 2**20)
    monkeypatch.setattr(ModelSource, "serving_cost", lambda self, translator: 60 * 2**20)
    assert load(client, "one").status_code == 200
    response = load(client, "two")
    assert error_of(response)[:2] == (507, "insufficient_memory")
    assert "Retry-After" not in response.headers
    assert client.delete("/models/one").status_code == 200
    assert load(client, "two").status_code == 200


def test_a_request_that_runs_out_of_memory_is_507_for_the_platform_to_make_room(client, translators):
    load(client, "one")
    translators["one"].errors = [torch.OutOfMemoryError("out of memory")]
    response = client.post("/models/one/invoke", json=BODY)
    assert error_of(response) == (
        507,
        "insufficient_memory",
        "a sentence of 2 source tokens needs more memory than there is; split it, or use an instance type with more "
        "memory",
    )


@pytest.mark.parametrize("path", ["/invocations", "/endpoints/x/invocations"])
def test_invocations_say_which_route_to_use(client, path):
    load(client, "one")
    assert error_of(client.post(path, json=BODY)) == (
        404,
        "model_not_found",
        "this server runs for a multi-model endpoint and has no model of its own; load one with POST /models and send "
        "the request to POST /models/NAME/invoke",
    )


def test_an_unknown_path_names_the_routes_that_there_are(client):
    assert error_of(client.get("/nothing")) == (
        404,
        "not_found",
        "there is nothing at '/nothing'; the routes are GET /ping, GET /execution-parameters, GET /metrics, GET and "
        "POST /models, GET and DELETE /models/{name}, and POST /models/{name}/invoke",
    )
    assert client.get("/").status_code == 404


def test_an_invocation_is_like_any_other(client):
    load(client, "one")
    response = client.post("/models/one/invoke", data=b'{"source": "a b"}', content_type="application/jsonlines")
    assert response.data == b'{"target": "b a"}'
    assert error_of(client.post("/models/one/invoke", data=b"x"))[:2] == (415, "unsupported_content_type")
    assert error_of(client.post("/models/one/invoke", data=b"{", content_type="application/json"))[0] == 400


def test_figures_know_no_names_of_models(client):
    load(client, "one")
    for number in range(20):
        client.post(f"/models/{number}/invoke", json=BODY)
        client.get(f"/models/{number}")
        client.delete(f"/models/{number}")
        load(client, str(number))
    client.post("/models/one/invoke", json=BODY)
    text = client.get("/metrics").data.decode()
    assert 's2s_requests_total{route="/models/<name>/invoke",status="404"} 20.0' in text
    assert 's2s_requests_total{route="/models/<name>/invoke",status="200"} 1.0' in text
    assert "s2s_model_ready 1.0" in text
    assert "one" not in text.replace("none", "")
    assert len(text.splitlines()) < 400


def test_the_log_says_what_the_platform_calls_the_model(client, caplog):
    load(client, "one")
    with caplog.at_level(logging.INFO):
        client.post("/models/one/invoke", json=BODY, headers={"X-Amzn-SageMaker-Target-Model": "en/de 7.tar.gz"})
        line = caplog.records[-1].getMessage()
        client.post("/models/one/invoke", json=BODY)
    assert "path=/models/one/invoke" in line
    assert 'target_model="en/de 7.tar.gz"' in line
    assert "target_model" not in caplog.records[-1].getMessage()
