"""How text becomes tokens, and tokens text again: at white space, or by a model of sub-words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from s2s_algo.errors import ClientError, PlatformError

# In a piece of SentencePiece, what was a blank.
_BLANK = "\u2581"


class Segmentation(Protocol):
    """Cuts one side of all pairs; equal ones cut in the same way."""

    def split(self, text: str) -> list[str]:
        """The tokens of a sentence; none of a blank one."""

    def join(self, tokens: Sequence[str]) -> str:
        """The sentence of tokens."""

    @property
    def is_plain_text(self) -> bool:
        """Whether sentences are text as people write it, rather than tokens that were prepared elsewhere."""

    @property
    def digest(self) -> str:
        """What tells it from others; empty for white space."""


@dataclass(frozen=True, slots=True)
class Whitespace:
    """Tokens stand between white space; as text they are joined by single blanks."""

    is_plain_text = False
    digest = ""

    def split(self, text: str) -> list[str]:  # noqa: D102
        return text.split()

    def join(self, tokens: Sequence[str]) -> str:  # noqa: D102
        return " ".join(tokens)


@dataclass(frozen=True, slots=True)
class Subwords:
    """The pieces of a SentencePiece model, which takes text as it is and gives it back; make one with `load`.

    Attributes:
        model: The content of its file.
    """

    model: bytes = field(repr=False)
    _processor: Any = field(repr=False, compare=False)

    is_plain_text = True

    @classmethod
    def from_bytes(cls, model: bytes) -> Self:
        """Reads the content of a model file.

        Raises:
            ClientError: It is no model.
        """
        from sentencepiece import SentencePieceProcessor  # not needed by those whose tokens are words

        try:
            processor = SentencePieceProcessor(model_proto=model) if model else None
        except RuntimeError:
            processor = None
        if not (processor and processor.vocab_size()):
            raise ClientError("it is not a model of SentencePiece; copy it again, or train one with s2s prepare")
        return cls(model, processor)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a model file.

        Raises:
            ClientError: It is no model.
            PlatformError: The file cannot be read.
        """
        try:
            model = path.read_bytes()
        except OSError as error:
            raise PlatformError(f"cannot read {path}: {error.strerror}") from error
        try:
            return cls.from_bytes(model)
        except ClientError as error:
            raise error.at(str(path)) from None

    def save(self, path: Path) -> None:
        """Writes the model file.

        Raises:
            PlatformError: The file cannot be written.
        """
        try:
            path.write_bytes(self.model)
        except OSError as error:
            raise PlatformError(f"cannot write {path}: {error.strerror}") from error

    @property
    def pieces(self) -> list[str]:
        """All pieces that a text can be cut into, in the order of the model."""
        model = self._processor
        numbers = range(model.vocab_size())
        return [model.id_to_piece(id_) for id_ in numbers if not (model.is_control(id_) or model.is_unknown(id_))]

    @property
    def digest(self) -> str:  # noqa: D102
        return hashlib.sha256(self.model).hexdigest()

    def split(self, text: str) -> list[str]:  # noqa: D102
        pieces: list[str] = self._processor.encode(text, out_type=str)
        return pieces

    def join(self, tokens: Sequence[str]) -> str:  # noqa: D102
        text: str = self._processor.decode_pieces(list(tokens))
        return text.replace(_BLANK, " ").strip()  # pieces that are not its own are left as they were


WHITESPACE = Whitespace()
