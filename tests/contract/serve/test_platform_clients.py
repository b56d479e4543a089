"""boto3's client of endpoints, and requests as batch transform makes them."""

import io
import json

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed, write_record

RECORDIO = "application/x-recordio-protobuf"


@pytest.fixture(scope="module")
def server(start_server):
    server = start_server()
    server.wait_for_ping(200)
    return server


@pytest.fixture(scope="module")
def runtime(server):
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.url,
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )


def frame(ids):
    stream = io.BytesIO()
    write_record(stream, encode_pair(ids, []))
    return stream.getvalue()


def test_boto3_gets_its_translations(runtime):
    body = json.dumps({"instances": [{"data": "a b c"}, {"data": ""}]})
    answer = runtime.invoke_endpoint(EndpointName="seq2seq", ContentType="application/json", Body=body)
    assert answer["ContentType"] == "application/json"
    assert json.load(answer["Body"]) == {"predictions": [{"target": "c b a"}, {"target": ""}]}


def test_boto3_gets_records_for_records_and_lines_if_it_asks_for_them(runtime):
    body = frame([4, 5]) + frame([6])
    answer = runtime.invoke_endpoint(EndpointName="x", ContentType=RECORDIO, Body=body)
    records = [Record.FromString(payload) for payload in split_framed(answer["Body"].read())]
    assert [list(record.features["target"].int32_tensor.values) for record in records] == [[5, 4], [6]]
    answer = runtime.invoke_endpoint(EndpointName="x", ContentType=RECORDIO, Accept="application/jsonlines", Body=body)
    assert answer["Body"].read() == b'{"target": "b a"}\n{"target": "c"}'


def test_boto3_raises_an_error_with_what_is_wrong(runtime):
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName="x", ContentType="application/json", Body=b'{"inputs": []}')
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.fixture(scope="module")
def transform(start_server):
    """A server as local mode starts it for a transform job."""
    server = start_server(SAGEMAKER_BATCH="True", SAGEMAKER_MAX_CONCURRENT_TRANSFORMS="1")
    server.wait_for_ping(200)
    return server


def post(server, body, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(f"{server.url}/invocations", data=body, headers=headers, timeout=60)


def test_no_batch_strategy_is_suggested_and_the_job_s_concurrency_is(transform):
    answer = requests.get(f"{transform.url}/execution-parameters", timeout=60)
    assert answer.json() == {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 6}


def test_a_line_that_keeps_its_end_is_one_line(transform):
    answer = post(transform, b'{"source": "a b"}\n', Content_Type="application/jsonlines")
    assert answer.content == b'{"target": "b a"}'


def test_several_lines_of_a_batch_are_answered_by_as_many_without_an_end_that_assembling_adds(transform):
    lines = b"".join(b'{"source": "%s"}\n' % text for text in (b"a", b"b", b"c a"))
    answer = post(transform, lines, Content_Type="application/jsonlines")
    assert answer.content == b'{"target": "a"}\n{"target": "b"}\n{"target": "a c"}'


def test_a_record_without_its_frame_is_answered(transform):
    answer = post(transform, encode_pair([4, 5, 6], []), Content_Type=RECORDIO)
    [payload] = split_framed(answer.content)
    assert list(Record.FromString(payload).features["target"].int32_tensor.values) == [6, 5, 4]


def test_an_accept_that_is_absent_means_the_format_of_the_request(transform):
    session = requests.Session()
    request = requests.Request(
        "POST",
        f"{transform.url}/invocations",
        data=b'{"source": "a"}',
        headers={"Content-Type": "application/jsonlines"},
    )
    prepared = session.prepare_request(request)
    del prepared.headers["Accept"]
    answer = session.send(prepared, timeout=60)
    assert (answer.headers["Content-Type"], answer.content) == ("application/jsonlines", b'{"target": "a"}')


def test_a_bad_line_names_itself(transform):
    answer = post(transform, b'{"source": "a"}\n{"sorce": "b"}\n', Content_Type="application/jsonlines")
    assert answer.status_code == 400
    assert answer.json()["error"]["location"] == "line 2"
