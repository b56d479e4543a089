"""Learns the pieces of sub-words from text."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterable
from typing import Literal, get_args

from s2s_algo.data.segmentation import Subwords
from s2s_algo.errors import ClientError

SubwordType = Literal["unigram", "bpe"]
SUBWORD_TYPES: tuple[SubwordType, ...] = get_args(SubwordType)

# Sentences that pieces are learnt from. More of them teach little, and unigram needs 20 bytes of memory per character.
_MOST_SENTENCES = 1_000_000
# Beside the pieces, a model has <unk>, <s> and </s>.
_SYMBOLS = 3
# SentencePiece divides sums of floats among as many, so their number changes the pieces: it must not be the machine's.
_THREADS = 16
_LONGEST = 1 << 20  # bytes of a sentence; beyond its own 4,192, SentencePiece leaves sentences out


def train_subwords(sentences: Iterable[str], pieces: int, subword_type: SubwordType, option: str) -> Subwords:
    """Trains a model of SentencePiece; the same sentences give the same model, on any number of cores.

    Args:
        sentences: Text; of more than a million sentences, a million are drawn.
        pieces: How many to make; fewer if the text has no more.
        subword_type: How.
        option: What the user asks for more pieces with.

    Raises:
        ClientError: There is no text, or it has more characters than pieces.
    """
    from sentencepiece import SentencePieceTrainer

    sample = _draw(sentences)
    content = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(sample),
            model_writer=content,
            model_type=subword_type,
            vocab_size=pieces + _SYMBOLS,
            hard_vocab_limit=False,
            character_coverage=1.0,
            num_threads=_THREADS,
            max_sentence_length=_LONGEST,
            minloglevel=2,  # errors alone: what goes well is in the report
        )
    except RuntimeError as error:
        if not any(sentence.strip() for sentence in sample):
            raise ClientError(
                f"there is no text to learn the pieces of {option} from; every sentence is blank"
            ) from None
        raise ClientError(f"the pieces of {option} cannot be learnt: {_reason(str(error))}") from error
    return Subwords.from_bytes(content.getvalue())


def _draw(sentences: Iterable[str]) -> list[str]:
    """All sentences, or as many as may be, each with the same chance."""
    # SentencePiece could draw as well, but draws others in every process.
    draw = random.Random(0)  # noqa: S311 (no secret)
    sample: list[str] = []
    for number, sentence in enumerate(sentences):
        if number < _MOST_SENTENCES:
            sample.append(sentence)
        elif (place := draw.randrange(number + 1)) < _MOST_SENTENCES:
            sample[place] = sentence
    return sample


def _reason(message: str) -> str:
    """What SentencePiece says, in terms of the option."""
    sizes = re.search(r"smaller than required_chars\. (\d+) vs (\d+)", message)
    if sizes:
        asked, needed = (int(size) - _SYMBOLS for size in sizes.groups())
        return f"{asked} pieces are fewer than the {needed} different characters of the text; ask for {needed} or more"
    return f"SentencePiece says: {message.rpartition('] ')[2].strip() or message}"
