"""Bodies from strangers: each has its expected status and a fragment of its message; a new case needs no code."""

import json
import random
import struct
import time

import pytest

from s2s_algo.data.record_pb2 import Record
from tests.unit.serve.fakes import frame, started_app

JSON, LINES, RECORDIO = "application/json", "application/jsonlines", "application/x-recordio-protobuf"
FRAME = struct.Struct("<II")
MAGIC = 0xCED7230A


def record(values=(5,), feature="source", kind="int32_tensor", configuration=None):
    message = Record()
    tensor = getattr(message.features[feature], kind)
    tensor.SetInParent()
    if kind == "bytes":
        tensor.value.append(b"a b")
    else:
        tensor.values.extend(values)
    if configuration is not None:
        message.configuration = configuration
    return message.SerializeToString()


def sparse():
    message = Record()
    message.features["source"].int32_tensor.values.append(5)
    message.features["source"].int32_tensor.keys.append(1)
    return message.SerializeToString()


def instance(text):
    return b'{"instances": [{"data": "a"}, ' + text.encode() + b"]}"


GOOD_RECORD = record()

CASES = {
    # the body as a whole
    "empty json": (b"", JSON, 400, "the body is empty; send at least one instance"),
    "empty lines": (b"", LINES, 400, "the body is empty"),
    "empty recordio": (b"", RECORDIO, 400, "the body is empty"),
    "blank json": (b" \n\t", JSON, 400, "the body is empty"),
    "blank lines": (b"\n\n  \n", LINES, 400, "the body is empty"),
    "byte order mark alone": (b"\xef\xbb\xbf", JSON, 400, "the body is empty"),
    "byte order mark alone in lines": (b"\xef\xbb\xbf", LINES, 400, "the body is empty"),
    "text": (b"hello", JSON, 400, "not valid JSON: Expecting value (line 1, column 1 of the text)"),
    "cut": (b'{"instances": [{"data": "a', JSON, 400, "not valid JSON: Unterminated string"),
    "two values": (b'{"instances": []} {}', JSON, 400, "not valid JSON: Extra data"),
    "lines sent as json": (b'{"source": "a"}\n{"source": "b"}', JSON, 400, "not valid JSON: Extra data (line 2"),
    "json sent as lines": (b'{"instances": []}', LINES, 400, "line 1: there is no 'source' (found 'instances')"),
    "json sent as recordio": (b'{"instances": []}', RECORDIO, 400, "record 1: 17 bytes that are not a protobuf Record"),
    "recordio sent as json": (frame(GOOD_RECORD), JSON, 400, "the text is not UTF-8: byte 3 is 0xd7"),
    "single quotes": (b"{'instances': []}", JSON, 400, "not valid JSON"),
    "trailing comma": (b'{"instances": [],}', JSON, 400, "not valid JSON"),
    "latin-1": (
        '{"instances": [{"data": "Zürich"}]}'.encode("latin-1"),
        JSON,
        400,
        "not UTF-8: byte 27 is 0xfc; send it",
    ),
    "utf-16": ('{"instances": []}'.encode("utf-16"), JSON, 400, "not UTF-8: byte 1 is 0xff"),
    "utf-8 surrogates": (b'{"instances": [{"data": "\xed\xa0\x80"}]}', JSON, 400, "not UTF-8: byte 26 is 0xed"),
    "overlong utf-8": (b'["\xc0\xaf"]', JSON, 400, "not UTF-8"),
    # types at every level
    "null": (b"null", JSON, 400, "the body is null; it must be an object such as"),
    "number": (b"7", JSON, 400, "the body is a number; it must be"),
    "string": (b'"a b"', JSON, 400, "the body is a string; it must be"),
    "true": (b"true", JSON, 400, "the body is a truth value; it must be"),
    "no instances": (
        b"{}",
        JSON,
        400,
        "the body has no 'instances' (the object is empty); it must be an object such as",
    ),
    "other key": (b'{"inputs": []}', JSON, 400, "the body has no 'instances' (found 'inputs')"),
    "many other keys": (b'{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}', JSON, 400, "'a', 'b', 'c', 'd', 'e', ...)"),
    "instances object": (b'{"instances": {}}', JSON, 400, "'instances' is an object; it must be"),
    "instances null": (b'{"instances": null}', JSON, 400, "'instances' is null"),
    "instances text": (b'{"instances": "a b"}', JSON, 400, "'instances' is a string"),
    "instance text": (instance('"a"'), JSON, 400, "instance 2: the instance is a string; it must be an object such as"),
    "instance null": (instance("null"), JSON, 400, "instance 2: the instance is null"),
    "instance array": (instance('["a"]'), JSON, 400, "instance 2: the instance is an array"),
    "instance empty": (instance("{}"), JSON, 400, "instance 2: there is no 'data' (the object is empty)"),
    "data null": (instance('{"data": null}'), JSON, 400, "instance 2: 'data' is null; it must be a string of tokens"),
    "data number": (instance('{"data": 7}'), JSON, 400, "instance 2: 'data' is a number"),
    "data array": (instance('{"data": ["a", "b"]}'), JSON, 400, "instance 2: 'data' is an array"),
    "data of the common format": (
        instance('{"data": {"features": {"values": [1]}}}'),
        JSON,
        400,
        "instance 2: 'data' is an object",
    ),
    "bare list of numbers": (b'["a", 7]', JSON, 400, "instance 2: a number in a list of texts"),
    "bare list of objects": (b'[{"data": "a"}]', JSON, 400, "instance 1: an object in a list of texts"),
    "line number": (
        b'{"source": "a"}\n7',
        LINES,
        400,
        "line 2: the instance is a number; it must be an object such as",
    ),
    "line array": (b'["a"]', LINES, 400, "line 1: the instance is an array"),
    "line text": (b"a b c", LINES, 400, "line 1: not valid JSON"),
    "line cut": (b'{"source": "a"}\n{"source": "b', LINES, 400, "line 2: not valid JSON: Unterminated string"),
    "line null": (b'{"source": null}', LINES, 400, "line 1: 'source' is null"),
    "object over two lines": (b'{\n"source": "a"}', LINES, 400, "line 1: not valid JSON"),
    "bad line after blank ones": (b'\n\n{"target": "a"}', LINES, 400, "line 3: there is no 'source' (found 'target')"),
    # configuration
    "configuration null": (
        instance('{"data": "", "configuration": null}'),
        JSON,
        400,
        "'configuration' is null; it must",
    ),
    "configuration text": (instance('{"data": "", "configuration": "x"}'), JSON, 400, "'configuration' is a string"),
    "configuration list": (instance('{"data": "", "configuration": []}'), JSON, 400, "'configuration' is an array"),
    "unknown option": (
        instance('{"data": "", "configuration": {"atention_matrix": true}}'),
        JSON,
        400,
        "instance 2: unknown configuration option 'atention_matrix'; the options are: attention_matrix",
    ),
    "option number": (
        instance('{"data": "", "configuration": {"attention_matrix": 1}}'),
        JSON,
        400,
        "instance 2: configuration option 'attention_matrix' is 1; it must be true or false",
    ),
    "option null": (
        instance('{"data": "", "configuration": {"attention_matrix": null}}'),
        JSON,
        400,
        "'attention_matrix' is null",
    ),
    "option text": (
        instance('{"data": "", "configuration": {"attention_matrix": "yes"}}'),
        JSON,
        400,
        "is 'yes'; it must be true",
    ),
    "option in a line": (
        b'{"source": "", "configuration": {"n": 1}}',
        LINES,
        400,
        "line 1: unknown configuration option 'n'",
    ),
    # what Python's parser would let pass, or choke on
    "NaN": (b'{"instances": [NaN]}', JSON, 400, "not valid JSON: NaN is no JSON value"),
    "Infinity": (b'{"instances": [{"data": "a", "x": Infinity}]}', JSON, 400, "Infinity is no JSON value"),
    "-Infinity": (b'{"source": -Infinity}', LINES, 400, "line 1: not valid JSON: -Infinity is no JSON value"),
    "duplicate instances": (
        b'{"instances": [], "instances": []}',
        JSON,
        400,
        "the key 'instances' occurs more than once",
    ),
    "duplicate data": (
        instance('{"data": "a", "data": "b"}'),
        JSON,
        400,
        "the key 'data' occurs more than once in one object",
    ),
    "duplicate in a line": (
        b'{"source": "a", "source": "b"}',
        LINES,
        400,
        "line 1: the key 'source' occurs more than once",
    ),
    "array bomb": (b"[" * 100_000, JSON, 400, "nested too deeply"),
    "large array bomb": (b"[" * 1_000_000, JSON, 413, "more than 410000 parts"),
    "object bomb": (b'{"a":' * 100_000, JSON, 400, "nested too deeply"),
    "closed array bomb": (b'{"instances": ' + b"[" * 90_000 + b"]" * 90_000 + b"}", JSON, 400, "nested too deeply"),
    "array bomb in a line": (
        b'{"source": "a"}\n' + b"[" * 9_000,
        LINES,
        400,
        "line 2: the JSON is nested too deeply",
    ),
    "long integer": (
        b'{"instances": [{"data": ' + b"9" * 1_000_000 + b"}]}",
        JSON,
        400,
        "an integer with too many digits",
    ),
    "long float": (b'{"instances": [{"data": ' + b"9" * 1_000_000 + b".5e-7}]}", JSON, 400, "'data' is a number"),
    "huge exponent": (b'{"instances": [{"data": 1e999999999}]}', JSON, 400, "'data' is a number"),
    "lone surrogate": (
        instance(r'{"data": "ab \ud800"}'),
        JSON,
        400,
        "instance 2: character 4 of the text is half a surrogate",
    ),
    "lone low surrogate": (rb'["\udc00"]', JSON, 400, r"half a surrogate pair (\udc00)"),
    "lone surrogate in a line": (
        rb'{"source": "\ud800"}',
        LINES,
        400,
        "line 1: character 1 of the text is half a surrogate",
    ),
    "lone surrogate in a key": (rb'{"\ud800": []}', JSON, 400, r"found '\ud800'"),
    "raw control character": (b'["a\x01"]', JSON, 400, "not valid JSON: Invalid control character"),
    "raw NUL": (b'["a\x00"]', JSON, 400, "not valid JSON: Invalid control character"),
    "NUL after the end": (b'["a"]\x00', JSON, 400, "not valid JSON: Extra data"),
    "NUL escaped": (rb'{"instances": [{"data": "a \u0000 b"}]}', JSON, 200, '{"target": "b <unk> a"}'),
    "surrogate pair": (rb'["\ud83d\ude00 a"]', JSON, 200, '[{"target": "a <unk>"}]'),
    "padding token": (b'["<pad> a"]', JSON, 200, '[{"target": "a <unk>"}]'),
    "special tokens": (b'["<s> </s>"]', JSON, 200, '[{"target": "</s> <s>"}]'),
    "white space of all kinds": ('["\\t a\\n\u2028b\u00a0c\u3000 "]'.encode(), JSON, 200, '[{"target": "c b a"}]'),
    "long key": (b'{"' + b"k" * 1_000_000 + b'": 1}', JSON, 400, "kkk...kkk"),
    # too much
    "many instances": (
        b'{"instances": [' + b'{"data": "a"},' * 1_000_000 + b"{}]}",
        JSON,
        413,
        "the JSON has more than 410000 parts (strings,",
    ),
    "some instances too many": (
        b'{"instances": [' + b'{"data": "a"},' * 10_000 + b"{}]}",
        JSON,
        413,
        "10001 instances; at most 10000",
    ),
    "many texts": (b"[" + b'"a",' * 1_000_000 + b'"a"]', JSON, 413, "more than 410000 parts"),
    "many empty objects": (
        b'{"instances": [' + b"{}," * 5_000_000 + b"{}]}",
        JSON,
        413,
        "the JSON has more than 410000 parts (strings,",
    ),
    "many empty arrays": (b"[" + b"[]," * 8_000_000 + b"[]]", JSON, 413, "more than 410000 parts"),
    "many numbers": (b"[" + b"0.5," * 6_000_000 + b"1]", JSON, 413, "more than 410000 parts"),
    "many keys": (b"{" + b'"a":0,' * 4_000_000 + b'"b":0}', JSON, 413, "more than 410000 parts"),
    "many escaped quotes": (b'["' + b'\\"' * 10_000_000, JSON, 400, "not valid JSON: Unterminated string"),
    "much in a line": (
        b'{"source": "a", "x": [' + b"[]," * 100_000 + b"[]]}",
        LINES,
        413,
        "line 1: the JSON has more than",
    ),
    "many lines": (b'{"source": "a"}\n' * 1_000_000, LINES, 413, "more than 10000 instances; send fewer per request"),
    "many blank lines": (b"\n" * 20_000_000 + b"7", LINES, 413, "more than 10000 instances"),
    "many records": (frame(GOOD_RECORD) * 100_000, RECORDIO, 413, "more than 10000 instances"),
    "long text": (
        b'["a", "' + b"a " * 5_000_000 + b'"]',
        JSON,
        413,
        "instance 2: more than 10000 source tokens; split the text",
    ),
    "long line": (b'{"source": "' + b"a " * 10_001 + b'"}', LINES, 413, "line 1: more than 10000 source tokens"),
    "long record": (frame(record([5] * 10_001)), RECORDIO, 413, "record 1: more than 10000 source tokens"),
    "long body": (
        b" " * (25 * 2**20 + 1),
        JSON,
        413,
        "the body of 26214401 bytes is over the limit of 26214400 bytes (25 MB)",
    ),
    # records
    "wrong magic": (FRAME.pack(MAGIC, 0) + FRAME.pack(7, 0), RECORDIO, 400, "record 1: there is no feature 'source'"),
    "wrong second magic": (frame(GOOD_RECORD) + FRAME.pack(7, 0), RECORDIO, 400, "record 2: a frame must begin with"),
    "header cut": (frame(GOOD_RECORD)[:6], RECORDIO, 400, "record 1: 6 bytes are left"),
    "payload cut": (frame(GOOD_RECORD)[:20], RECORDIO, 400, "record 1: the header promises"),
    "length of half a gigabyte": (FRAME.pack(MAGIC, 2**29 - 1) + b"x", RECORDIO, 400, "promises 536870911 bytes"),
    "length of 4 gigabytes": (
        FRAME.pack(MAGIC, 2**32 - 1) + b"x",
        RECORDIO,
        400,
        "record 1: the continuation flag is 7",
    ),
    "split record without end": (FRAME.pack(MAGIC, 1 << 29), RECORDIO, 400, "the stream ends before the last part"),
    "second record cut": (frame(GOOD_RECORD) + frame(GOOD_RECORD)[:9], RECORDIO, 400, "record 2: the header promises"),
    "frame without payload": (
        FRAME.pack(MAGIC, 0),
        RECORDIO,
        400,
        "record 1: there is no feature 'source' (found: none)",
    ),
    "random payload": (frame(b"\xff" * 64), RECORDIO, 400, "record 1: 64 bytes that are not a protobuf Record"),
    "packed length lies": (
        frame(bytes.fromhex("0a110a06736f7572636512073a050affffff07")),
        RECORDIO,
        400,
        "not a protobuf Record",
    ),
    "group bomb": (frame(b"\x0b" * 100_000), RECORDIO, 400, "not a protobuf Record"),
    "other feature": (frame(record(feature="values")), RECORDIO, 400, "there is no feature 'source' (found: 'values')"),
    "float tokens": (
        frame(record([5.0], kind="float32_tensor")),
        RECORDIO,
        400,
        "record 1: feature 'source' holds float32_tensor",
    ),
    "double tokens": (frame(record([5.0], kind="float64_tensor")), RECORDIO, 400, "holds float64_tensor"),
    "byte tokens": (frame(record(kind="bytes")), RECORDIO, 400, "holds bytes"),
    "sparse tokens": (frame(sparse()), RECORDIO, 400, "feature 'source' is a sparse tensor"),
    "feature without value": (frame(b"\x0a\x0a\x0a\x06source\x12\x00"), RECORDIO, 400, "holds no value"),
    "id too large": (
        frame(GOOD_RECORD) + frame(record([5, 8])),
        RECORDIO,
        400,
        "record 2: source id 8 is outside 1 to 7",
    ),
    "id 0": (
        frame(record([0])),
        RECORDIO,
        400,
        "record 1: source id 0 is outside 1 to 7, the ids of the source vocabulary",
    ),
    "negative id": (frame(record([-1])), RECORDIO, 400, "record 1: source id -1 is outside 1 to 7"),
    "record configuration text": (frame(record(configuration="x")), RECORDIO, 400, "record 1: not valid JSON"),
    "record configuration list": (
        frame(record(configuration="[]")),
        RECORDIO,
        400,
        "record 1: 'configuration' is an array",
    ),
    "record configuration bomb": (
        frame(record(configuration="[" * 9_000)),
        RECORDIO,
        400,
        "record 1: the JSON is nested",
    ),
    "record configuration option": (
        frame(record(configuration='{"n": 1}')),
        RECORDIO,
        400,
        "unknown configuration option 'n'",
    ),
    "record configuration not utf-8": (
        frame(GOOD_RECORD + b"\x2a\x02\xff\xfe"),
        RECORDIO,
        400,
        "record 1: the text is not UTF-8: byte 1 is 0xff",
    ),
    "feature name not utf-8": (
        frame(b"\x0a\x08\x0a\x02\xff\xfe\x12\x02\x3a\x00"),
        RECORDIO,
        400,
        r"record 1: there is no feature 'source' (found: b'\xff\xfe')",
    ),
    # headers
    "csv": (b"a,b", "text/csv", 415, "Content-Type 'text/csv' is not supported; send one of"),
    "octet stream": (b'["a"]', "application/octet-stream", 415, "does not say which format the body has"),
    "form": (b"a=b", "application/x-www-form-urlencoded", 415, "is not supported"),
    "multipart": (b"--x", "multipart/form-data; boundary=x", 415, "is not supported"),
    "no content type": (b'["a"]', None, 415, "the request has no Content-Type"),
}


