"""Which of the three formats a body has and which one the answer gets.

Source: container contract 5.4; decision 36.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Self

from serve.problems import NotAcceptableError, UnsupportedContentTypeError

# Header values that name no format: the client, often an SDK, left the choice to us.
_OPEN = ("*/*", "application/*", "application/octet-stream")

_LONGEST_QUOTE = 100


class Format(Enum):
    """The formats of requests and answers; each value is the media type."""

    JSON = "application/json"
    JSON_LINES = "application/jsonlines"
    RECORDIO = "application/x-recordio-protobuf"

    @classmethod
    def find(cls, text: str) -> Self | None:
        """Returns the format that a media type names, parameters aside, or ``None``."""
        name = parse_media_type(text).name
        if name == "applications/x-recordio-protobuf":  # as the algorithm's page once spelt it
            name = cls.RECORDIO.value
        return next((format_ for format_ in cls if format_.value == name), None)

    @classmethod
    def names(cls) -> str:
        """Returns the media types as an enumeration for messages."""
        return ", ".join(format_.value for format_ in cls)


class MediaType(NamedTuple):
    """A media type such as ``text/plain; charset=utf-8``, taken apart and in lower case."""

    name: str
    parameters: dict[str, str]


def parse_media_type(text: str) -> MediaType:
    """Takes a media type apart; what has no meaning is left out."""
    name, *rest = text.split(";")
    pairs = (parameter.partition("=") for parameter in rest)
    return MediaType(
        name.strip().lower(), {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs}
    )


def request_format(content_type: str | None) -> Format:
    """Returns the format of a body.

    The content is never looked at: a guess that goes wrong once would be harder to find than a clear refusal.

    Raises:
        UnsupportedContentTypeError: The header is missing or names no format of ours.
    """
    text = (content_type or "").strip()
    found = Format.find(text)
    if found is not None:
        return found
    if not text:
        problem = "the request has no Content-Type"
    elif parse_media_type(text).name in _OPEN:
        problem = f"Content-Type {_quote(text)} does not say which format the body has"
    else:
        problem = f"Content-Type {_quote(text)} is not supported"
    raise UnsupportedContentTypeError(
        f"{problem}; send one of {Format.names()} (with the SageMaker SDK, give the predictor a serializer)"
    )


def answer_format(accept: str | None, own: Format, default: Format | None = None) -> Format:
    """Chooses the format of an answer.

    The entry with the highest quality wins, among equals the first. An entry that leaves the choice to us stands for
    `default`, or for the request's own format if there is no default.

    Args:
        accept: The Accept header.
        own: The format of the request.
        default: The configured format of answers.

    Raises:
        NotAcceptableError: Nothing the header lists can be answered.
    """
    entries = [parse_media_type(part) for part in (accept or "").split(",") if part.strip()]
    if not entries:
        return default or own
    refused = {Format.find(entry.name) for entry in entries if _quality(entry) == 0}
    preferred = (default or own, own, *Format)
    for entry in sorted(entries, key=_quality, reverse=True):
        if _quality(entry) == 0:
            break
        candidates = preferred if entry.name in _OPEN else (Format.find(entry.name),)
        for candidate in candidates:
            if candidate is not None and candidate not in refused:
                return candidate
    raise NotAcceptableError(
        f"Accept {_quote(accept or '')} names no format that can be answered; accept one of {Format.names()}, "
        "or */* for the format of the request"
    )


def _quality(entry: MediaType) -> float:
    try:
        quality = float(entry.parameters.get("q", "1"))
    except ValueError:
        return 1.0
    return quality if 0 <= quality <= 1 else 1.0


def _quote(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")
