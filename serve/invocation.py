"""A request for translations, from its body to its answer, whichever route and model it is for.

Source: container contract 4.1 and 4.2; decisions 36, 37 and 39.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain

from flask import Response, g, request

from s2s_algo.decoding.translation import Translation, replace_unknown
from s2s_algo.errors import ClientError
from serve.body import read_body
from serve.codecs import Instance, Limits, decode, encode, encode_lines
from serve.decoder import Request, Translator
from serve.media_types import Format, answer_format, parse_media_type, request_format
from serve.metrics import Metrics
from serve.problems import RequestTimeoutError, UnsupportedContentTypeError
from serve.service import TranslationService
from serve.settings import Settings
from serve.sources import source_ids, source_tokens

# Key of the WSGI environment under which the server process leaves a function to be called when the body is read. It
# returns whether the client was cut off because it was too slow.
BODY_READ = "s2s.body_read"
# The same of a function to be called when the body is parsed: large requests take turns in it.
BODY_PARSED = "s2s.body_parsed"


def invoke(
    borrow: Callable[[], AbstractContextManager[TranslationService]], settings: Settings, metrics: Metrics
) -> Response:
    """Answers the request.

    Args:
        borrow: Lends what translates, or raises why there is none.
        settings: The settings of the server.
        metrics: What is counted.
    """
    # (1) All of the body first, for a client that is still sending would not see an error
    body = receive(settings)

    # (2) Both formats, before any work on the content, and before a model is looked for
    _check_encoding(request.headers.get("Content-Encoding", ""))
    content_type = request.headers.get("Content-Type", "")
    own_format = request_format(content_type)
    format_ = answer_format(request.headers.get("Accept"), own_format, settings.default_accept)

    # (3) Sentences of tokens or ids
    limits = Limits(settings.max_instances, settings.max_instance_tokens)
    decoded = decode(body, own_format, parse_media_type(content_type).parameters, limits)

    # (4) Their translations, and the answer
    in_pieces = format_ is Format.JSON_LINES and len(decoded.instances) > 1 and _takes_pieces(settings)
    translations = _translations(decoded.instances, borrow, settings, metrics, in_pieces)
    if not in_pieces:
        return Response(encode(decoded, list(translations), format_), content_type=format_.value)
    lines = encode_lines(decoded, translations)
    first = next(lines)  # what goes wrong before can still be told by the status
    return Response(chain([first], lines), content_type=format_.value)


def _takes_pieces(settings: Settings) -> bool:
    """Whether lines may leave one by one. A status that says it went well cannot be taken back.

    So the client must be able to see that an answer is not whole, and a batch transform has no use for parts.
    """
    return request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and not settings.batch


def _translations(
    instances: Sequence[Instance],
    borrow: Callable[[], AbstractContextManager[TranslationService]],
    settings: Settings,
    metrics: Metrics,
    in_pieces: bool,
) -> Iterator[Sequence[Translation]]:
    """Translates; when this has ended, nothing of the model is held any more.

    Args:
        instances: Of the request.
        borrow: Lends what translates.
        settings: The settings of the server.
        metrics: What is counted.
        in_pieces: Whether each translation shall come as soon as it is there, rather than all in the end.
    """
    deadline = math.inf if settings.deadline is None else g.started + settings.deadline
    with borrow() as service:
        yield from _translated_by(service, instances, deadline, in_pieces)
    metrics.translated(g.tokens, g.target_tokens)


def _translated_by(
    service: TranslationService, instances: Sequence[Instance], deadline: float, in_pieces: bool
) -> Iterator[Sequence[Translation]]:
    translator = service.translator
    requests = [_search(instance, translator) for instance in instances]
    g.instances, g.tokens = len(requests), sum(len(source) for source, _ in requests)
    request.environ.get(BODY_PARSED, _nothing)()
    translate = service.translate_each if in_pieces else service.translate
    found = translate(requests, deadline, _hang_up_test(request.environ.get("gunicorn.socket")))
    for instance, translations in zip(instances, found, strict=True):
        g.target_tokens += len(translations[0].token_ids)
        yield _finished(instance, translations, translator)


def _nothing() -> None:
    pass


def _search(instance: Instance, translator: Translator) -> Request:
    """What to search for, and how."""
    source = source_ids(instance, translator.source_vocabulary)
    options = instance.options.search_options(translator.options)
    try:
        options.check(len(translator.target_vocabulary))
    except ClientError as error:
        raise ClientError(error.message, where=instance.place) from None
    return source, options


def _finished(instance: Instance, translations: Sequence[Translation], translator: Translator) -> Sequence[Translation]:
    if not (instance.options.replace_unknown or instance.options.tokens):
        return translations
    source = tuple(source_tokens(instance, translator.source_vocabulary))
    if instance.options.replace_unknown:
        unknown = translator.target_vocabulary.unk_id
        translations = [replace_unknown(translation, source, unknown) for translation in translations]
    return [replace(translation, source_tokens=source) for translation in translations]


def receive(settings: Settings) -> bytes:
    """Reads the body of the request.

    Raises:
        ClientError: It is too long, ends too early or comes too slowly.
    """
    is_chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    declared = None if is_chunked else request.content_length or 0
    end_reading: Callable[[], bool] = request.environ.get(BODY_READ, lambda: False)
    try:
        body = read_body(request.environ["wsgi.input"], declared, settings.max_body_bytes)
    except ClientError as error:
        if end_reading():
            raise RequestTimeoutError(
                f"the request did not arrive within {settings.read_timeout:g} seconds; send it faster or in smaller "
                "parts, or allow more time with S2S_READ_TIMEOUT_SECONDS"
            ) from error
        raise
    end_reading()
    return body


def _check_encoding(encoding: str) -> None:
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedContentTypeError(
            f"Content-Encoding {encoding[:100]!r} is not supported; send the body as it is"
        )


def _hang_up_test(connection: socket.socket | None) -> Callable[[], bool]:
    """Returns a function that tells whether the client has closed the connection."""

    def has_hung_up() -> bool:
        if connection is None:
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:  # silent, but there
            return False
        except OSError:
            return True

    return has_hung_up
