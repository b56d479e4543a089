"""docs/openapi.yaml and a real server: neither may say what the other does not.

S2S_FUZZ_EXAMPLES is the number of random requests of each kind to each route; with it, every run sends others.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import schemathesis
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed
from s2s_algo.errors import ClientError
from s2s_algo.model.config import (
    AttentionConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from serve.app import create_app, create_multi_model_app
from serve.media_types import Format
from serve.options import InstanceOptions, parse_configuration
from serve.problems import RETRY_AFTER_SECONDS, TABLE, ClientGoneError, Problem
from serve.settings import Settings
from tests.unit.small_model import small_model, vocabulary

FOLDER = Path(__file__).parent
FILE = FOLDER.parents[2] / "docs" / "openapi.yaml"
DOCUMENT = yaml.load(FILE.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the other one takes a second
JSON, LINES, RECORDIO = (format_.value for format_ in Format)
METHODS = {"get", "post", "put", "delete", "patch", "head", "options", "trace"}

EXAMPLES = int(os.environ.get("S2S_FUZZ_EXAMPLES", "0"))
WORDS = 120  # of both vocabularies: no beam is allowed but too wide; schemathesis_hooks.py knows the number


NAME = "en-de"  # of the models in the document

# -- servers


START = "import sys; from container.entrypoint import main; sys.exit(main(['serve']))"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder /opt/ml with a model, which lies in the places of both kinds of servers."""
    base = tmp_path_factory.mktemp("opt-ml")
    config = ModelConfig(
        source_embedding=EmbeddingConfig(vocabulary_size=WORDS, size=8),
        target_embedding=EmbeddingConfig(vocabulary_size=WORDS, size=8),
        encoder=RecurrentEncoderConfig(cell_type="lstm", num_layers=1, num_hidden=8),
        decoder=RecurrentDecoderConfig(
            cell_type="lstm", num_layers=1, num_hidden=8, attention=AttentionConfig(type="mlp", num_hidden=8)
        ),
    )
    limits = LengthLimits(max_input_length=8, ratio_mean=1.0, ratio_std=0.2, max_output_length=10)
    inference = InferenceConfig(beam_size=5, limits=limits)
    save_artifact(Artifact(small_model(config), inference, vocabulary(WORDS), vocabulary(WORDS)), base / "model")
    shutil.copytree(base / "model", base / "models" / NAME / "model")
    return base


@pytest.fixture(scope="module")
def server(start_server, base):
    server = start_server(START, SAGEMAKER_BASE_DIR=str(base), OMP_NUM_THREADS="1")
    server.wait_for_ping(200)
    return server


@pytest.fixture(scope="module")
def multi_model_server(start_server, base):
    server = start_server(START, SAGEMAKER_BASE_DIR=str(base), SAGEMAKER_MULTI_MODEL="true", OMP_NUM_THREADS="1")
    server.wait_for_ping(200)
    return server


# -- reading the document


def resolved(value):
    """Follows a reference."""
    while isinstance(value, dict) and "$ref" in value:
        target = DOCUMENT
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


