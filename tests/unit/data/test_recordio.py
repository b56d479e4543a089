"""RecordIO framing."""

import io
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data import recordio
from s2s_algo.data.recordio import read_records, split_framed, write_record
from s2s_algo.errors import ClientError

MAGIC = bytes.fromhex("0a23d7ce")


def frame(payload, flag=0):
    return MAGIC + struct.pack("<I", flag << 29 | len(payload)) + payload + bytes(-len(payload) % 4)


def frames_as_mxnet_writes_them(payload):
    """Splits at every aligned magic and drops those four bytes."""
    parts, begin = [], 0
    for position in range(0, len(payload) - 3, 4):
        if payload[position : position + 4] == MAGIC:
            parts.append(payload[begin:position])
            begin = position + 4
    parts.append(payload[begin:])
    if len(parts) == 1:
        return frame(payload)
    flags = [1, *[2] * (len(parts) - 2), 3]
    return b"".join(frame(part, flag) for part, flag in zip(parts, flags, strict=True))


def written(*payloads):
    stream = io.BytesIO()
    for payload in payloads:
        write_record(stream, payload)
    return stream.getvalue()


def failure(body):
    with pytest.raises(ClientError) as error:
        split_framed(body)
    return str(error.value)


def test_a_written_frame_is_magic_length_payload_and_padding_to_four():
    assert written(b"abcde") == bytes.fromhex("0a23d7ce 05000000 6162636465 000000")


def test_an_empty_stream_has_no_records():
    assert split_framed(b"") == []


@given(st.lists(st.binary(max_size=40)))
def test_what_is_written_is_read(payloads):
    assert split_framed(written(*payloads)) == payloads


def test_the_magic_inside_an_unsplit_payload_is_data():
    payload = b"1234" + MAGIC + frame(b"inner") + b"x"
    assert split_framed(written(payload, b"next")) == [payload, b"next"]


@given(st.lists(st.sampled_from([MAGIC, b"abcd", bytes(4)])), st.binary(max_size=7))
def test_records_that_mxnet_splits_are_joined(blocks, tail):
    payload = b"".join(blocks) + tail
    assert split_framed(frames_as_mxnet_writes_them(payload) + frame(b"next")) == [payload, b"next"]


def test_split_records_of_many_parts_keep_their_order():
    payload = MAGIC.join([b"", b"aaaa", b"", b"bb"])
    assert frames_as_mxnet_writes_them(payload).count(MAGIC) == 4
    assert split_framed(frames_as_mxnet_writes_them(payload)) == [payload]


def test_missing_padding_after_the_last_payload_loses_nothing():
    assert split_framed(written(b"abcd", b"x")[:-3]) == [b"abcd", b"x"]


def test_records_before_a_fault_are_delivered():
    records = read_records(io.BytesIO(written(b"one", b"two") + b"?"))
    assert [next(records), next(records)] == [b"one", b"two"]
    with pytest.raises(ClientError):
        next(records)


def test_a_stream_that_returns_less_than_asked_for_is_read_to_its_end():
    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    assert list(read_records(Dripping(written(b"abcdefghij", b"k")))) == [b"abcdefghij", b"k"]


def test_a_file_that_is_not_recordio_says_how_to_write_one():
    assert failure(b"hello world\n") == (
        "record 1: a frame must begin with the bytes 0a 23 d7 ce, found 68 65 6c 6c; the data is not RecordIO, "
        "write it with `s2s prepare` or with the SageMaker SDK (byte 0)"
    )


def test_a_later_wrong_magic_blames_the_record_before():
    assert failure(written(b"abcd") + bytes(8)) == (
        "record 2: a frame must begin with the bytes 0a 23 d7 ce, found 00 00 00 00; "
        "the length of the record before it is wrong or the data is damaged (byte 12)"
    )


def test_a_truncated_header_is_named():
    assert failure(written(b"abcd") + MAGIC) == "record 2: 4 bytes are left, but a frame begins with 8 (byte 12)"


def test_a_truncated_payload_is_named():
    assert failure(written(b"abcd", b"efgh")[:-1]) == "record 2: the header promises 4 bytes, but 3 are left (byte 12)"


@pytest.mark.parametrize(("flag", "name"), [(2, "middle"), (3, "last")])
def test_a_part_without_a_first_part_is_named(flag, name):
    assert f"record 1: the {name} part of a split record has no first part" in failure(frame(b"abcd", flag))


@pytest.mark.parametrize("flag", [0, 1])
def test_a_record_inside_a_split_record_is_named(flag):
    message = failure(frame(b"abcd", 1) + frame(b"efgh", flag))
    assert message.startswith("record 1: another record begins before the last part of a split record")


@pytest.mark.parametrize("body", [frame(b"abcd", 1), frame(b"abcd", 1) + frame(b"efgh", 2)])
def test_a_split_record_without_a_last_part_is_named(body):
    assert failure(body).startswith("record 1: the stream ends before the last part of a split record")


def test_an_unknown_flag_is_named():
    assert failure(frame(b"abcd", 5)).startswith("record 1: the continuation flag is 5; allowed are 0 to 3")


def test_a_length_that_lies_costs_no_memory(tmp_path):
    path = tmp_path / "lie.rec"
    path.write_bytes(MAGIC + struct.pack("<I", 2**29 - 1) + b"abcd")
    tracemalloc.start()
    try:
        with path.open("rb") as stream, pytest.raises(ClientError, match="promises 536870911 bytes, but 4 are left"):
            list(read_records(stream))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


def test_a_payload_over_the_limit_cannot_be_written(monkeypatch):
    monkeypatch.setattr(recordio, "_MAX_PAYLOAD", 7)
    with pytest.raises(ClientError, match="a record of 8 bytes is too long for RecordIO, which allows 7"):
        write_record(io.BytesIO(), bytes(8))


def test_the_parts_of_a_record_cannot_exceed_the_limit_together(monkeypatch):
    monkeypatch.setattr(recordio, "_MAX_PAYLOAD", 15)
    body = frame(b"12345678", 1) + frame(b"1234", 3)
    with pytest.raises(ClientError, match="the parts together are longer than 15 bytes"):
        split_framed(body)
