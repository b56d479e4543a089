"""``docker run IMAGE serve``: over HTTP, with the platform's limits, until it is stopped."""

import io
import json
import shutil
import threading
import time
from pathlib import Path

import pytest
import requests

from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed, write_record
from s2s_algo.decoding.translator import Translator
from tests.image.engine import SERVE_GRACE_SECONDS, invoke, is_ready, ping
from tests.image.folders import CAREFUL, model_mount

pytestmark = pytest.mark.image

JSON, JSON_LINES, RECORDIO = "application/json", "application/jsonlines", "application/x-recordio-protobuf"
_REQUEST_SECONDS = 5
TEXTS = ["src1 src2 src3", "src7", "src4 src4 src9 src0 src11"]


@pytest.fixture(scope="module")
def expected(trained):
    """What the model says on this machine."""
    translator = Translator.load(trained)
    return [translator.translate([translator.source_vocabulary.encode(text)])[0] for text in TEXTS]


def assert_answers(url, expected):
    body = json.dumps({"instances": [{"data": text, "configuration": {"attention_matrix": "true"}} for text in TEXTS]})
    predictions = invoke(url, body.encode(), JSON).json()["predictions"]
    assert [prediction["target"] for prediction in predictions] == [translation.text for translation in expected]
    for text, prediction in zip(TEXTS, predictions, strict=True):
        assert all(len(row) == len(text.split()) for row in prediction["matrix"])
        assert [sum(row) for row in prediction["matrix"]] == pytest.approx([1.0] * len(prediction["matrix"]), abs=1e-5)

    lines = "\n".join(json.dumps({"source": text}) for text in TEXTS)
    answers = [json.loads(line)["target"] for line in invoke(url, lines.encode(), JSON_LINES).text.splitlines()]
    assert answers == [translation.text for translation in expected]


def frames(sequences):
    stream = io.BytesIO()
    for ids in sequences:
        write_record(stream, encode_pair(ids, []))
    return stream.getvalue()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("options", [[], CAREFUL], ids=["as the platform", "with next to no rights"])
def test_an_endpoint_answers_all_formats(engine, network, trained, expected, options, workers):
    server, url = engine.serve(network, [*options, *model_mount(trained)], SAGEMAKER_MODEL_SERVER_WORKERS=workers)
    server.wait_until(is_ready(url), "answer to /ping")
    assert_answers(url, expected)
    answer = invoke(url, frames([[5, 6, 7]]), RECORDIO)
    [payload] = split_framed(answer.content)
    ids = Record.FromString(payload).features["target"].int32_tensor.values
    assert Translator.load(trained).target_vocabulary.decode(ids) == expected[0].text.split()
    assert invoke(url, b"{", JSON).status_code == 400
    assert requests.get(f"{url}/execution-parameters", timeout=10).json()["MaxConcurrentTransforms"] == int(workers)
    stopped = server.stop(SERVE_GRACE_SECONDS)
    assert stopped.exit_code == 0, stopped.log
    assert "Traceback" not in stopped.log


def test_a_port_of_the_platform_is_used(engine, network, trained):
    server, url = engine.serve(network, model_mount(trained), SAGEMAKER_BIND_TO_PORT="9123")
    server.wait_until(is_ready(url), "answer to /ping")


def test_a_request_under_way_gets_its_answer_when_the_container_is_stopped(engine, network, trained):
    server, url = engine.serve(network, [*CAREFUL, *model_mount(trained)], OMP_NUM_THREADS="1")
    server.wait_until(is_ready(url), "answer to /ping")
    text = " ".join(f"src{number % 12}" for number in range(10))
    instances = [{"data": text, "configuration": {"beam_size": 15}}] * 100
    started = time.monotonic()
    assert invoke(url, json.dumps({"instances": instances}).encode(), JSON).status_code == 200
    # Some seconds of work, on whatever machine: more than until the container is stopped, less than it is given then.
    instances *= min(40, 1 + int(_REQUEST_SECONDS / (time.monotonic() - started)))
    body = json.dumps({"instances": instances}).encode()
    answers = []
    request = threading.Thread(target=lambda: answers.append(invoke(url, body, JSON)))
    request.start()
    time.sleep(1)
    assert not answers, "the request took no time, so that this test tells nothing"
    stopped = server.stop(SERVE_GRACE_SECONDS)
    request.join()
    assert stopped.exit_code == 0, stopped.log
    assert answers[0].status_code == 200
    assert len(answers[0].json()["predictions"]) == len(instances)
    assert ping(url) == 0


def test_a_model_that_cannot_be_loaded_ends_the_container(engine, network, trained, tmp_path):
    broken = Path(shutil.copytree(trained, tmp_path / "model"))
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    server, _ = engine.serve(network, model_mount(broken))
    ended = server.wait()
    assert ended.exit_code == 2
    assert "model.safetensors" in ended.log


def test_a_health_check_of_the_operator_finds_it_healthy(engine, network, trained):
    page = (Path(__file__).parents[2] / "docs/image.md").read_text()
    check = next(line.strip() for line in page.splitlines() if line.strip().startswith("python -c"))
    options = ["--health-cmd", check, "--health-interval", "1s", "--health-timeout", "10s"]
    server, _ = engine.serve(network, [*CAREFUL, *options, *model_mount(trained)])
    server.wait_until(lambda: server.inspect("{{.State.Health.Status}}") == "healthy", "good health")
