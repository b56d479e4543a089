"""The three formats of requests and answers, as pure functions on bytes.

Source: container contract 5; decisions 33 and 36 to 39.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2s_algo.data.pairs import parse_record, read_tokens
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import read_records, write_record
from s2s_algo.decoding.translation import Translation
from s2s_algo.errors import ClientError
from serve.media_types import Format
from serve.options import InstanceOptions, boolean, parse_configuration
from serve.problems import TooLargeError
from serve.strict_json import decode_utf8, name_of_type, parse, quote

# Parts of JSON (see `strict_json.parse`) that an instance may have on average: about 12 with a configuration, and some
# of what clients carry along to recognise their instances.
_PARTS_PER_INSTANCE = 40
_PARTS_OF_ONE = 10_000

_RECORDIO_MAGIC = bytes.fromhex("0a23d7ce")

# Attention weights are float32 between 0 and 1; more decimals than these would print noise.
_MATRIX_DECIMALS = 7

_EMPTY = "the body is empty; send at least one instance"

_MOST_NAMES = 5  # of the keys that an error message lists


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold at most.

    Attributes:
        instances: Instances of the request.
        tokens: Source tokens of one instance.
    """

    instances: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Instance:
    """One sentence to translate.

    Attributes:
        source: Tokens separated by white space, or vocabulary ids.
        options: What the client wants to have for it.
        place: Where it stands in the request, for messages.
    """

    source: str | Sequence[int]
    options: InstanceOptions
    place: str


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded body.

    Attributes:
        instances: The sentences in the order of the request.
        is_bare_list: The body was a JSON array of texts, which is answered by a JSON array.
    """

    instances: tuple[Instance, ...]
    is_bare_list: bool = False


def decode(body: bytes, format_: Format, parameters: Mapping[str, str], limits: Limits) -> Request:
    """Decodes the body of a request.

    Args:
        body: The bytes.
        format_: Their format.
        parameters: Parameters of the content type; ``attention_matrix`` counts for a bare JSON array of texts.
        limits: What the request may hold at most.

    Raises:
        ClientError: The body breaks a rule of its format; names the instance, line or record.
        TooLargeError: The body is over a limit.
    """
    if not body:
        raise ClientError(_EMPTY)
    if format_ is Format.JSON:
        return _decode_json(body, parameters, limits)
    if format_ is Format.JSON_LINES:
        instances = _decode_lines(body)
    else:
        instances = _decode_records(body)
    return Request(tuple(_checked(instances, limits)))


def encode(request: Request, translations: Sequence[Sequence[Translation]], format_: Format) -> bytes:
    """Encodes the answer to a request: per instance its translations, best first, in the same order.

    Records hold the ids of the best translation and nothing else.
    """
    if format_ is Format.RECORDIO:
        return _encode_records([best for best, *_ in translations])
    if format_ is Format.JSON_LINES:
        return b"".join(encode_lines(request, translations))
    answers = [
        _answer(found, instance.options) for instance, found in zip(request.instances, translations, strict=True)
    ]
    return _to_json(answers if request.is_bare_list else {"predictions": answers})


def encode_lines(request: Request, translations: Iterable[Sequence[Translation]]) -> Iterator[bytes]:
    """Encodes the answer to a request as lines, each as soon as its translations come; only the last has no end."""
    for number, (instance, found) in enumerate(zip(request.instances, translations, strict=True)):
        line = _to_json(_answer(found, instance.options))
        yield b"\n" + line if number else line


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Adds the place to the client's errors in the block."""
    try:
        yield
    except ClientError as error:
        error.at(place)
        raise


def _checked(instances: Iterable[Instance], limits: Limits) -> Iterator[Instance]:
    """Passes instances on until one is over a limit; an iterator is read no further than that."""
    for number, instance in enumerate(instances, start=1):
        if number > limits.instances:
            raise TooLargeError(f"more than {limits.instances} instances; send fewer per request")
        _check_length(instance, limits.tokens)
        yield instance


def _check_length(instance: Instance, limit: int) -> None:
    source = instance.source
    # A text is split no further than it takes to see that it is too long.
    tokens = len(source.split(maxsplit=limit)) if isinstance(source, str) else len(source)
    if tokens > limit:
        raise TooLargeError(
            f"more than {limit} source tokens; split the text into several instances", where=instance.place
        )


# -- application/json ----------------------------------------------------------------------------------------------


def _decode_json(body: bytes, parameters: Mapping[str, str], limits: Limits) -> Request:
    text = decode_utf8(body)
    if not text.strip():
        raise ClientError(_EMPTY)
    content = parse(text, max_parts=_PARTS_PER_INSTANCE * limits.instances + _PARTS_OF_ONE)
    is_bare_list = isinstance(content, list)
    entries = content if isinstance(content, list) else _instances_of(content)
    if len(entries) > limits.instances:
        raise TooLargeError(f"{len(entries)} instances; at most {limits.instances} are allowed, send fewer per request")
    if is_bare_list:
        instances = _from_texts(entries, _matrix_parameter(parameters))
    else:
        instances = (_from_object(entry, "data", f"instance {number}") for number, entry in enumerate(entries, start=1))
    return Request(tuple(_checked(instances, limits)), is_bare_list)


def _instances_of(content: object) -> list[object]:
    if not isinstance(content, dict):
        raise ClientError(f"the body is {name_of_type(content)}; {_JSON_EXAMPLE}")
    if "instances" not in content:
        raise ClientError(f"the body has no 'instances' ({_found(content)}); {_JSON_EXAMPLE}")
    entries = content["instances"]
    if not isinstance(entries, list):
        raise ClientError(f"'instances' is {name_of_type(entries)}; {_JSON_EXAMPLE}")
    return entries