@pytest.fixture(scope="module")
def client():
    return started_app().test_client()


def text_of(response):
    """Location and message of an error, or the body of an answer."""
    if response.status_code == 200:
        return response.get_data(as_text=True)
    error = json.loads(response.get_data(as_text=True))["error"]
    assert set(error) == {"code", "message", "location"}
    return f"{error['location']}: {error['message']}" if error["location"] else error["message"]


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_body_gets_its_status_and_a_message_that_says_why(client, name):
    body, content_type, status, fragment = CASES[name]
    started = time.monotonic()
    response = client.post("/invocations", data=body, content_type=content_type)
    assert (response.status_code, fragment in text_of(response)) == (status, True), text_of(response)[:500]
    assert time.monotonic() - started < 5
    assert len(response.data) < 1000


def test_afterwards_a_normal_request_is_answered_as_ever(client):
    response = client.post("/invocations", data=b'{"instances": [{"data": "a b c"}]}', content_type=JSON)
    assert response.get_json() == {"predictions": [{"target": "c b a"}]}


GOOD_BODIES = [
    (b'{"instances": [{"data": "a b"}, {"data": "c", "configuration": {"attention_matrix": "true"}}]}', JSON),
    (b'["a b", "c"]', JSON),
    (b'{"source": "a b"}\n\n{"data": "c", "configuration": {"attention_matrix": false}}\n', LINES),
    (frame(GOOD_RECORD) + frame(record([4, 5, 6], configuration='{"attention_matrix": true}')), RECORDIO),
    (GOOD_RECORD, RECORDIO),
]
PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\u",
    b"\xff",
    b"\x00",
    b"null",
    b"NaN",
    b"-",
    b"1e9",
    b"\n",
    b"\x0a\x23\xd7\xce",
]


