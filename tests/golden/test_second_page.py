"""The tables of RETURNN behind the second page's options, as its own methods give them.

Orders are those of an epoch whose number is the random seed. Source: ``spec/returnn-options.md``, sections 4.1 to 4.5.
"""

import numpy as np
import pytest

from s2s_algo.checkpoints.retention import Evaluated, Retention
from s2s_algo.data.chunking import chunk_spans
from s2s_algo.data.corpus import Corpus, Sequences
from s2s_algo.data.ordering import Ordering
from s2s_algo.data.token_batches import capacities, ends_of_batches

LENGTHS = np.array([5, 3, 8, 1, 9, 2, 7, 4, 6, 3, 10, 5])

SORTED = "3 5 1 9 7 0 11 8 6 2 4 10"
SORTED_REVERSE = "10 4 2 6 8 0 11 7 1 9 5 3"
LAPLACE = ("3 1 6 2 4 10 8 0 11 7 9 5", "5 9 1 7 4 10 2 6 8 0 11 3", "5 1 11 6 2 4 10 8 0 7 9 3")
LAPLACE_3 = ("3 2 4 10 6 0 7 1 5 9 11 8", "5 9 7 4 10 0 1 3 11 8 6 2", "5 1 2 4 6 11 0 7 3 9 8 10")
ORDERS = [
    (Ordering("default"), ("0 1 2 3 4 5 6 7 8 9 10 11",) * 3),
    (Ordering("reverse"), ("11 10 9 8 7 6 5 4 3 2 1 0",) * 3),
    (Ordering("sorted"), (SORTED,) * 3),
    (Ordering("sorted_reverse"), (SORTED_REVERSE,) * 3),
    (Ordering("random"), ("2 3 4 10 1 6 0 7 11 9 8 5", "9 5 4 7 1 10 0 3 2 6 11 8", "5 4 1 2 11 6 7 0 3 9 8 10")),
    (Ordering("laplace"), LAPLACE),
    (Ordering("laplace", parts=2), LAPLACE),
    (Ordering("laplace", part_size=100), LAPLACE),  # at least 2 parts
    (Ordering("laplace", parts=3), LAPLACE_3),
    (Ordering("laplace", part_size=4), LAPLACE_3),
]


@pytest.mark.parametrize(("ordering", "epochs"), ORDERS, ids=repr)
def test_orders(ordering, epochs):
    for seed, expected in enumerate(epochs, start=1):
        assert " ".join(map(str, ordering.of(LENGTHS, seed))) == expected


def batches(order, lengths, max_tokens, max_sequences):
    order = np.array(order)
    ends = ends_of_batches(capacities(np.array(lengths)[order], max_tokens, max_sequences))
    return [order[start:end].tolist() for start, end in zip([0, *ends[:-1]], ends, strict=True)]


BATCHED = [3, 4, 5, 5, 6, 20, 2, 2, 2, 2, 2]


def test_batches():
    assert batches(range(11), BATCHED, 12, 4) == [[0, 1], [2, 3], [4], [5], [6, 7, 8, 9], [10]]


def test_batches_of_what_is_not_too_long():
    offsets = np.cumsum([0, *BATCHED])
    sequences = Sequences.joined(np.arange(offsets[-1], dtype=np.int32), offsets)
    kept, discarded = Corpus(sequences, sequences).bounded(12, None)
    left = [BATCHED.index(length) if length > 2 else None for length in kept.source.lengths]
    assert (left, discarded) == ([0, 1, 2, 2, 4] + [None] * 5, 1)
    order = [pair for pair in range(11) if pair != 5]
    assert batches(order, BATCHED, 12, 4) == [[0, 1], [2, 3], [4, 6], [7, 8, 9, 10]]


@pytest.mark.parametrize(
    ("length", "size", "step", "expected"),
    [
        (11, 10, 5, [(0, 10), (5, 11), (10, 11)]),
        (10, 10, 5, [(0, 10), (5, 10)]),
        (250, 100, 75, [(0, 100), (75, 175), (150, 250), (225, 250)]),
    ],
)
def test_chunks(length, size, step, expected):
    sequence, begin, end = chunk_spans(np.array([length]), size, step)
    assert sequence.tolist() == [0] * len(expected)
    assert list(zip(begin.tolist(), end.tolist(), strict=True)) == expected


# The page's fixed set of epochs binds, not RETURNN's pattern of today, which drops 240.
@pytest.mark.parametrize(
    ("newest", "kept"),
    [
        (1, {1}),
        (6, {1, 2, 3, 4, 5, 6}),  # the first four are the best
        (7, {1, 2, 3, 4, 6, 7}),
        (51, {1, 2, 3, 4, 20, 40, 50, 51}),
        (240, {1, 2, 3, 4, 20, 40, 80, 160, 239, 240}),
        (1000, {1, 2, 3, 4, 20, 40, 80, 160, 240, 999, 1000}),
    ],
)
def test_epochs_that_are_kept_by_default(newest, kept):
    evaluated = [Evaluated(10 * epoch, epoch, float(epoch)) for epoch in range(1, newest + 1)]
    assert Retention().to_keep(evaluated, resume=10 * newest, best=10) == {10 * epoch for epoch in kept}
