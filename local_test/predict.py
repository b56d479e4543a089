"""A client of the endpoint that needs nothing but Python: the three formats of the SageMaker Seq2Seq algorithm.

python local_test/predict.py 'h e l l o' 'w o r l d' --attention
python local_test/predict.py --format recordio --vocabularies FOLDER/input/data/vocab 'h e l l o'
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

DEFAULT_URL = "http://127.0.0.1:8080"
JSON, JSON_LINES, RECORDIO = "application/json", "application/jsonlines", "application/x-recordio-protobuf"

# The endpoint answers within 60 seconds or not at all.
TIMEOUT_SECONDS = 70

# A proxy meant for the internet must not get requests that are meant for this machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_MAGIC = 0xCED7230A

# Field numbers and wire types of the protobuf schema.
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FEATURES, _KEY, _VALUE, _INT32_TENSOR, _VALUES = 1, 1, 2, 7, 1


class RequestError(Exception):
    """The endpoint could not be reached, or answered with an error."""


def invoke(url: str, body: bytes, content_type: str) -> bytes:
    """Sends one request and returns the body of the answer, which has the type of the request.

    Raises:
        RequestError: Carries the status and the text of the answer.
    """
    headers = {"Content-Type": content_type, "Accept": content_type}
    request = urllib.request.Request(f"{url}/invocations", body, headers)
    try:
        with _DIRECT.open(request, timeout=TIMEOUT_SECONDS) as response:
            answer: bytes = response.read()
            return answer
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", errors="replace")
        raise RequestError(f"the endpoint answered {error.code}: {text}") from None
    except OSError as error:
        raise RequestError(f"no answer from {url}: {getattr(error, 'reason', error)}") from None


def is_ready(url: str) -> bool:
    """Tells whether the endpoint has loaded its model and answers."""
    try:
        with _DIRECT.open(f"{url}/ping", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def predict_json(url: str, sentences: Sequence[str], attention: bool = False) -> list[dict[str, Any]]:
    """Returns for each sentence an object with ``target``, and with ``matrix`` if attention is wanted.

    A matrix has a row for each token of the target and a column for each token of the source.
    """
    options = {"configuration": {"attention_matrix": "true"}} if attention else {}
    request = {"instances": [{"data": sentence, **options} for sentence in sentences]}
    answer = json.loads(invoke(url, json.dumps(request).encode(), JSON))
    predictions: list[dict[str, Any]] = answer["predictions"]
    return predictions


def predict_json_lines(url: str, sentences: Sequence[str]) -> list[dict[str, Any]]:
    """Returns an object with ``target`` for each sentence; the format of batch transform."""
    body = "\n".join(json.dumps({"source": sentence}) for sentence in sentences)
    return [json.loads(line) for line in invoke(url, body.encode(), JSON_LINES).splitlines()]


def predict_recordio(url: str, sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """Returns the target ids for the source ids of each sentence."""
    body = b"".join(encode_record(ids) for ids in sequences)
    return list(decode_records(invoke(url, body, RECORDIO)))


def encode_record(source: Sequence[int]) -> bytes:
    """Returns a framed protobuf record with source ids and an empty target."""
    payload = _feature("source", source) + _feature("target", [])
    return struct.pack("<II", _MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


def decode_records(data: bytes) -> Iterator[list[int]]:
    """Yields the target ids of each framed record.

    Raises:
        RequestError: The bytes are no such records.
    """
    position = 0
    while position < len(data):
        if len(data) - position < 8:
            raise RequestError("the answer ends in the middle of a record")
        magic, length = struct.unpack_from("<II", data, position)
        position += 8
        if magic != _MAGIC or position + length > len(data):
            raise RequestError("the answer does not consist of RecordIO records")
        yield _target(data[position : position + length])
        position += length + -length % 4


def _feature(name: str, ids: Sequence[int]) -> bytes:
    """Encodes one entry of a record's map from names to tensors."""
    values = b"".join(map(_encode_varint, ids))
    tensor = _delimited(_VALUES, values) if ids else b""
    return _delimited(
        _FEATURES, _delimited(_KEY, name.encode()) + _delimited(_VALUE, _delimited(_INT32_TENSOR, tensor))
    )


