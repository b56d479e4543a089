"""Records to flat, memory-mapped arrays."""

import io
import random
import tracemalloc

import numpy as np
import pytest

from s2s_algo.data import corpus as corpus_module
from s2s_algo.data.channels import RecordChannel
from s2s_algo.data.corpus import Corpus, CorpusReport, Sequences, build_corpus, open_corpus
from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import write_record
from s2s_algo.errors import ClientError, PlatformError

PAIRS = [([5, 6, 7], [8]), ([9], [4, 5]), ([6, 6], [7, 7, 7, 7])]


def framed(payloads):
    stream = io.BytesIO()
    for payload in payloads:
        write_record(stream, payload)
    return stream.getvalue()


def records(pairs):
    return framed(encode_pair(*pair) for pair in pairs)


@pytest.fixture
def build(tmp_path):
    """Builds a corpus from the contents of one or more files."""

    def build_from(*contents, sizes=(10, 10)):
        files = [tmp_path / f"{chr(ord('a') + i)}.rec" for i in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content if isinstance(content, bytes) else records(content))
        return build_corpus(RecordChannel("train", tuple(files)), *sizes, tmp_path / "scratch")

    return build_from


@pytest.fixture
def failure(build):
    def failure_of(*contents, sizes=(10, 10)):
        with pytest.raises(ClientError) as error:
            build(*contents, sizes=sizes)
        return str(error.value)

    return failure_of


def as_lists(corpus):
    return [(s.tolist(), t.tolist()) for s, t in zip(corpus.source, corpus.target, strict=True)]


def sequences(lists):
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return Sequences.joined(np.array([id_ for ids in lists for id_ in ids], np.int32), offsets)


def test_pairs_keep_their_order_over_all_files(build):
    corpus, report = build(PAIRS[:1], [], PAIRS[1:])
    assert as_lists(corpus) == PAIRS
    assert report == CorpusReport(pairs=3, skipped=0, files=3, source_tokens=6, target_tokens=7)
    assert len(corpus) == 3


@pytest.mark.parametrize("block", [1, 2, 5, 1000])
def test_the_corpus_does_not_depend_on_the_size_of_blocks(build, monkeypatch, block):
    monkeypatch.setattr(corpus_module, "_BLOCK_TOKENS", block)
    assert as_lists(build(PAIRS * 7, PAIRS * 2)[0]) == PAIRS * 9


def test_arrays_are_mapped_with_their_types_and_read_only(build):
    side = build(PAIRS)[0].source
    assert (side.tokens.dtype, side.starts.dtype, side.ends.dtype) == (np.int32, np.int64, np.int64)
    assert (side.starts.tolist(), side.ends.tolist()) == ([0, 3, 4], [3, 4, 6])
    with pytest.raises(ValueError, match="read-only"):
        side.tokens[0] = 1


def test_a_built_corpus_can_be_opened_again(build, tmp_path):
    build(PAIRS)
    assert as_lists(open_corpus(tmp_path / "scratch", "train")) == PAIRS


def test_two_channels_share_a_scratch_folder(tmp_path):
    corpora = []
    for name, pairs in (("train", PAIRS), ("validation", PAIRS[:1])):
        file = tmp_path / f"{name}.rec"
        file.write_bytes(records(pairs))
        corpora.append(build_corpus(RecordChannel(name, (file,)), 10, 10, tmp_path / "scratch")[0])
    assert [as_lists(corpus) for corpus in corpora] == [PAIRS, PAIRS[:1]]


def test_pairs_with_an_empty_side_are_skipped_and_counted(build):
    corpus, report = build([([], [5]), *PAIRS, ([5], []), ([], [])])
    assert as_lists(corpus) == PAIRS
    assert (report.pairs, report.skipped) == (3, 3)


def test_a_channel_of_empty_pairs_is_refused(failure):
    assert failure([([], [5]), ([5], [])]) == (
        "train channel: no pairs: 2 records were read and all of them have an empty source or target"
    )


def test_a_channel_without_records_is_refused(failure):
    assert failure(b"") == "train channel: no pairs: there is not a single record in its files"


def test_the_largest_id_is_below_the_size_of_its_vocabulary(build):
    assert as_lists(build([([1, 9], [1, 19])], sizes=(10, 20))[0]) == [([1, 9], [1, 19])]


