"""Sequences as chunks; the numbers of RETURNN are in ``tests/golden/test_second_page.py``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data.channels import RecordChannel
from s2s_algo.data.chunking import chunk_spans, chunked, require_equal_sides
from s2s_algo.data.corpus import build_corpus
from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.recordio import write_record
from s2s_algo.errors import ClientError
from tests.tiny_job import corpus_of

EQUAL = [([4, 5, 6], [7, 8, 9]), ([5], [6])]


def as_lists(corpus):
    return [(corpus.source[i].tolist(), corpus.target[i].tolist()) for i in range(len(corpus))]


def channel_of(folder, *files):
    """A channel of files, each of them a list of pairs, in sub-folders of their own."""
    paths = []
    for number, pairs in enumerate(files):
        paths.append(folder / f"part{number}" / "data.rec")
        paths[-1].parent.mkdir()
        with paths[-1].open("wb") as stream:
            for pair in pairs:
                write_record(stream, encode_pair(*pair))
    return RecordChannel("train", tuple(paths))


def test_both_sides_are_cut_at_the_same_places():
    pairs = [([4, 5, 6, 7, 8], [9, 8, 7, 6, 5]), ([4, 4], [5, 5])]
    assert as_lists(chunked(corpus_of(pairs), 3, 2)) == [
        ([4, 5, 6], [9, 8, 7]),
        ([6, 7, 8], [7, 6, 5]),
        ([8], [5]),
        ([4, 4], [5, 5]),
    ]


def test_a_step_beyond_the_size_leaves_tokens_out():
    assert as_lists(chunked(corpus_of([([4, 5, 6, 7, 8], [9, 8, 7, 6, 5])]), 1, 3)) == [([4], [9]), ([7], [6])]


def test_chunks_are_views_and_can_be_truncated():
    corpus = corpus_of([([4, 5, 6, 7, 8], [9, 8, 7, 6, 5])])
    chunks = chunked(corpus, 3, 3)
    assert np.shares_memory(chunks.source.tokens, corpus.source.tokens)
    truncated, cut = chunks.truncated(2, 1)
    assert (as_lists(truncated), cut) == ([([4, 5], [9]), ([7, 8], [6])], 2)


@given(st.lists(st.integers(1, 30)), st.integers(1, 40), st.integers(1, 40))
def test_chunks_are_those_of_a_plain_loop(lengths, size, step):
    expected = [
        (number, begin, min(begin + size, length))
        for number, length in enumerate(lengths)
        for begin in range(0, length, step)
    ]
    spans = chunk_spans(np.array(lengths, np.int64), size, step)
    assert list(zip(*(array.tolist() for array in spans), strict=True)) == expected


def test_equal_sides_may_be_cut(tmp_path):
    channel = channel_of(tmp_path, EQUAL)
    require_equal_sides(build_corpus(channel, 10, 10, tmp_path / "scratch")[0], channel)


def test_the_first_unequal_record_is_named_as_the_user_knows_it(tmp_path):
    unequal = ([4, 5, 6], [7, 8])
    channel = channel_of(tmp_path, EQUAL, [EQUAL[0], ([], [5]), EQUAL[1], ([4], []), unequal, unequal])
    with pytest.raises(ClientError) as caught:
        require_equal_sides(build_corpus(channel, 10, 10, tmp_path / "scratch")[0], channel)
    assert str(caught.value) == (
        "train channel, file part1/data.rec, record 5: 3 source and 2 target tokens; chunking needs both sides of "
        "every pair equally long, as in tagging, since chunks of anything else do not belong together. Leave it out: "
        "max_seq_length discards long pairs, max_seq_len_source and max_seq_len_target cut them."
    )