def operations():
    return {
        (method.upper(), path): operation
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def errors_of(value, schema):
    """What is wrong with a value."""
    validator = Draft202012Validator({"components": DOCUMENT["components"], **schema})
    return [error.message for error in validator.iter_errors(value)]


def written(value, media_type):
    """The bytes of a value of the document."""
    if media_type == JSON:
        return json.dumps(value).encode()
    if media_type == LINES:
        return b"\n".join(json.dumps(line).encode() for line in (value if isinstance(value, list) else [[value]]))
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def read(body, media_type):
    """The value that the document speaks of."""
    if media_type == JSON:
        return json.loads(body, parse_constant=pytest.fail)
    if media_type == LINES:
        return [json.loads(line, parse_constant=pytest.fail) for line in body.split(b"\n")] if body else []
    return body.decode("latin-1")


# -- the document and the code


def test_the_document_is_openapi():
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")
    names = [operation["operationId"] for operation in operations().values()]
    assert len(set(names)) == len(names)


def nothing(*_):
    pytest.fail("nothing is loaded")


def test_the_routes_are_those_of_the_applications():
    single = routes_of(create_app(nothing, Settings()))
    multi = routes_of(create_multi_model_app(nothing, Path("/models"), Settings(multi_model=True)))
    tagged = {route for route, operation in operations().items() if operation["tags"] == ["models"]}
    assert single | multi == set(operations())
    assert multi - single == tagged
    assert single - multi == {("GET", "/")}


def routes_of(app):
    return {
        (method, re.sub("<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def test_the_formats_are_those_of_the_codecs():
    for path in ("/invocations", "/endpoints/{name}/invocations", "/models/{name}/invoke"):
        operation = operations()["POST", path]
        assert set(operation["requestBody"]["content"]) == {JSON, LINES, RECORDIO}
        assert set(operation["responses"]["200"]["content"]) == {JSON, LINES, RECORDIO}


def test_the_errors_are_those_of_the_table():
    documented = set()
    for operation in operations().values():
        for status, answer in operation["responses"].items():
            answer = resolved(answer)
            assert "X-Request-Id" in answer["headers"]
            assert ("Retry-After" in answer["headers"]) == (status == "503")
            if status != "200":
                schema = resolved(answer["content"][JSON]["schema"])
                assert schema["allOf"] == [{"$ref": "#/components/schemas/Error"}]
                codes = schema["properties"]["error"]["properties"]["code"]["enum"]
                documented |= {(int(status), code) for code in codes}
    # Nobody is there to read 499; the others are the errors of the routing, and bugs
    table = {(status, code) for error, status, code in TABLE if error is not ClientGoneError}
    assert documented == table | {(404, "not_found"), (405, "method_not_allowed"), (500, "internal_error")}


@pytest.mark.parametrize("location", ["", "line 3"])
def test_an_error_is_what_the_table_makes_of_it(location):
    for status, answer in operations()["POST", "/invocations"]["responses"].items():
        if status != "200":
            schema = resolved(answer)["content"][JSON]["schema"]
            code = resolved(schema)["properties"]["error"]["properties"]["code"]["enum"][0]
            problem = Problem(int(status), code, "what is wrong", location)
            assert errors_of(json.loads(problem.to_json()), schema) == []
            assert errors_of({"error": {"code": "other", "message": "x", "location": None}}, schema) != []
    assert RETRY_AFTER_SECONDS >= 1


OPTIONS = DOCUMENT["components"]["schemas"]["Configuration"]["properties"]
EDGES = [
    *(-1, 0, 1, 2, 99, 100, 101, 999_999_998, 999_999_999, 10**9, 10**30, -(10**30), -0.1, 0.5, 1e300),
    *("0", "1", " 7\n", "07", "100", "101", "999999999", "1000000000", "1e3", "0.5", ".5", "5.", "-1", "+1", "1_0"),
    *("٣", "½", "nan", "inf", "Infinity", "1e99", "1e100", "1E+9", "2.2e-311", "1" * 99, "1" * 100, "0x10", "", "."),
    *(True, False, None, "true", " FALSE ", "True", "yes", "t rue", [], [1], {}, {"a": 1}),
]


def test_the_options_are_those_that_are_read():
    assert list(OPTIONS) == list(InstanceOptions.__dataclass_fields__)
    assert DOCUMENT["components"]["schemas"]["Configuration"]["additionalProperties"] is False


def agree(name, value):
    try:
        parse_configuration({name: value})
        is_read = True
    except ClientError:
        is_read = False
    assert (errors_of({name: value}, {"$ref": "#/components/schemas/Configuration"}) == []) == is_read, (name, value)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_may_have_the_values_that_are_read(name):
    for value in EDGES:
        agree(name, value)


@given(data=st.data(), name=st.sampled_from(list(OPTIONS)))
@settings(max_examples=EXAMPLES or 200, derandomize=not EXAMPLES, database=None, deadline=None)
def test_an_option_may_have_whatever_value_is_read(data, name):
    patterns = [choice["pattern"] for choice in OPTIONS[name]["oneOf"] if "pattern" in choice]
    value = data.draw(
        st.one_of(
            st.integers(-2, 10**10),
            st.integers(-2, 110),
            st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer()),
            st.text("0123456789.eE+-_ truefalsTRUEFALS\u0663", max_size=12),
            *(st.from_regex(re.compile(pattern, re.ASCII)) for pattern in patterns),
        )
    )
    agree(name, value)


def test_the_examples_are_what_the_document_says_of_them():
    count = 0
    for operation in operations().values():
        for body in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in resolved(body).get("content", {}).values():
                for example in content.get("examples", {}).values():
                    assert errors_of(example["value"], content["schema"]) == [], example
                    count += 1
    assert count > 50


# -- the document and a server


@pytest.mark.parametrize("path", ["/invocations", "/endpoints/{name}/invocations"])
def test_every_example_is_answered_as_documented(server, path):
    check_examples(server, path)


@pytest.fixture(scope="module")
def model(multi_model_server, base):
    """A model is loaded, as the document says."""
    operation = operations()["POST", "/models"]
    example = operation["requestBody"]["content"][JSON]["examples"]["load"]["value"]
    body = example | {"url": example["url"].replace("/opt/ml", str(base))}
    response = requests.post(f"{multi_model_server.url}/models", json=body, timeout=60)
    answer = check_answer(operation, response)
    expected = operation["responses"]["200"]["content"][JSON]["examples"]["load"]["value"]
    assert answer == expected | {"modelUrl": body["url"]}
    again = requests.post(f"{multi_model_server.url}/models", json=body, timeout=60)
    check_answer(operation, again, status=409)
    return answer


def test_every_example_is_answered_by_a_loaded_model(multi_model_server, model):
    check_examples(multi_model_server, "/models/{name}/invoke")


def test_models_are_found_listed_and_unloaded_as_documented(multi_model_server, model):
    url = f"{multi_model_server.url}/models"
    assert check_answer(operations()["GET", "/models"], requests.get(url, timeout=10)) == {"models": [model]}
    of_one, unloading = operations()["GET", "/models/{name}"], operations()["DELETE", "/models/{name}"]
    assert check_answer(of_one, requests.get(f"{url}/{NAME}", timeout=10)) == model
    check_answer(unloading, requests.delete(f"{url}/other", timeout=10), status=404)
    try:
        assert check_answer(unloading, requests.delete(f"{url}/{NAME}", timeout=30)) == model
        check_answer(of_one, requests.get(f"{url}/{NAME}", timeout=10), status=404)
        assert requests.get(url, timeout=10).json() == {"models": []}
    finally:
        body = {"model_name": NAME, "url": model["modelUrl"]}
        assert requests.post(url, json=body, timeout=60).status_code == 200


def check_examples(server, path):
    count = 0
    for media_type, body in operations()["POST", path]["requestBody"]["content"].items():
        for name, accepted in itertools.product(body["examples"], [JSON, LINES, RECORDIO, None]):
            check_example(server, path, media_type, name, accepted)
            count += 1
    assert count == 40


def check_example(server, path, media_type, name, accepted):
    operation = operations()["POST", path]
    body = written(operation["requestBody"]["content"][media_type]["examples"][name]["value"], media_type)
    headers = {"Content-Type": media_type, "X-Request-Id": name, "Accept": accepted or "*/*"}
    response = requests.post(server.url + path.replace("{name}", NAME), data=body, headers=headers, timeout=60)
    value = check_answer(operation, response)
    assert response.headers["Content-Type"] == (accepted or media_type)
    assert response.headers["X-Request-Id"] == name
    content = operation["responses"]["200"]["content"][accepted or media_type]
    if accepted is None and "examples" in content:
        assert shape_of(value, media_type) == shape_of(content["examples"][name]["value"], media_type)


def check_answer(operation, response, status=200):
    """Compares an answer with what the document says of it, and returns its value."""
    assert response.status_code == status, response.text
    answer = resolved(operation["responses"][str(status)])
    for name, header in answer["headers"].items():
        assert errors_of(response.headers[name], resolved(header)["schema"]) == [] or name == "Retry-After"
    if "content" not in answer:
        assert response.content == b""
        return None
    media_type = response.headers["Content-Type"].partition(";")[0]
    value = read(response.content, media_type)
    assert errors_of(value, answer["content"][media_type]["schema"]) == []
    return value


def shape_of(value, media_type):
    """Which keys an answer has where; translations and numbers are another matter."""
    if media_type == RECORDIO:
        records = [Record.FromString(payload) for payload in split_framed(value.encode("latin-1"))]
        return [(sorted(record.features), sorted(record.label)) for record in records]
    if isinstance(value, dict):
        return {key: None if key == "matrix" else shape_of(member, media_type) for key, member in value.items()}
    if isinstance(value, list):
        return [shape_of(member, media_type) for member in value]
    return None


def test_every_page_is_answered_as_documented(server):
    for path in ("/ping", "/execution-parameters", "/metrics", "/"):
        check_answer(operations()["GET", path], requests.get(server.url + path, timeout=10))


# -- requests that nobody has thought of


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_whatever_is_sent_the_answer_is_a_documented_one(server, tmp_path):
    fuzz(server, tmp_path, "--exclude-tag=models")


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_whatever_is_sent_to_a_multi_model_endpoint_the_answer_is_a_documented_one(multi_model_server, model, tmp_path):
    # Its other routes are those of every server
    fuzz(multi_model_server, tmp_path, "--include-tag=models", S2S_LOADED=NAME, S2S_TO_LOAD=model["modelUrl"])


def fuzz(server, folder, which, **environment):
    arguments = ["run", str(FILE), which, f"--url={server.url}", f"--max-examples={EXAMPLES or 40}"]
    arguments += ["--phases=coverage,fuzzing", "--checks=all", "--exclude-checks=positive_data_acceptance"]
    arguments += ["--max-response-time=20", "--warnings=off", "--no-color", "--suppress-health-check=all"]
    if EXAMPLES:
        arguments += ["--generation-database=none", "--continue-on-failure"]
    else:
        arguments += ["--generation-deterministic"]
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", *arguments]
    own = {"PYTHONPATH": f"{FOLDER}{os.pathsep}{FOLDER.parents[2]}", "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}
    run = subprocess.run(command, env=os.environ | own | environment, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    print(run.stdout)
    assert server.ping() == 200
    assert "Traceback" not in server.log()
