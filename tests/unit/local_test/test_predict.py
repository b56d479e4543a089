import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test import predict
from local_test.predict import RequestError, decode_records, encode_record
from s2s_algo.data.pairs import encode_pair, parse_pair
from s2s_algo.data.recordio import read_records, write_record

IDS = st.lists(st.integers(1, 2**31 - 1), max_size=20)


def framed(payload: bytes, folder: Path) -> bytes:
    with (folder / "frame").open("wb") as stream:
        write_record(stream, payload)
    return (folder / "frame").read_bytes()


def test_json_asks_for_attention_as_the_notebook_does(endpoint):
    endpoint.answer = lambda _: (200, json.dumps({"predictions": [{"target": "K", "matrix": [[1.0]]}]}).encode())
    assert predict.predict_json(endpoint.url, ["c"], attention=True) == [{"target": "K", "matrix": [[1.0]]}]
    path, headers, body = endpoint.requests[0]
    assert path == "/invocations"
    assert headers["Content-Type"] == headers["Accept"] == "application/json"
    assert json.loads(body) == {"instances": [{"data": "c", "configuration": {"attention_matrix": "true"}}]}


def test_json_without_attention_sends_no_configuration(endpoint):
    endpoint.answer = lambda _: (200, b'{"predictions": [{"target": "K"}]}')
    predict.predict_json(endpoint.url, ["c"])
    assert json.loads(endpoint.requests[0][2]) == {"instances": [{"data": "c"}]}


def test_json_lines_are_one_object_a_line(endpoint):
    endpoint.answer = lambda _: (200, b'{"target": "K"}\n{"target": ""}')
    assert predict.predict_json_lines(endpoint.url, ["c", ""]) == [{"target": "K"}, {"target": ""}]
    assert endpoint.requests[0][2] == b'{"source": "c"}\n{"source": ""}'


def test_recordio_carries_ids_there_and_back(endpoint, tmp_path):
    endpoint.answer = lambda _: (200, framed(encode_pair([], [300, 4]), tmp_path))
    assert predict.predict_recordio(endpoint.url, [[5, 6, 7]]) == [[300, 4]]
    assert endpoint.requests[0][1]["Content-Type"] == "application/x-recordio-protobuf"


def test_a_request_record_has_the_bytes_of_the_published_client():
    expected = "0a23d7ce210000000a110a06736f7572636512073a050a030506070a0c0a0674617267657412023a00000000"
    assert encode_record([5, 6, 7]).hex() == expected


@given(source=IDS)
def test_the_product_reads_what_the_client_writes(source, tmp_path_factory):
    file = tmp_path_factory.mktemp("request") / "request"
    file.write_bytes(encode_record(source))
    with file.open("rb") as stream:
        assert [parse_pair(payload) for payload in read_records(stream)] == [(source, [])]


@given(targets=st.lists(IDS, max_size=3))
def test_the_client_reads_what_the_product_writes(targets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answer")
    data = b"".join(framed(encode_pair([9], target), folder) for target in targets)
    assert list(decode_records(data)) == targets


def test_a_cut_answer_is_an_error(tmp_path):
    data = framed(encode_pair([9], [300]), tmp_path)
    for end in range(1, len(data) - 3):
        with pytest.raises(RequestError):
            list(decode_records(data[:end]))


@given(st.binary(max_size=40))
def test_bytes_that_are_no_records_are_an_error_and_never_a_crash(data):
    with contextlib.suppress(RequestError):
        list(decode_records(data))


def test_an_error_answer_is_shown_with_its_status_and_text(endpoint):
    endpoint.answer = lambda _: (400, "line 1 is empty ✗".encode())
    with pytest.raises(RequestError, match="the endpoint answered 400: line 1 is empty ✗"):
        predict.predict_json(endpoint.url, [""])


def test_an_endpoint_that_is_not_there_is_named(endpoint):
    endpoint.server_close()
    with pytest.raises(RequestError, match=f"no answer from {endpoint.url}"):
        predict.predict_json(endpoint.url, ["c"])


def test_a_proxy_for_the_internet_is_not_used(endpoint):
    code = f"from local_test import predict; print(predict.is_ready({endpoint.url!r}))"
    environment = {"http_proxy": "http://127.0.0.1:9", "PYTHONPATH": str(Path(predict.__file__).parents[1])}
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert finished.stdout == "True\n"


def test_ready_means_that_ping_answers_200(endpoint):
    assert predict.is_ready(endpoint.url)
    endpoint.answer = lambda _: (503, b"loading")
    assert not predict.is_ready(endpoint.url)
    assert [path for path, *_ in endpoint.requests] == ["/ping", "/ping"]


def run_client(*arguments: str, **options) -> subprocess.CompletedProcess:
    # -I: neither installed packages nor this repository, as on a machine that has nothing but Python
    command = [sys.executable, "-I", "-S", predict.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_the_client_alone_needs_nothing_but_python_and_prints_a_matrix(endpoint):
    answer = {"predictions": [{"target": "K AE", "matrix": [[0.75, 0.25], [0.0, 1.0]]}]}
    endpoint.answer = lambda _: (200, json.dumps(answer).encode())
    finished = run_client("--url", endpoint.url, "--attention", "c a")
    assert finished.stderr == ""
    assert finished.stdout.splitlines() == ["c a  ->  K AE", "      c    a", " K 0.75 0.25", "AE 0.00 1.00"]


def test_the_client_reads_sentences_from_its_input(endpoint):
    endpoint.answer = lambda _: (200, b'{"target": "K"}')
    finished = run_client("--url", endpoint.url, "--format", "jsonlines", input="c\n")
    assert finished.stdout == "c  ->  K\n"


def test_the_client_looks_words_up_for_recordio(endpoint, tmp_path):
    special = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3}
    (tmp_path / "vocab.src.json").write_text(json.dumps({**special, "c": 4}))
    (tmp_path / "vocab.trg.json").write_text(json.dumps({**special, "K": 4}))
    endpoint.answer = lambda _: (200, framed(encode_pair([], [4]), tmp_path))
    finished = run_client("--url", endpoint.url, "--format", "recordio", "--vocabularies", str(tmp_path), "c é")
    assert finished.stdout == "c é  ->  K\n"
    assert endpoint.requests[0][2] == encode_record([4, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "recordio", "c"], "needs --vocabularies"),
        (["--format", "jsonlines", "--attention", "c"], "--attention needs --format json"),
    ],
)
def test_options_that_cannot_work_are_explained(arguments, message):
    finished = run_client(*arguments)
    assert finished.returncode == 2
    assert message in finished.stderr
