import io
import json

import numpy as np
import pytest

from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed, write_record
from s2s_algo.decoding.translation import Translation
from s2s_algo.errors import ClientError
from serve.codecs import Instance, Limits, Request, decode, encode
from serve.media_types import Format
from serve.options import InstanceOptions
from serve.problems import TooLargeError
from tests.unit.serve.fakes import translation_of

JSON, LINES, RECORDIO = Format.JSON, Format.JSON_LINES, Format.RECORDIO
LIMITS = Limits(instances=10, tokens=5)
WITH_MATRIX = InstanceOptions(attention_matrix=True)


def read(body, format_=JSON, parameters=None, limits=LIMITS):
    return decode(body if isinstance(body, bytes) else body.encode(), format_, parameters or {}, limits)


def sources(request):
    return [instance.source for instance in request.instances]


def matrices(request):
    return [instance.options.attention_matrix for instance in request.instances]


def request_of(*options, is_bare_list=False):
    return Request(tuple(Instance("", option, "") for option in options), is_bare_list)


# -- application/json


def test_json_instances_keep_their_order_and_know_their_place():
    request = read('{"instances": [{"data": "a b"}, {"data": ""}, {"data": "Zürich"}]}')
    assert sources(request) == ["a b", "", "Zürich"]
    assert [instance.place for instance in request.instances] == ["instance 1", "instance 2", "instance 3"]
    assert matrices(request) == [False, False, False]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("false", False), ('"true"', True), ('"True"', True), ('"false"', False), ('" TRUE "', True)],
)
def test_the_attention_matrix_is_asked_for_by_a_truth_value_or_its_text(value, expected):
    request = read(f'{{"instances": [{{"data": "a", "configuration": {{"attention_matrix": {value}}}}}]}}')
    assert matrices(request) == [expected]


def test_every_instance_has_its_own_configuration():
    body = {"instances": [{"data": "a", "configuration": {"attention_matrix": "true"}}, {"data": "b"}]}
    assert matrices(read(json.dumps(body))) == [True, False]


@pytest.mark.parametrize(
    "body",
    ['{"instances": [{"source": "a"}]}', '\ufeff{"instances": [{"data": "a"}]}', ' \n{"instances": [{"data": "a"}]}\n'],
)
def test_json_is_read_leniently(body):
    assert sources(read(body)) == ["a"]


def test_fields_that_clients_recognise_their_instances_by_are_ignored():
    assert sources(read('{"version": 2, "instances": [{"id": {"n": 7}, "data": "a"}]}')) == ["a"]


def test_no_instances_are_no_error():
    assert read('{"instances": []}') == Request(())


def test_a_bare_list_of_texts_is_remembered_as_such():
    request = read('["a b", "c"]')
    assert sources(request) == ["a b", "c"]
    assert request.is_bare_list


def test_a_bare_list_takes_its_option_from_the_content_type():
    assert matrices(read('["a", "b"]', parameters={"attention_matrix": "true"})) == [True, True]
    with pytest.raises(ClientError, match="Content-Type parameter 'attention_matrix' is '7'; it must be true or false"):
        read('["a"]', parameters={"attention_matrix": "7"})


# -- application/jsonlines


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"source": "a b"}\n{"source": "c"}', ["a b", "c"]),
        ('{"source": "a"}\n', ["a"]),
        ('{"source": "a"}\r\n{"source": "b"}\r\n', ["a", "b"]),
        ('{"source": "a"}\n\n \n', ["a"]),
        ('{"source": "a"}\n\n  \n{"source": "b"}', ["a", "", "", "b"]),
        ('\n{"source": "a"}', ["", "a"]),
        ('{"data": "a"}', ["a"]),
        ('{"data": 7, "source": "a"}', ["a"]),
        ('\ufeff{"source": "a"}', ["a"]),
        ('{"source": "a\u2028b\x85c"}\n{"source": "d"}', ["a\u2028b\x85c", "d"]),
        ('{"id": 1, "source": "a", "meta": {"x": [{}, {}, {}, {}, {}, {}]}}', ["a"]),
    ],
)
def test_a_line_is_an_instance_and_a_blank_line_inside_is_an_empty_one(body, expected):
    assert sources(read(body, LINES)) == expected


def test_lines_have_configurations_too():
    assert matrices(read('{"source": "a", "configuration": {"attention_matrix": true}}\n{"source": "b"}', LINES)) == [
        True,
        False,
    ]


# -- application/x-recordio-protobuf


def record_of(ids, configuration=None):
    record = Record()
    tensor = record.features["source"].int32_tensor
    tensor.SetInParent()
    tensor.values.extend(ids)
    if configuration is not None:
        record.configuration = configuration
    return record


def framed(*records):
    stream = io.BytesIO()
    for record in records:
        write_record(stream, record if isinstance(record, bytes) else record.SerializeToString())
    return stream.getvalue()


def test_the_bytes_that_the_original_client_sends_are_understood():
    body = bytes.fromhex("0a23d7ce 21000000 0a110a06736f7572636512073a050a030506070a0c0a0674617267657412023a00 000000")
    assert sources(read(body, RECORDIO)) == [[5, 6, 7]]


