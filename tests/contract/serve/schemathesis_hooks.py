"""What schemathesis, which test_openapi.py runs, must be told: formats that it does not know, and checks of our own."""

import io
import json
import os
import re
import zlib

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation

from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed, write_record

JSON, LINES, RECORDIO = "application/json", "application/jsonlines", "application/x-recordio-protobuf"

WORDS = 120  # of the vocabularies of the server

NO_FORMAT = ("text/csv", ";q=,;")
ACCEPTED = (*[None, "*/*", JSON, LINES, RECORDIO, f"text/html, {JSON};q=0.5"] * 3, *NO_FORMAT)

# Why a request may be refused that is as the document wants it: because of the model or the disk, because JSON has one
# kind of number, so that no schema can tell 7.0 from 7, or because patterns do not know what can be printed.
UNDOCUMENTED = re.compile(
    r"n_best: \d+ is not in 1 … \d+ \(the beam size\)|is \S+\.0; it must be an integer"
    r"|it must be printable|which is outside|must be an absolute path"
)

SPARE = "spare"  # a model that comes and goes


@schemathesis.serializer(LINES)
def write_lines(context, value):
    # What is no array becomes a line that is one: wrong as well
    lines = value if isinstance(value, list) else [[value]]
    return "\n".join(map(json.dumps, lines)).encode()


@schemathesis.deserializer(LINES)
def read_lines(context, response):
    return [json.loads(line) for line in response.content.split(b"\n")] if response.content else []


@st.composite
def records(draw):
    sentences = st.lists(st.integers(1, WORDS - 1), max_size=20)
    payloads = []
    for ids in draw(st.lists(sentences, min_size=1, max_size=5)):
        record = Record()
        record.features["source"].int32_tensor.SetInParent()
        record.features["source"].int32_tensor.values.extend(ids)
        if draw(st.booleans()):
            record.configuration = json.dumps({"n_best": draw(st.integers(1, 5)), "attention_matrix": "true"})
        payloads.append(record.SerializeToString())
    if len(payloads) == 1 and draw(st.booleans()):
        return payloads[0]
    stream = io.BytesIO()
    for payload in payloads:
        write_record(stream, payload)
    return stream.getvalue()


schemathesis.openapi.media_type(RECORDIO, records())


@schemathesis.hook
def before_call(context, case, kwargs):
    """Puts in what the document cannot know; it is always the same for the same request."""
    number = zlib.crc32(repr((case.body, case.path_parameters)).encode())
    accepted = ACCEPTED[number % len(ACCEPTED)]
    if case.method == "POST" and accepted is not None:
        case.headers["Accept"] = accepted
    path = case.meta.components.get(ParameterLocation.PATH)
    if path is not None and path.mode.is_positive and "{name}" in case.path and number % 4:
        # What is loaded from the beginning stays
        case.path_parameters["name"] = SPARE if case.method == "DELETE" else os.environ.get("S2S_LOADED", "any")
    if case.path == "/models" and case.method == "POST" and case.meta.generation.mode.is_positive and number % 4:
        case.body |= {"model_name": SPARE, "url": os.environ["S2S_TO_LOAD"]}


def translates(case):
    return case.method == "POST" and case.path.endswith(("invocations", "invoke"))


@schemathesis.check
def what_is_documented_is_accepted(ctx, response, case):
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code == 200:
        return
    error = response.json()["error"]
    match error["code"]:
        case "not_acceptable":
            assert case.headers["Accept"] in NO_FORMAT, error
        case "model_not_found":
            assert case.path.startswith("/models")
        case "model_exists":
            assert (case.method, case.path) == ("POST", "/models")
        case code:
            assert code == "bad_request", error
            assert UNDOCUMENTED.search(error["message"]), error


@schemathesis.check
def the_answer_has_the_format_that_was_asked_for(ctx, response, case):
    if not translates(case) or response.status_code != 200:
        return
    accepted = case.headers.get("Accept", "*/*")
    [content_type] = response.headers["content-type"]
    if accepted in (JSON, LINES, RECORDIO):
        assert content_type == accepted
    elif accepted == "*/*":
        assert content_type == case.media_type
    else:
        assert content_type == JSON


@schemathesis.check
def there_is_an_answer_for_every_instance(ctx, response, case):
    if not translates(case) or response.status_code != 200 or case.media_type == RECORDIO:
        return
    asked = len(case.body if isinstance(case.body, list) else case.body["instances"])
    match response.headers["content-type"]:
        case ["application/json"]:
            answer = response.json()
            answered = len(answer if isinstance(answer, list) else answer["predictions"])
        case ["application/jsonlines"]:
            answered = len(read_lines(None, response))
        case _:
            answered = len(split_framed(response.content))
    assert answered == asked
