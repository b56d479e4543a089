"""A client that knows the container's contract and nothing else: no import of the product's modules.

It writes its own RecordIO frames and compiles its own copy of the public record schema.
"""

from __future__ import annotations

import importlib.util
import io
import json
import struct
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from grpc_tools import protoc

MAGIC = 0xCED7230A

# The fields that a client of this algorithm meets. The package's name does not go over the wire.
SCHEMA = """
syntax = "proto2";
package independent.client;

message Int32Tensor {
  repeated int32 values = 1 [packed = true];
  repeated uint64 keys = 2 [packed = true];
  repeated uint64 shape = 3 [packed = true];
}

message Value {
  oneof value {
    Int32Tensor int32_tensor = 7;
  }
}

message Record {
  map<string, Value> features = 1;
  map<string, Value> label = 2;
  optional string uid = 3;
  optional string metadata = 4;
  optional string configuration = 5;
}
"""


def compile_schema(folder: Path) -> ModuleType:
    """Compiles the schema and imports what comes out."""
    (folder / "independent_record.proto").write_text(SCHEMA)
    assert protoc.main(["protoc", f"-I{folder}", f"--python_out={folder}", "independent_record.proto"]) == 0
    spec = importlib.util.spec_from_file_location("independent_record_pb2", folder / "independent_record_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_recordio(stream: BinaryIO, payload: bytes) -> None:
    """Appends one frame: magic, length, payload, zeros up to a multiple of four."""
    stream.write(struct.pack("I", MAGIC))
    stream.write(struct.pack("I", len(payload)))
    stream.write(payload)
    stream.write(b"\0" * (((len(payload) + 3) >> 2 << 2) - len(payload)))


def read_next(stream: BinaryIO) -> bytes:
    """Returns the payload of the next frame, nothing at the end."""
    header = stream.read(4)
    if not header:
        return b""
    if struct.unpack("I", header)[0] != MAGIC:
        raise ValueError("Incorrect encoding")
    (length,) = struct.unpack("I", stream.read(4))
    payload = stream.read(length)
    stream.read(((length + 3) >> 2 << 2) - length)
    return payload


class Client:
    """Makes channels and requests."""

    def __init__(self, schema: ModuleType) -> None:
        self._schema = schema

    def encode(self, source: Iterable[int], target: Iterable[int]) -> bytes:
        """The payload of one pair."""
        record = self._schema.Record()
        record.features["source"].int32_tensor.values.extend(source)
        record.features["target"].int32_tensor.values.extend(target)
        # So that an empty target is there as well.
        record.features["target"].int32_tensor.SetInParent()
        return record.SerializeToString()

    def write_channels(
        self, base: Path, train: Sequence[tuple[str, str]], validation: Sequence[tuple[str, str]]
    ) -> None:
        """Lays the three channels out below ``/opt/ml/input/data``."""
        source, target = (vocabulary(pair[side] for pair in train) for side in (0, 1))
        for channel, file, pairs in (("train", "train.rec", train), ("validation", "val.rec", validation)):
            with self._create(base, channel, file) as stream:
                for one, other in pairs:
                    write_recordio(stream, self.encode(look_up(source, one), look_up(target, other)))
        for file, words in (("vocab.src.json", source), ("vocab.trg.json", target)):
            with self._create(base, "vocab", file) as stream:
                stream.write(json.dumps(words, indent=4, ensure_ascii=False).encode())

    def ask_json(self, url: str, sentences: Sequence[str]) -> list[dict[str, Any]]:
        """Translates with the attention matrix, as the public notebook does."""
        instances = [{"data": text, "configuration": {"attention_matrix": "true"}} for text in sentences]
        answer = json.loads(post(url, json.dumps({"instances": instances}).encode(), "application/json"))
        predictions: list[dict[str, Any]] = answer["predictions"]
        return predictions

    def ask_jsonlines(self, url: str, sentences: Sequence[str]) -> list[str]:
        """Translates as a batch transform job does."""
        body = "\n".join(json.dumps({"source": text}) for text in sentences)
        answer = post(url, body.encode(), "application/jsonlines").decode()
        return [json.loads(line)["target"] for line in answer.split("\n")]

    def ask_protobuf(self, url: str, sentences: Sequence[str], base: Path) -> list[str]:
        """Translates ids, and reads the answer up to the first record without content, as the public notebook does."""
        source = json.loads((base / "input/data/vocab/vocab.src.json").read_text(encoding="utf-8"))
        target = json.loads((base / "input/data/vocab/vocab.trg.json").read_text(encoding="utf-8"))
        words = {id_: word for word, id_ in target.items()}
        body = io.BytesIO()
        for text in sentences:
            write_recordio(body, self.encode(look_up(source, text), []))
        answer = io.BytesIO(post(url, body.getvalue(), "application/x-recordio-protobuf"))
        return [
            " ".join(words[id_] for id_ in record.features["target"].int32_tensor.values)
            for record in self._records(answer)
        ]

    def _records(self, stream: BinaryIO) -> Iterator[Any]:
        while next_record := read_next(stream):
            record = self._schema.Record()
            record.ParseFromString(next_record)
            yield record

    def _create(self, base: Path, channel: str, file: str) -> BinaryIO:
        folder = base / "input" / "data" / channel
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / file).open("wb")


def vocabulary(sentences: Iterable[str]) -> dict[str, int]:
    """Ids by frequency after the four special symbols."""
    counts = Counter(word for sentence in sentences for word in sentence.split())
    ordered = sorted(((count, word) for word, count in counts.items()), reverse=True)
    return {word: id_ for id_, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *(word for _, word in ordered)])}


def look_up(words: dict[str, int], sentence: str) -> list[int]:
    """Ids of a sentence's words."""
    return [words.get(word, words["<unk>"]) for word in sentence.split()]


def post(url: str, body: bytes, content_type: str) -> bytes:
    """Asks the endpoint."""
    request = urllib.request.Request(f"{url}/invocations", data=body, headers={"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.headers["Content-Type"].startswith(content_type)
        answer: bytes = response.read()
        return answer


def is_ready(url: str) -> bool:
    """Asks for the health of the endpoint."""
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=5) as response:
            return response.status == 200 and response.read() == b""
    except (urllib.error.URLError, ConnectionError):
        return False
