"""Long sequences as overlapping chunks: for corpora whose sides are aligned token by token, such as tagging.

Source: the second page's ``chunking``; its exact semantics are those of RETURNN (re-implemented from its description).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2s_algo.data.channels import RecordChannel
from s2s_algo.data.corpus import Corpus, Sequences, place_of_pair
from s2s_algo.errors import ClientError


def require_equal_sides(corpus: Corpus, channel: RecordChannel) -> None:
    """Raises a ClientError that names the first record whose sides differ in length, if there is one.

    Args:
        corpus: All pairs of the channel.
        channel: Where they were read.
    """
    unequal = corpus.source.lengths != corpus.target.lengths
    if not unequal.any():
        return
    pair = int(unequal.argmax())
    raise ClientError(
        f"{len(corpus.source[pair])} source and {len(corpus.target[pair])} target tokens; chunking needs both sides of "
        "every pair equally long, as in tagging, since chunks of anything else do not belong together. Leave it out: "
        "max_seq_length discards long pairs, max_seq_len_source and max_seq_len_target cut them.",
        where=place_of_pair(channel, pair),
    )


def chunked(corpus: Corpus, size: int, step: int) -> Corpus:
    """Returns the chunks of all pairs, in the order of the pairs: views on the same arrays.

    Args:
        corpus: Pairs whose sides are equally long.
        size: Tokens of a chunk, 1 or more; the last ones of a sequence may have fewer.
        step: Tokens from the start of a chunk to that of the next, 1 or more.
    """
    pair, begin, end = chunk_spans(corpus.source.lengths, size, step)
    return Corpus(_parts(corpus.source, pair, begin, end), _parts(corpus.target, pair, begin, end))


def chunk_spans(
    lengths: NDArray[np.int64], size: int, step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns of every chunk its sequence, where it begins in it and where it ends: int64 [chunks] each.

    Chunks begin at 0, step, 2 step … below the length, so the last one may lie inside the one before it.
    """
    counts = -(-lengths // step)
    sequence = np.repeat(np.arange(len(lengths)), counts)
    first_chunk = np.cumsum(counts) - counts
    begin = (np.arange(len(sequence)) - first_chunk[sequence]) * step
    return sequence, begin, np.minimum(begin + size, lengths[sequence])


def _parts(
    sequences: Sequences, index: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64]
) -> Sequences:
    starts = sequences.starts[index]
    return Sequences(sequences.tokens, starts + begin, starts + end)
