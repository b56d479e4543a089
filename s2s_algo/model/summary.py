"""The parameters of a model, part by part."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

# The parts of a model in the order in which data flows; the first prefix that fits decides.
_PARTS = {
    "source_embedding.": "source embedding",
    "encoder.": "encoder",
    "target_embedding.": "target embedding",
    "decoder.attention.": "attention",
    "decoder.": "decoder",
    "output_layer.": "output layer",
}


@dataclass(frozen=True, slots=True)
class ParameterSummary:
    """A tensor of model.safetensors; ``layer`` is empty where the whole part is one layer."""

    name: str
    layer: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class PartSummary:
    """A part of a model; some have no parameters."""

    name: str
    parameters: Sequence[ParameterSummary]

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return sum(parameter.count for parameter in self.parameters)


def summarize(model: nn.Module) -> list[PartSummary]:
    """All parameters of a model, which may lie on the meta device, by part."""
    found: dict[str, list[ParameterSummary]] = {title: [] for title in _PARTS.values()}
    for name, parameter in model.named_parameters():
        prefix = next(prefix for prefix in _PARTS if name.startswith(prefix))
        layer = name.removeprefix(prefix).rpartition(".")[0]
        found[_PARTS[prefix]].append(ParameterSummary(name, layer, tuple(parameter.shape)))
    return [PartSummary(title, parameters) for title, parameters in found.items()]


def model_file_size(parts: Sequence[PartSummary]) -> int:
    """Bytes of model.safetensors: the length of a header, the header, four bytes per number."""
    header, end = {}, 0
    for parameter in sorted((p for part in parts for p in part.parameters), key=lambda parameter: parameter.name):
        begin, end = end, end + 4 * parameter.count
        header[parameter.name] = {"dtype": "F32", "shape": parameter.shape, "data_offsets": (begin, end)}
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + math.ceil(length / 8) * 8 + end