def _delimited(number: int, content: bytes) -> bytes:
    """Encodes a field that holds text, bytes, packed numbers or a message."""
    return _encode_varint(number << 3 | _DELIMITED) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    """Encodes a number in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _target(payload: bytes) -> list[int]:
    """Finds the ids of the feature ``target`` in a record."""
    for number, entry in _fields(payload):
        if number != _FEATURES:
            continue
        fields = dict(_fields(entry))
        if fields.get(_KEY) == b"target":
            tensor = dict(_fields(fields.get(_VALUE, b""))).get(_INT32_TENSOR)
            if tensor is not None:
                return [value for number, packed in _fields(tensor) if number == _VALUES for value in _varints(packed)]
    raise RequestError("a record of the answer has no target ids")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the number and the bytes of each field that holds text, bytes, packed numbers or a message."""
    position = 0
    while position < len(message):
        tag, position = _decode_varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, position = _decode_varint(message, position)
            continue
        if wire_type == _DELIMITED:
            length, position = _decode_varint(message, position)
        elif wire_type in (_FIXED32, _FIXED64):
            length = 4 if wire_type == _FIXED32 else 8
        else:
            raise RequestError("a record of the answer is not protobuf")
        if position + length > len(message):
            raise RequestError("a record of the answer ends in the middle of a field")
        if wire_type == _DELIMITED:
            yield number, message[position : position + length]
        position += length


def _varints(packed: bytes) -> Iterator[int]:
    """Yields numbers that stand one after the other."""
    position = 0
    while position < len(packed):
        value, position = _decode_varint(packed, position)
        yield value


def _decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """Returns a number and the position behind it."""
    value = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise RequestError("a record of the answer ends in the middle of a number")


def _predict_words_recordio(url: str, sentences: Sequence[str], vocabularies: Path) -> list[dict[str, Any]]:
    """Looks the words up before and after a recordio request, as that format carries ids alone."""
    ids: dict[str, int] = json.loads((vocabularies / "vocab.src.json").read_text(encoding="utf-8"))
    target: dict[str, int] = json.loads((vocabularies / "vocab.trg.json").read_text(encoding="utf-8"))
    words = {id_: word for word, id_ in target.items()}
    ids["<pad>"] = ids["<unk>"]  # padding is no word; the endpoint refuses its id
    sequences = [[ids.get(word, ids["<unk>"]) for word in sentence.split()] for sentence in sentences]
    return [{"target": " ".join(words[id_] for id_ in answer)} for answer in predict_recordio(url, sequences)]


def _print_prediction(sentence: str, prediction: dict[str, Any]) -> None:
    """Prints a sentence, its translation and, if there is one, the attention matrix with its tokens."""
    print(f"{sentence}  ->  {prediction['target']}")
    matrix = prediction.get("matrix")
    if not matrix:
        return
    target, source = prediction["target"].split(), sentence.split()
    width, column = max(map(len, target)), max(4, *map(len, source))
    print(" " * width, *(f"{token:>{column}}" for token in source))
    for token, row in zip(target, matrix, strict=True):
        print(f"{token:>{width}}", *(f"{weight:>{column}.2f}" for weight in row))


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Translates sentences at an endpoint.")
    parser.add_argument("sentences", nargs="*", help="tokens between blanks; without any, one sentence a line of input")
    parser.add_argument("--url", default=DEFAULT_URL, help="default: %(default)s")
    parser.add_argument("--format", choices=["json", "jsonlines", "recordio"], default="json")
    parser.add_argument("--attention", action="store_true", help="print attention matrices (json)")
    parser.add_argument("--vocabularies", type=Path, metavar="FOLDER", help="the vocab channel's folder (recordio)")
    arguments = parser.parse_args()
    if arguments.attention and arguments.format != "json":
        parser.error("--attention needs --format json, the one format that carries matrices")
    if arguments.format == "recordio" and arguments.vocabularies is None:
        parser.error("--format recordio needs --vocabularies, because it carries ids and not words")

    sentences = arguments.sentences or [line.rstrip("\n") for line in sys.stdin]
    try:
        if arguments.format == "json":
            predictions = predict_json(arguments.url, sentences, arguments.attention)
        elif arguments.format == "jsonlines":
            predictions = predict_json_lines(arguments.url, sentences)
        else:
            predictions = _predict_words_recordio(arguments.url, sentences, arguments.vocabularies)
    except (RequestError, OSError) as error:
        raise SystemExit(f"predict.py: {error}") from None
    for sentence, prediction in zip(sentences, predictions, strict=True):
        _print_prediction(sentence, prediction)


if __name__ == "__main__":
    main()