_JSON_EXAMPLE = 'it must be an object such as {"instances": [{"data": "a b c"}]}'


def _matrix_parameter(parameters: Mapping[str, str]) -> InstanceOptions:
    try:
        return InstanceOptions(boolean(parameters.get("attention_matrix", "false")))
    except ClientError as error:
        raise ClientError(f"Content-Type parameter 'attention_matrix' {error.message}") from None


def _from_texts(texts: list[object], options: InstanceOptions) -> Iterator[Instance]:
    for number, text in enumerate(texts, start=1):
        place = f"instance {number}"
        if not isinstance(text, str):
            raise ClientError(
                f"{name_of_type(text)} in a list of texts; send texts alone, or {_JSON_EXAMPLE.partition(' ')[2]}",
                where=place,
            )
        yield Instance(_checked_text(text, place), options, place)


def _from_object(entry: object, key: str, place: str) -> Instance:
    """Reads ``{"data": text, "configuration": {...}}``; the text may also be under the key of the other text format.

    Other keys are what clients recognise their instances by, for instance when a batch transform joins input and
    output, and pass unread.
    """
    example = f'it must be an object such as {{"{key}": "a b c"}}'
    if not isinstance(entry, dict):
        raise ClientError(f"the instance is {name_of_type(entry)}; {example}", where=place)
    other = "source" if key == "data" else "data"
    found = key if key in entry or other not in entry else other
    if found not in entry:
        raise ClientError(f"there is no '{key}' ({_found(entry)}); {example}", where=place)
    text = entry[found]
    if not isinstance(text, str):
        raise ClientError(
            f"'{found}' is {name_of_type(text)}; it must be a string of tokens separated by white space", where=place
        )
    with _at(place):
        options = parse_configuration(entry.get("configuration", {}))
    return Instance(_checked_text(text, place), options, place)


def _checked_text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ClientError(
            f"character {error.start + 1} of the text is half a surrogate pair (\\u{ord(text[error.start]):04x}), "
            "which is not Unicode text; escape characters beyond \\uffff as two halves",
            where=place,
        ) from None
    return text


def _found(entry: dict[str, Any]) -> str:
    if not entry:
        return "the object is empty"
    names = ", ".join(map(quote, itertools.islice(entry, _MOST_NAMES)))
    return f"found {names}" + (", ..." if len(entry) > _MOST_NAMES else "")


def _answer(translations: Sequence[Translation], options: InstanceOptions) -> dict[str, Any]:
    answer = _one(translations[0], options)
    if options.n_best is not None:
        answer["n_best"] = [_one(translation, options) for translation in translations]
    return answer


def _one(translation: Translation, options: InstanceOptions) -> dict[str, Any]:
    answer: dict[str, Any] = {"target": translation.text}
    if options.tokens:
        answer["source_tokens"], answer["target_tokens"] = translation.source_tokens, translation.tokens
    if options.scores:
        # JSON has no infinity, which is the score of a translation without a single token under one of the rules.
        answer["score"] = translation.score if math.isfinite(translation.score) else None
    if options.attention_matrix:
        answer["matrix"] = np.round(translation.attention.astype(np.float64), _MATRIX_DECIMALS).tolist()
    return answer


def _to_json(value: object) -> bytes:
    # A target vocabulary may hold halves of surrogate pairs, which no client could decode.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", errors="replace")


# -- application/jsonlines -----------------------------------------------------------------------------------------


def _decode_lines(body: bytes) -> Iterator[Instance]:
    # No str.splitlines: it also splits at characters that JSON strings may contain.
    text = decode_utf8(body).rstrip()
    if not text:
        raise ClientError(_EMPTY)
    start = 0
    for number in itertools.count(1):
        end = text.find("\n", start)
        line = text[start : end if end >= 0 else len(text)]
        yield _from_line(line, f"line {number}")
        if end < 0:
            return
        start = end + 1


def _from_line(line: str, place: str) -> Instance:
    if not line.strip():
        return Instance("", InstanceOptions(), place)
    with _at(place):
        entry = parse(line, _PARTS_OF_ONE)
    return _from_object(entry, "source", place)


# -- application/x-recordio-protobuf -------------------------------------------------------------------------------


def _decode_records(body: bytes) -> Iterator[Instance]:
    # A batch transform that splits by record takes the frames off. No record begins with the bytes of the magic.
    payloads = read_records(io.BytesIO(body)) if body.startswith(_RECORDIO_MAGIC) else iter((body,))
    for number, payload in enumerate(payloads, start=1):
        place = f"record {number}"
        with _at(place):
            instance = _from_record(parse_record(payload), place)
        yield instance


def _from_record(record: Record, place: str) -> Instance:
    if "source" not in record.features:
        names = ", ".join(sorted(map(quote, itertools.islice(record.features, _MOST_NAMES))))
        raise ClientError(
            f"there is no feature 'source' (found: {names or 'none'}); a record needs the source tokens as int32_tensor"
        )
    options = InstanceOptions()
    if record.configuration:
        options = parse_configuration(parse(_unicode(record.configuration), _PARTS_OF_ONE))
    return Instance(read_tokens(record, "source"), options, place)


def _unicode(text: str | bytes) -> str:
    """Returns a string of a record, which protobuf leaves as bytes if it is not UTF-8."""
    return text if isinstance(text, str) else decode_utf8(text)


def _encode_records(translations: Sequence[Translation]) -> bytes:
    stream = io.BytesIO()
    for translation in translations:
        record = Record()
        tensor = record.features["target"].int32_tensor
        tensor.SetInParent()  # clients stop reading at a record without bytes, so an empty target is a present tensor
        tensor.values.extend(translation.token_ids)
        write_record(stream, record.SerializeToString(deterministic=True))
    return stream.getvalue()