@pytest.mark.parametrize("block", [1, 4, 1000])
def test_an_id_outside_the_vocabulary_names_file_record_and_size(failure, monkeypatch, block):
    monkeypatch.setattr(corpus_module, "_BLOCK_TOKENS", block)
    pairs = [([5], [6]), ([], [6]), *[([5, 6], [7])] * 14, ([7, 50001, 50002], [8]), ([5], [6])]
    assert failure(PAIRS, pairs, sizes=(50000, 100)) == (
        "train channel, file b.rec, record 17: source id 50001 is outside the vocabulary: allowed are 1 to 49999, "
        "source vocabulary size 50000; make the records and the vocab channel from the same vocabularies"
    )


def test_the_target_is_checked_against_its_own_vocabulary(failure):
    message = failure([([15], [5]), ([15], [15])], sizes=(20, 10))
    assert message.startswith("train channel, file a.rec, record 2: target id 15 is outside the vocabulary")


def test_a_negative_id_is_refused(failure):
    message = failure([([5, -3], [5])])
    assert message.startswith("train channel, file a.rec, record 1: source id -3 is outside the vocabulary")


def test_padding_inside_a_sequence_is_refused(failure):
    assert failure([([5], [5, 0])]) == (
        "train channel, file a.rec, record 1: target id 0 is <pad>, which cannot be a token; "
        "leave it out or write the id of <unk>"
    )


def test_a_wrong_type_names_channel_file_and_record(failure):
    record = Record.FromString(encode_pair([5], [6]))
    record.features["source"].float32_tensor.values.append(5.0)
    body = framed([encode_pair([5], [6]), record.SerializeToString()])
    assert failure(body).startswith("train channel, file a.rec, record 2: feature 'source' holds float32_tensor; ")


def test_damaged_framing_names_channel_file_and_record(failure):
    assert failure(PAIRS, records(PAIRS)[:-1] + b"xyz").startswith(
        "train channel, file b.rec, record 4: 2 bytes are left, but a frame begins with 8"
    )


def test_a_file_that_cannot_be_read_is_a_platform_error(tmp_path):
    channel = RecordChannel("train", (tmp_path / "gone.rec",))
    with pytest.raises(PlatformError) as error:
        build_corpus(channel, 10, 10, tmp_path)
    expected = "train channel, file gone.rec: the file cannot be read: No such file or directory"
    assert str(error.value) == expected


def test_a_scratch_folder_that_cannot_be_made_is_a_platform_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError, match=r"cannot write .*file/scratch: Not a directory"):
        build_corpus(RecordChannel("train", (tmp_path / "file",)), 10, 10, tmp_path / "file" / "scratch")


@pytest.mark.parametrize("name", ["source.tokens", "target.offsets"])
def test_a_full_disk_is_a_platform_error_that_names_the_file(build, tmp_path, name):
    (tmp_path / "scratch").mkdir()
    full = tmp_path / "scratch" / f"train.{name}"
    full.symlink_to("/dev/full")
    with pytest.raises(PlatformError) as error:
        build(PAIRS)
    assert str(error.value) == (
        f"cannot write {full}: No space left on device; "
        "the corpus needs 4 bytes a token and 16 bytes a pair of free space"
    )


def test_a_sequence_is_a_view_and_can_be_counted_from_the_end(build):
    side = build(PAIRS)[0].target
    assert side[-1].tolist() == [7, 7, 7, 7]
    assert side[1].base is not None
    with pytest.raises(IndexError):
        side[3]


def test_lengths_and_spans_agree_with_the_sequences(build):
    side = build(PAIRS)[0].source
    starts, lengths = side.spans(np.array([2, 0]))
    assert side.lengths.tolist() == [3, 1, 2]
    assert (starts.tolist(), lengths.tolist()) == ([4, 0], [2, 3])


def test_truncation_keeps_the_first_tokens_counts_pairs_and_copies_nothing(build):
    corpus, _ = build(PAIRS)
    cut, count = corpus.truncated(2, 3)
    assert as_lists(cut) == [([5, 6], [8]), ([9], [4, 5]), ([6, 6], [7, 7, 7])]
    assert count == 2
    assert np.shares_memory(cut.source.tokens, corpus.source.tokens)
    assert as_lists(corpus) == PAIRS


