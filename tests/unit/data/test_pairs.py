"""The record schema, and token pairs in it."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data import record_pb2
from s2s_algo.data.pairs import Pair, encode_pair, parse_pair
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed, write_record
from s2s_algo.errors import ClientError

SCHEMA = Path("s2s_algo/data/record.proto")
ROOT = Path(record_pb2.__file__).parents[2]

# Frames made by another program from the public schema.
PAIR_FRAME = bytes.fromhex(
    "0a23d7ce 25000000 0a110a06736f7572636512073a050a030506070a100a0674617267657412063a040a02ac02 000000"
)
EMPTY_TARGET_FRAME = bytes.fromhex(
    "0a23d7ce 21000000 0a110a06736f7572636512073a050a030506070a0c0a0674617267657412023a00 000000"
)

ids = st.lists(st.integers(-(2**31), 2**31 - 1))


def failure(record):
    with pytest.raises(ClientError) as error:
        parse_pair(record.SerializeToString())
    return str(error.value)


def record_with(name, kind, values):
    record = Record()
    record.features["source"].int32_tensor.values.append(5)
    record.features["target"].int32_tensor.values.append(5)
    record.features[name].Clear()
    getattr(record.features[name], kind).values.extend(values)
    return record


@pytest.mark.parametrize(
    ("frame", "pair"), [(PAIR_FRAME, Pair([5, 6, 7], [300])), (EMPTY_TARGET_FRAME, Pair([5, 6, 7], []))]
)
def test_golden_frames_are_read_and_written_byte_for_byte(frame, pair):
    assert [parse_pair(payload) for payload in split_framed(frame)] == [pair]
    stream = io.BytesIO()
    write_record(stream, encode_pair(*pair))
    assert stream.getvalue() == frame


@given(ids, ids)
def test_what_is_encoded_is_parsed(source, target):
    assert parse_pair(encode_pair(source, target)) == Pair(source, target)


def test_numpy_integers_can_be_encoded():
    assert parse_pair(encode_pair(np.array([5, 6]), np.array([7], np.int32))) == Pair([5, 6], [7])


def test_an_empty_target_is_present_on_the_wire():
    record = Record.FromString(encode_pair([5], []))
    assert record.features["target"].HasField("int32_tensor")


def test_unpacked_values_and_any_order_of_features_are_accepted():
    # Two features in reverse order, tokens 5 and 6 as single varints instead of one packed field.
    payload = bytes.fromhex("0a0e 0a06 746172676574 1204 3a02 0807".replace(" ", "")) + bytes.fromhex(
        "0a10 0a06 736f75726365 1206 3a04 0805 0806".replace(" ", "")
    )
    assert parse_pair(payload) == Pair([5, 6], [7])


def test_labels_and_texts_beside_the_features_are_ignored():
    record = Record.FromString(encode_pair([5], [6]))
    record.label["values"].float32_tensor.values.append(1.0)
    record.uid, record.metadata = "7", "{}"
    assert parse_pair(record.SerializeToString()) == Pair([5], [6])


@pytest.mark.parametrize("kind", ["float32_tensor", "float64_tensor"])
@pytest.mark.parametrize("name", ["source", "target"])
def test_float_tokens_are_refused_by_name_and_type(name, kind):
    assert failure(record_with(name, kind, [5.0])) == (
        f"feature '{name}' holds {kind}; only int32 tokens are accepted, so write the ids as int32_tensor"
    )


def test_bytes_are_refused_by_name_and_type():
    record = record_with("source", "int32_tensor", [])
    record.features["source"].bytes.value.append(b"5 6")
    assert failure(record).startswith("feature 'source' holds bytes; only int32 tokens are accepted")


def test_a_feature_without_a_value_is_refused():
    record = Record.FromString(encode_pair([5], [6]))
    record.features["target"].Clear()
    assert failure(record).startswith("feature 'target' holds no value; only int32 tokens are accepted")


def test_a_sparse_tensor_is_refused():
    record = Record.FromString(encode_pair([5], [6]))
    record.features["source"].int32_tensor.keys.append(3)
    assert failure(record).startswith("feature 'source' is a sparse tensor")


def test_a_missing_feature_is_named_beside_those_found():
    record = Record()
    record.features["values"].int32_tensor.values.append(5)
    record.features["source"].int32_tensor.values.append(5)
    assert failure(record) == (
        "there is no feature 'target' (it has 'source', 'values'); "
        "a record needs the features 'source' and 'target', each an int32_tensor of token ids"
    )


def test_many_or_long_feature_names_do_not_make_a_long_message():
    record = Record()
    for number in range(100):
        record.features[f"{number:03}" + "x" * 1000].int32_tensor.SetInParent()
    message = failure(record)
    assert ", ..." in message
    assert len(message) < 500


def test_a_record_without_features_says_so():
    assert failure(Record()).startswith("there is no feature 'source' (it has no features at all)")


def test_bytes_that_are_no_record_are_refused():
    with pytest.raises(ClientError, match="2 bytes that are not a protobuf Record"):
        parse_pair(b"\xff\xff")


def test_a_packed_length_that_lies_is_refused():
    payload = encode_pair([5, 6, 7], [300])
    with pytest.raises(ClientError, match="not a protobuf Record"):
        parse_pair(payload.replace(b"\x0a\x03\x05\x06\x07", b"\x0a\x7f\x05\x06\x07"))


def test_the_checked_in_code_is_what_the_schema_compiles_to(tmp_path):
    protoc = pytest.importorskip("grpc_tools.protoc")
    plugin = Path(sys.executable).parent / "protoc-gen-mypy"
    options = [f"-I{ROOT}", f"--python_out={tmp_path}", f"--mypy_out={tmp_path}", f"--plugin=protoc-gen-mypy={plugin}"]
    assert protoc.main(["protoc", *options, str(ROOT / SCHEMA)]) == 0

    def without_versions(path):
        text = re.sub(r"Python Version: [\d.]+", "", path.read_text(encoding="utf-8"))
        return re.sub(r"Domain.PUBLIC,\s+\d+,\s+\d+,\s+\d+,", "", text)

    for name in ("record_pb2.py", "record_pb2.pyi"):
        compiled = tmp_path / SCHEMA.with_name(name)
        assert without_versions(compiled) == without_versions(ROOT / SCHEMA.with_name(name))


def test_the_sdks_schema_can_live_in_the_same_process_and_shares_the_wire_format():
    schema = descriptor_pb2.FileDescriptorProto(name="record.proto", package="aialgs.data")
    ours = descriptor_pb2.FileDescriptorProto()
    record_pb2.DESCRIPTOR.CopyToProto(ours)
    for message in ours.message_type:
        copy = schema.message_type.add()
        copy.CopyFrom(message)
        for field in [*copy.field, *(field for entry in copy.nested_type for field in entry.field)]:
            if field.type_name:
                field.type_name = field.type_name.replace(".s2s.aialgs.data.", ".aialgs.data.")
    pool = descriptor_pool.Default()
    pool.Add(schema)
    their_record = message_factory.GetMessageClass(pool.FindMessageTypeByName("aialgs.data.Record"))
    payload = encode_pair([5, 6, 7], [300])
    assert their_record.FromString(payload).SerializeToString(deterministic=True) == payload