def test_records_keep_their_order_and_may_be_empty():
    assert sources(read(framed(record_of([5, 6]), record_of([]), record_of([7])), RECORDIO)) == [[5, 6], [], [7]]


def test_a_record_without_a_frame_is_one_record():
    assert sources(read(record_of([5, 6, 7]).SerializeToString(), RECORDIO)) == [[5, 6, 7]]


def test_a_record_may_carry_its_configuration_as_json_text():
    body = framed(record_of([5], '{"attention_matrix": "true"}'), record_of([6]))
    assert matrices(read(body, RECORDIO)) == [True, False]


# -- answers


def test_json_answers_are_predictions_and_only_those_that_asked_have_a_matrix():
    translations = [[translation_of(["a", "b"])], [translation_of(["Zürich"])]]
    answer = encode(request_of(WITH_MATRIX, InstanceOptions()), translations, JSON)
    assert (
        answer.decode()
        == '{"predictions": [{"target": "a b", "matrix": [[0.0, 1.0], [1.0, 0.0]]}, {"target": "Zürich"}]}'
    )


def test_a_bare_list_is_answered_by_a_bare_list():
    assert (
        encode(request_of(InstanceOptions(), is_bare_list=True), [[translation_of(["a"])]], JSON)
        == b'[{"target": "a"}]'
    )


def test_lines_are_answered_line_by_line_without_a_final_newline():
    answer = encode(
        request_of(InstanceOptions(), InstanceOptions()), [[translation_of(["a"])], [translation_of([])]], LINES
    )
    assert answer == b'{"target": "a"}\n{"target": ""}'


def test_an_empty_translation_has_an_empty_target_and_an_empty_matrix():
    empty = Translation((), (), 0.0, np.zeros((0, 3), dtype=np.float32))
    assert encode(request_of(WITH_MATRIX), [[empty]], JSON) == b'{"predictions": [{"target": "", "matrix": []}]}'


def test_matrix_rows_are_target_tokens_and_columns_source_tokens():
    attention = np.array([[0.1, 0.2, 0.7]], dtype=np.float32)
    answer = encode(request_of(WITH_MATRIX), [[Translation((4,), ("a",), 0.0, attention)]], JSON)
    assert json.loads(answer)["predictions"][0]["matrix"] == [[0.1, 0.2, 0.7]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_json_does_not_have_are_never_sent(value):
    attention = np.full((1, 1), value, dtype=np.float32)
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(request_of(WITH_MATRIX), [[Translation((4,), ("a",), 0.0, attention)]], JSON)


def test_tokens_that_utf_8_cannot_hold_still_give_valid_json():
    answer = encode(request_of(InstanceOptions()), [[translation_of(["a\ud800", '"', "\x00"])]], JSON)
    assert json.loads(answer.decode("utf-8"))["predictions"] == [{"target": 'a? " \x00'}]


def test_protobuf_answers_are_framed_records_with_target_ids():
    answer = encode(
        request_of(WITH_MATRIX, InstanceOptions()), [[translation_of(["a", "b"])], [translation_of(["c"])]], RECORDIO
    )
    records = [Record.FromString(payload) for payload in split_framed(answer)]
    assert [list(record.features["target"].int32_tensor.values) for record in records] == [[4, 5], [6]]
    assert [list(record.features) for record in records] == [["target"], ["target"]]


def test_an_empty_protobuf_answer_is_a_present_empty_tensor():
    answer = encode(request_of(InstanceOptions()), [[translation_of([])]], RECORDIO)
    assert answer == bytes.fromhex("0a23d7ce 0e000000 0a0c0a0674617267657412023a00 0000")


# -- limits


def test_as_many_instances_as_the_limit_allows_pass_and_one_more_does_not():
    for body in (
        lambda n: (json.dumps({"instances": [{"data": "a"}] * n}), JSON),
        lambda n: (json.dumps(["a"] * n), JSON),
        lambda n: ("\n".join(['{"source": "a"}'] * n), LINES),
        lambda n: (framed(*[record_of([4])] * n), RECORDIO),
    ):
        assert len(read(*body(10)).instances) == 10
        with pytest.raises(TooLargeError, match=r"11 instances; at most 10 are|more than 10 instances; send fewer"):
            read(*body(11))


def test_as_many_tokens_as_the_limit_allows_pass_and_one_more_does_not():
    for body in (
        lambda n: (json.dumps({"instances": [{"data": "a"}, {"data": " a" * n}]}), JSON),
        lambda n: (json.dumps({"source": "a"}) + "\n" + json.dumps({"source": "a " * n}), LINES),
        lambda n: (framed(record_of([4]), record_of([4] * n)), RECORDIO),
    ):
        assert len(read(*body(5)).instances) == 2
        with pytest.raises(TooLargeError) as caught:
            read(*body(6))
        assert caught.value.message == "more than 5 source tokens; split the text into several instances"
        assert caught.value.where in ("instance 2", "line 2", "record 2")
