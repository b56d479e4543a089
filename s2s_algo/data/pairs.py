"""One training example: the token ids of a source and a target sequence, as a protobuf record.

Source: container contract 1.2 and 1.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.message import DecodeError

from s2s_algo.data.record_pb2 import Record
from s2s_algo.errors import ClientError

_MOST_NAMES = 5  # of the features that an error message lists
_LONGEST_NAME = 40  # characters of a feature's name that an error message shows


class Pair(NamedTuple):
    """Vocabulary ids without ``<s>``, ``</s>`` and ``<pad>``; either side may be empty."""

    source: list[int]
    target: list[int]


def parse_pair(payload: bytes) -> Pair:
    """Reads the pair from the payload of one RecordIO frame.

    Raises:
        ClientError: The payload is not a record or lacks int32 tokens on one side; names what was found.
    """
    record = parse_record(payload)
    return Pair(read_tokens(record, "source"), read_tokens(record, "target"))


def parse_record(payload: bytes) -> Record:
    """Parses the payload of one RecordIO frame.

    Raises:
        ClientError: The payload is no protobuf message of this schema.
    """
    try:
        return Record.FromString(payload)
    except DecodeError as error:
        raise ClientError(
            f"{len(payload)} bytes that are not a protobuf Record; write the data with `s2s prepare` or with the "
            "Record schema of the SageMaker SDK"
        ) from error


def read_tokens(record: Record, name: str) -> list[int]:
    """Returns the token ids of the feature called `name`.

    Raises:
        ClientError: There is no such feature or it holds anything but a dense int32 tensor; names what was found.
    """
    value = record.features.get(name)
    if value is None:
        raise ClientError(
            f"there is no feature '{name}' ({_features_found(record)}); "
            "a record needs the features 'source' and 'target', each an int32_tensor of token ids"
        )
    if not value.HasField("int32_tensor"):
        found = value.WhichOneof("value") or "no value"
        raise ClientError(
            f"feature '{name}' holds {found}; only int32 tokens are accepted, so write the ids as int32_tensor"
        )
    tensor = value.int32_tensor
    if tensor.keys:
        raise ClientError(f"feature '{name}' is a sparse tensor; write all token ids into its values and no keys")
    return list(tensor.values)


def encode_pair(source: Iterable[int], target: Iterable[int]) -> bytes:
    """Returns the payload of one RecordIO frame; equal pairs give equal bytes."""
    record = Record()
    for name, ids in (("source", source), ("target", target)):
        tensor = record.features[name].int32_tensor
        tensor.SetInParent()  # readers expect the tensor to be present even if it is empty
        tensor.values.extend(ids)
    return record.SerializeToString(deterministic=True)


def _features_found(record: Record) -> str:
    names = sorted(repr(name[:_LONGEST_NAME]) for name in record.features)
    if not names:
        return "it has no features at all"
    more = ", ..." if len(names) > _MOST_NAMES else ""
    return f"it has {', '.join(names[:_MOST_NAMES])}{more}"
