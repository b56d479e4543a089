"""The tensors of a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data.batches import Batch, collate
from s2s_algo.data.buckets import Bucket
from s2s_algo.data.corpus import Corpus, Sequences
from s2s_algo.data.plans import PlannedBatch
from s2s_algo.errors import AlgorithmError

BOS, EOS = 2, 3


def sequences(lists):
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return Sequences.joined(np.array([id_ for ids in lists for id_ in ids], np.int32), offsets)


def corpus_of(pairs):
    return Corpus(*map(sequences, zip(*pairs, strict=True)))


def test_a_batch_is_padded_to_its_bucket():
    corpus = corpus_of([([5, 6, 7], [8]), ([9], [4]), ([6, 6], [7, 8])])
    batch = collate(corpus, PlannedBatch(Bucket(4, 5), np.array([2, 0])), BOS, EOS)
    assert batch.source.tolist() == [[6, 6, 0, 0], [5, 6, 7, 0]]
    assert batch.source_length.tolist() == [2, 3]
    assert batch.target_in.tolist() == [[2, 7, 8, 0, 0], [2, 8, 0, 0, 0]]
    assert batch.target_label.tolist() == [[7, 8, 3, 0, 0], [8, 3, 0, 0, 0]]
    assert batch.target_length.tolist() == [3, 2]
    assert {getattr(batch, name).dtype for name in Batch.__slots__} == {torch.int64}


def test_a_pair_may_fill_its_bucket():
    batch = collate(corpus_of([([5, 6], [7, 8])]), PlannedBatch(Bucket(2, 3), np.array([0])), BOS, EOS)
    assert batch.source.tolist() == [[5, 6]]
    assert (batch.target_in.tolist(), batch.target_label.tolist()) == ([[2, 7, 8]], [[7, 8, 3]])


def test_a_truncated_corpus_gives_truncated_batches():
    corpus, _ = corpus_of([([5, 6, 7], [8, 9, 4])]).truncated(2, 1)
    batch = collate(corpus, PlannedBatch(Bucket(2, 2), np.array([0])), BOS, EOS)
    assert (batch.source.tolist(), batch.target_label.tolist()) == ([[5, 6]], [[8, 3]])


lists_of_ids = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(st.lists(st.tuples(lists_of_ids, lists_of_ids), min_size=1, max_size=9))
def test_a_batch_holds_the_pairs_of_a_plain_loop(pairs):
    indices = np.arange(len(pairs))[::-1]
    batch = collate(corpus_of(pairs), PlannedBatch(Bucket(9, 10), indices), BOS, EOS)
    for row, pair in enumerate(indices):
        source, target = pairs[pair]
        assert batch.source[row].tolist() == source + [0] * (9 - len(source))
        assert batch.target_in[row].tolist() == [BOS, *target] + [0] * (9 - len(target))
        assert batch.target_label[row].tolist() == [*target, EOS] + [0] * (9 - len(target))
        assert (batch.source_length[row], batch.target_length[row]) == (len(source), len(target) + 1)


def test_a_batch_of_no_pairs_keeps_its_shape():
    batch = collate(corpus_of([([5], [6])]), PlannedBatch(Bucket(4, 5), np.zeros(0, np.int64)), BOS, EOS)
    assert (batch.source.shape, batch.target_in.shape, batch.target_length.shape) == ((0, 4), (0, 5), (0,))


@pytest.mark.parametrize("bucket", [Bucket(2, 9), Bucket(9, 3)])
def test_a_pair_that_does_not_fit_is_never_cut(bucket):
    with pytest.raises(AlgorithmError, match="a sequence of 3 tokens does not fit the 2 columns of its bucket"):
        collate(corpus_of([([5, 6, 7], [7, 8, 9])]), PlannedBatch(bucket, np.array([0])), BOS, EOS)


def test_a_batch_moves_to_a_device_as_a_whole():
    batch = collate(corpus_of([([5], [6])]), PlannedBatch(Bucket(4, 5), np.array([0])), BOS, EOS).to("meta")
    assert {getattr(batch, name).device.type for name in Batch.__slots__} == {"meta"}
