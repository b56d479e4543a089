"""Pairs of random words with the lengths and the vocabulary of a small translation corpus."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from s2s_algo.data.channels import Channels, RecordChannel, VocabularyFiles
from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.recordio import write_record
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary

SOURCE_WORDS, TARGET_WORDS = 6_000, 8_000


def vocabularies() -> tuple[Vocabulary, Vocabulary]:
    """Source and target vocabularies."""
    source, target = (
        Vocabulary.from_tokens([*SPECIAL_TOKENS, *(f"w{number}" for number in range(words))])
        for words in (SOURCE_WORDS, TARGET_WORDS)
    )
    return source, target


def sentence(random: np.random.Generator, words: int) -> list[int]:
    """Ids of 4 to 24 words, 13 on average; frequent words are frequent."""
    length = int(np.clip(random.normal(13, 4), 4, 24))
    ids: list[int] = (random.zipf(1.3, length) % words + len(SPECIAL_TOKENS)).tolist()
    return ids


def write_channels(folder: Path, pairs: int) -> Channels:
    """Writes the same records as both channels.

    Args:
        folder: Where to.
        pairs: How many.
    """
    random = np.random.default_rng(0)
    return write_pairs(folder, [(sentence(random, SOURCE_WORDS), sentence(random, TARGET_WORDS)) for _ in range(pairs)])


def write_pairs(folder: Path, pairs: Iterable[tuple[list[int], list[int]]]) -> Channels:
    """Writes pairs of source and target ids as both channels."""
    file = folder / "pairs.rec"
    with file.open("wb") as stream:
        for source, target in pairs:
            write_record(stream, encode_pair(source, target))
    return Channels(
        train=RecordChannel("train", (file,)),
        validation=RecordChannel("validation", (file,)),
        vocab=VocabularyFiles.of(folder),
    )