def mutated(body, rng):
    body = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(body) + 1)
        end = min(len(body), start + rng.randint(0, 8))
        kind = rng.randrange(5)
        if kind == 0 and body:
            body[start - 1] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del body[start:end]
        elif kind == 2:
            body[start:start] = rng.choice(PIECES)
        elif kind == 3:
            body[start:start] = body[start:end] * rng.randint(1, 50)
        else:
            body[start:end] = rng.randbytes(end - start)
    return bytes(body)


@pytest.mark.parametrize("seed", range(10))
def test_random_bodies_never_get_a_server_error(client, seed):
    rng = random.Random(seed)
    for _ in range(40):
        body, content_type = rng.choice(GOOD_BODIES)
        if rng.random() < 0.2:
            body = rng.randbytes(rng.randint(0, 200))
        else:
            body = mutated(body, rng)
        if rng.random() < 0.1:
            content_type = rng.choice([JSON, LINES, RECORDIO, "text/plain", "", '\x7f;;="q'])
        accept = rng.choice([None, "*/*", JSON, LINES, RECORDIO, "text/csv", ";,q=;", "a/b;q=0.1, */*;q=0"])
        headers = {} if accept is None else {"Accept": accept}
        response = client.post("/invocations", data=body, content_type=content_type, headers=headers)
        assert response.status_code in {200, 400, 406, 413, 415}, (body, content_type, accept)
        if response.status_code != 200 or response.content_type == JSON:
            json.loads(response.data, parse_constant=pytest.fail)