def test_truncation_at_exactly_the_longest_lengths_cuts_nothing(build):
    corpus, _ = build(PAIRS)
    cut, count = corpus.truncated(3, 4)
    assert (as_lists(cut), count) == (PAIRS, 0)


def test_truncating_twice_keeps_the_smaller_limit():
    side = sequences([[5, 6, 7]]).truncated(2)
    assert side.truncated(9)[0].tolist() == [5, 6]
    assert side.truncated(1).lengths.tolist() == [1]


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    def peak(count):
        rng = random.Random(count)
        file = tmp_path / f"{count}.rec"
        with file.open("wb") as stream:
            for _ in range(count):
                ids = [rng.randrange(1, 30_000) for _ in range(rng.randint(5, 40))]
                write_record(stream, encode_pair(ids, ids))
        tracemalloc.start()
        try:
            corpus, _ = build_corpus(RecordChannel("train", (file,)), 30_000, 30_000, tmp_path)
            assert len(corpus) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(20_000) < 1.3 * peak(5_000) < 2**25


def hostile_bodies():
    """Random bytes, and valid files with damage of several kinds; the same ones at every run."""
    rng = random.Random(20)
    float_record = Record.FromString(encode_pair([5], [6]))
    float_record.features["target"].float64_tensor.values.append(1.5)
    payloads = [encode_pair(*pair) for pair in PAIRS]
    valid = [records(PAIRS), framed([*payloads, float_record.SerializeToString()]), records([([], []), *PAIRS])]
    for number in range(200):
        if number % 5 == 0:
            yield rng.randbytes(rng.randint(1, 200))
        elif number % 5 == 1:
            yield framed(rng.randbytes(rng.randint(0, 60)) for _ in range(rng.randint(1, 5)))
        elif number % 5 == 2:
            payload = bytearray(rng.choice(payloads))
            for _ in range(rng.randint(1, 4)):
                payload[rng.randrange(len(payload))] = rng.randrange(256)
            yield framed([payloads[0], bytes(payload)])
        else:
            body = bytearray(rng.choice(valid))
            for _ in range(rng.randint(1, 3)):
                begin = rng.randrange(len(body) + 1)
                end = begin + rng.randint(0, 8)
                body[begin:end] = rng.choice([b"", rng.randbytes(rng.randint(1, 8)), bytes(body[end : end + 8]) * 2])
            yield bytes(body)


def test_hostile_bodies_are_read_or_refused_but_never_crash(build):
    outcomes = set()
    for body in hostile_bodies():
        try:
            corpus, report = build(body)
        except ClientError as error:
            outcomes.add("refused")
            message = str(error)
        else:
            message = ""
            outcomes.add("read")
            assert len(corpus) == report.pairs > 0
            assert all(1 <= id_ < 10 for pair in as_lists(corpus) for side in pair for id_ in side)
        assert not message or message.startswith("train channel")
        assert len(message) < 1024
    assert outcomes == {"read", "refused"}


def test_a_corpus_pairs_its_sides():
    corpus = Corpus(sequences([[5], [6, 7]]), sequences([[8, 9], [4]]))
    assert as_lists(corpus) == [([5], [8, 9]), ([6, 7], [4])]


LENGTHS = [(3, 1), (1, 3), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    ("source", "target", "kept"),
    [
        (2, 2, [(2, 2)]),
        (2, None, [(1, 3), (2, 2)]),
        (None, 2, [(3, 1), (2, 2)]),
        (3, 3, LENGTHS),
        (None, None, LENGTHS),
        (1, 1, []),
    ],
)
def test_pairs_over_a_bound_are_discarded_and_counted(source, target, kept):
    pairs = [([5] * source_length, [6] * target_length) for source_length, target_length in LENGTHS]
    corpus = Corpus(*map(sequences, zip(*pairs, strict=True)))
    bounded, discarded = corpus.bounded(source, target)
    assert as_lists(bounded) == [([5] * one, [6] * other) for one, other in kept]
    assert discarded == len(LENGTHS) - len(kept)
    assert bounded.source.tokens is corpus.source.tokens


def test_bounds_are_compared_with_what_is_seen_of_a_sequence():
    corpus = Corpus(*map(sequences, ([[5] * 9, [5]], [[6] * 9, [6]])))
    assert corpus.truncated(4, 4)[0].bounded(4, 4)[1] == 0
    assert corpus.bounded(4, 4)[0].truncated(3, 3)[0].source.lengths.tolist() == [1]
