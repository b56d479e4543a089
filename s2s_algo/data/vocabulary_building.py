"""The vocabularies of both sides: of words or of pieces, built from text or taken from files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from s2s_algo.data.prepare_options import SIDES, PrepareOptions, SideOptions
from s2s_algo.data.segmentation import Subwords
from s2s_algo.data.subword_training import SubwordType, train_subwords
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.errors import ClientError

# Goes through the training text from its beginning, as often as it is called.
Pairs = Callable[[], Iterator[tuple[str, str]]]


def vocabularies(options: PrepareOptions, pairs: Pairs) -> tuple[Vocabulary, Vocabulary]:
    """Loads or builds the vocabularies of source and target, which cut their sides into tokens.

    Raises:
        ClientError: A file cannot be used, or pieces cannot be learnt from the text.
    """
    subword_type = options.subword_type or "unigram"
    if options.single_vocabulary:
        shared = _vocabulary(options.side("source"), subword_type, (text for pair in pairs() for text in pair))
        return shared, shared
    source, target = (
        _vocabulary(options.side(side), subword_type, _column(pairs, number)) for number, side in enumerate(SIDES)
    )
    return source, target


def build_vocabulary(lines: Iterable[str], num_words: int, min_count: int) -> Vocabulary:
    """Builds a vocabulary of the most frequent tokens; among equals the later in the alphabet comes first.

    Args:
        lines: Text, tokens between white space.
        num_words: Most tokens, the special symbols not counted.
        min_count: Occurrences a token needs.
    """
    counts = Counter(token for line in lines for token in line.split())
    for symbol in SPECIAL_TOKENS:
        del counts[symbol]
    ranked = sorted(((count, token) for token, count in counts.items() if count >= min_count), reverse=True)
    return Vocabulary.from_tokens((*SPECIAL_TOKENS, *(token for _, token in ranked[:num_words])))


def _vocabulary(side: SideOptions, subword_type: SubwordType, lines: Iterable[str]) -> Vocabulary:
    """Reads the lines only if something is to be learnt from them."""
    if side.vocabulary is not None:
        return Vocabulary.load(side.vocabulary)
    if side.subword_model is not None:
        if not side.subword_model.is_file():
            raise ClientError(f"cannot read {side.subword_model}: there is no such file; name a model of SentencePiece")
        return Vocabulary.of_pieces(Subwords.load(side.subword_model))
    if side.subwords is not None:
        return Vocabulary.of_pieces(train_subwords(lines, side.subwords, subword_type, side.subwords_option))
    return build_vocabulary(lines, side.num_words, side.word_min_count)


def _column(pairs: Pairs, number: int) -> Iterator[str]:
    for pair in pairs():
        yield pair[number]
