"""Token strings and their ids.

Source: container contract 1.4; decision 35 for the literal text ``<pad>``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from s2s_algo.data.segmentation import WHITESPACE, Segmentation, Subwords
from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.json_file import read_json_object

PAD, UNK, BOS, EOS = "<pad>", "<unk>", "<s>", "</s>"
SPECIAL_TOKENS = (PAD, UNK, BOS, EOS)  # in the order of their ids in a new vocabulary
PAD_ID = 0

# Share of the pieces of a model that its vocabulary holds at least; rare ones may have been left out.
_LEAST_KNOWN = 0.5

_MOST_SHOWN = 40  # characters of a token or of a wrong id that an error message shows


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """An immutable map between tokens and ids; make one with `from_tokens` or `load`.

    Attributes:
        tokens: All tokens, the special symbols included, in the order of their ids.
        unk_id: Id of ``<unk>``, which stands for every unknown token.
        bos_id: Id of ``<s>``, the first input of a decoder.
        eos_id: Id of ``</s>``, the last token a decoder must produce.
        segmentation: How text becomes tokens and tokens text.
    """

    tokens: tuple[str, ...]
    unk_id: int
    bos_id: int
    eos_id: int
    _ids: dict[str, int] = field(repr=False, compare=False)
    segmentation: Segmentation = WHITESPACE

    @classmethod
    def from_tokens(cls, tokens: Iterable[str]) -> Self:
        """Builds a vocabulary from all its tokens in the order of their ids, the special symbols included.

        Raises:
            ClientError: A token occurs twice, a special symbol is missing, or ``<pad>`` is not the first.
        """
        tokens = tuple(tokens)
        ids = {token: id_ for id_, token in enumerate(tokens)}
        if len(ids) < len(tokens):
            twice = next(token for id_, token in enumerate(tokens) if ids[token] != id_)
            raise ClientError(f"token {_shown(twice)} occurs more than once; every token must have one id")
        missing = [token for token in SPECIAL_TOKENS if token not in ids]
        if missing:
            raise ClientError(
                f"special symbols missing: {', '.join(missing)}; a vocabulary needs {', '.join(SPECIAL_TOKENS)}"
            )
        if ids[PAD] != PAD_ID:
            raise ClientError(f"{PAD} has id {ids[PAD]}; it must have id {PAD_ID}, which pads batches")
        unk_id = ids[UNK]
        # Padding cannot be said: as data it would shorten the sentence.
        return cls(tokens, unk_id, ids[BOS], ids[EOS], ids | {PAD: unk_id})

    @classmethod
    def of_pieces(cls, subwords: Subwords) -> Self:
        """Builds a vocabulary of the special symbols and all pieces of a model."""
        pieces = (piece for piece in subwords.pieces if piece not in SPECIAL_TOKENS)
        return replace(cls.from_tokens((*SPECIAL_TOKENS, *pieces)), segmentation=subwords)

    @classmethod
    def load(cls, path: Path, subwords: Path | None = None) -> Self:
        """Reads a JSON object of token to id.

        Args:
            path: Of the file.
            subwords: The SentencePiece model of text on this side; without such a file, tokens stand between blanks.

        Raises:
            ClientError: The file breaks a rule of the format; names the file and the rule.
            PlatformError: The file cannot be read.
        """
        entries = read_json_object(path, "the format is one JSON object of token to id")
        if entries is None:
            raise ClientError("the file does not exist; it holds one JSON object of token to id", where=str(path))
        try:
            vocabulary = cls.from_tokens(_tokens_by_id(entries))
        except ClientError as error:
            raise error.at(str(path)) from error.__cause__
        if subwords is None or not subwords.exists():
            return vocabulary
        segmentation = Subwords.load(subwords)
        pieces = segmentation.pieces
        known = sum(piece in vocabulary._ids for piece in pieces)
        if known < _LEAST_KNOWN * len(pieces):
            raise ClientError(
                f"of its {len(pieces)} pieces {known} are in {path.name}; a vocabulary holds the pieces of the model "
                "that lies beside it, so keep the files of one preparation together",
                where=str(subwords),
            )
        return replace(vocabulary, segmentation=segmentation)

    def save(self, path: Path) -> None:
        """Writes the vocabulary as `load` reads it: UTF-8, not escaped, indented by four.

        Raises:
            PlatformError: The file cannot be written.
        """
        text = json.dumps({token: id_ for id_, token in enumerate(self.tokens)}, indent=4, ensure_ascii=False)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise PlatformError(f"cannot write {path}: {error.strerror}") from error

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the tokens of a text; see `encode_tokens`."""
        return self.encode_tokens(self.segmentation.split(text))

    def encode_tokens(self, tokens: Iterable[str]) -> list[int]:
        """Returns one id per token.

        Unknown tokens and the text ``<pad>`` become ``<unk>``; the other special symbols are looked up like any token.
        """
        return [self._ids.get(token, self.unk_id) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Returns one token per id, special symbols included.

        Raises:
            ClientError: An id is outside the vocabulary.
        """
        tokens = []
        for id_ in ids:
            if not 0 <= id_ < len(self.tokens):
                raise ClientError(f"id {id_} is outside the vocabulary, whose ids are 0 to {len(self.tokens) - 1}")
            tokens.append(self.tokens[id_])
        return tokens

    def digest(self) -> str:
        """SHA-256 of all tokens in their order, and of the sub-words if there are any."""
        return hashlib.sha256(json.dumps(self.tokens).encode() + self.segmentation.digest.encode()).hexdigest()

    def text(self, ids: Iterable[int]) -> str:
        """Returns the sentence of ids; raises as `decode` does."""
        return self.segmentation.join(self.decode(ids))

    def __len__(self) -> int:
        return len(self.tokens)


def _tokens_by_id(entries: dict[str, Any]) -> list[str]:
    """Returns the tokens in the order of their ids, which must be 0 to n - 1."""
    tokens: list[str | None] = [None] * len(entries)
    for token, id_ in entries.items():
        if type(id_) is not int:  # a bool is an int, but no id
            raise ClientError(f"token {_shown(token)} has the id {_shown(id_)}; ids must be integers")
        if not 0 <= id_ < len(entries):
            raise ClientError(
                f"token {_shown(token)} has the id {_shown(id_)}; "
                f"{len(entries)} tokens must have the ids 0 to {len(entries) - 1} without gaps"
            )
        if tokens[id_] is not None:
            raise ClientError(
                f"tokens {_shown(tokens[id_])} and {_shown(token)} share the id {id_}; ids must be unique"
            )
        if not _is_unicode(token):
            raise ClientError(f"token {_shown(token)} (id {id_}) is not Unicode text: it holds half a surrogate pair")
        tokens[id_] = token
    return [token for token in tokens if token is not None]


def _is_unicode(token: str) -> bool:
    """Tells whether UTF-8 can hold the token; JSON can escape halves of surrogate pairs, which no text contains."""
    try:
        token.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """Returns a printable text of bounded length for an error message."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]!r}..."
    if isinstance(value, dict | list):
        return f"of JSON type {'object' if isinstance(value, dict) else 'array'}"
    return json.dumps(value)[:_MOST_SHOWN]
