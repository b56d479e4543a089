"""Initial weights, exactly distributed as the original's (``original`` meaning Sockeye 1.10 on MXNet).

By kind of parameter, the first rule that fits:

1. recurrent matrices: orthogonal, the whole stacked [G, H] matrix at once, times 1.414;
2. every other weight, embeddings included: xavier or uniform;
3. biases: 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

InitType = Literal["xavier", "uniform"]
FactorType = Literal["in", "out", "avg"]

_ORTHOGONAL_SCALE = 1.414


@dataclass(frozen=True, slots=True)
class Initialization:
    """How weights other than the recurrent ones are drawn.

    Attributes:
        type: ``xavier``: U(-c, c) with c = sqrt(scale / fan); ``uniform``: U(-scale, scale).
        scale: xavier's magnitude or uniform's bound, positive.
        factor_type: xavier's fan: inputs, outputs or their mean.
    """

    type: InitType
    scale: float
    factor_type: FactorType

    def bound(self, shape: torch.Size) -> float:
        """The bound c of U(-c, c) for a weight of this shape, [outputs, inputs, kernel …]."""
        if self.type == "uniform":
            return self.scale
        kernel = math.prod(shape[2:])
        fan_in, fan_out = shape[1] * kernel, shape[0] * kernel
        factor = {"in": fan_in, "out": fan_out, "avg": (fan_in + fan_out) / 2}[self.factor_type]
        return math.sqrt(self.scale / factor)


def is_weight(name: str) -> bool:
    """Whether a parameter is a weight (drawn, decayed) rather than a bias (zero, not decayed)."""
    return name.rsplit(".", 1)[-1].startswith("weight")


def is_recurrent(name: str) -> bool:
    """Whether a parameter multiplies a layer's own last state."""
    return name.rsplit(".", 1)[-1].startswith("weight_hh")


@torch.no_grad()
def initialize(model: nn.Module, initialization: Initialization, seed: int) -> None:
    """Draws all parameters anew; the same seed gives the same weights whatever was drawn before."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if is_recurrent(name):
            parameter.copy_(_orthogonal(parameter.shape, generator))
        elif is_weight(name):
            bound = initialization.bound(parameter.shape)
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
        else:
            parameter.zero_()


def _orthogonal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """A matrix of ``shape`` [G, H] whose columns are orthogonal and 1.414 long."""
    noise = torch.empty(shape).uniform_(-1, 1, generator=generator)
    left, _, right = torch.linalg.svd(noise, full_matrices=False)
    return _ORTHOGONAL_SCALE * (left if left.shape == shape else right)
