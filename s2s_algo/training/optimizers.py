"""Optimizers with MXNet's formulas (numerics of MXNet 0.12), which differ from torch's in small but real ways.

In all of them ``clip`` limits each number of a gradient to [-c, c], weight decay touches weights and spares biases,
and the update count t starts at 1. All parameters are updated by a handful of fused calls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from s2s_algo.errors import ClientError
from s2s_algo.model.initialization import is_weight

OptimizerType = Literal["adam", "sgd", "rmsprop"]


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """Which optimizer.

    Attributes:
        type: Its name.
        weight_decay: Share of a weight that is added to its gradient (adam, rmsprop) or subtracted from it (sgd).
        momentum: Of sgd alone; 0 for none.
        clip_gradient: c of the element-wise clip; ``None`` for none.
    """

    type: OptimizerType
    weight_decay: float = 0.0
    momentum: float = 0.0
    clip_gradient: float | None = None


class Optimizer:
    """Updates the parameters of a model from their gradients.

    Attributes:
        updates: How many updates were made.
        moments: Per kind of running average, one float tensor per parameter.
    """

    moment_names: tuple[str, ...] = ()

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        self.updates = 0
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters: list[Tensor] = list(model.parameters())
        self.decayed = [index for index, name in enumerate(self.names) if is_weight(name)]
        self.moments = {kind: [torch.zeros_like(p) for p in self.parameters] for kind in self.moment_names}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One update from the gradients in ``parameter.grad``, which it uses up."""
        self.updates += 1
        # A parameter that took no part in the loss has a gradient of zero, and still decays and keeps its momentum.
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        self._update(gradients, learning_rate)
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def has_finite_gradients(self) -> bool:
        """Whether every number of every gradient is finite."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if gradients[0].device.type == "cpu":
            # There, norms take twenty times as long. Both ends are NaN if any number is.
            ends = [end for gradient in gradients for end in gradient.aminmax()]
        else:
            ends = list(torch._foreach_norm(gradients, math.inf))
        return bool(torch.stack(ends).isfinite().all())

    def state(self) -> dict[str, Tensor]:
        """The running averages by ``kind/parameter`` for a checkpoint; ``updates`` is kept apart."""
        return {
            f"{kind}/{name}": tensor
            for kind, tensors in self.moments.items()
            for name, tensor in zip(self.names, tensors, strict=True)
        }

    def load_state(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Takes over what ``state`` gave.

        Raises:
            ClientError: The state belongs to another optimizer or model.
        """
        own = self.state()
        if state.keys() != own.keys() or any(state[key].shape != own[key].shape for key in own):
            raise ClientError(
                f"The optimizer state does not fit {self.config.type} on this model. "
                "Resume with the hyperparameters of the first run, or empty the checkpoint folder."
            )
        for key, tensor in own.items():
            tensor.copy_(state[key])
        self.updates = updates

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        raise NotImplementedError

    def _clip(self, gradients: list[Tensor]) -> None:
        if self.config.clip_gradient is not None:
            torch._foreach_clamp_min_(gradients, -self.config.clip_gradient)
            torch._foreach_clamp_max_(gradients, self.config.clip_gradient)

    def _decay_into(self, targets: list[Tensor], factor: float) -> None:
        """Adds ``factor * weight`` to the targets of weights."""
        if factor:
            weights = [self.parameters[index] for index in self.decayed]
            torch._foreach_add_([targets[index] for index in self.decayed], weights, alpha=factor)


class SGD(Optimizer):
    """w ← (1 - lr·wd)·w - lr·clip(g); the clip leaves the decay out."""

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        self._clip(gradients)
        self._decay_into(gradients, self.config.weight_decay)
        torch._foreach_add_(self.parameters, gradients, alpha=-learning_rate)


class MomentumSGD(Optimizer):
    """m ← μm - lr·(wd·w + clip(g)); w ← w + m. The rate is inside m, so a change of it acts slowly."""

    moment_names = ("momentum",)

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        self._clip(gradients)
        self._decay_into(gradients, self.config.weight_decay)
        momentum = self.moments["momentum"]
        torch._foreach_mul_(momentum, self.config.momentum)
        torch._foreach_add_(momentum, gradients, alpha=-learning_rate)
        torch._foreach_add_(self.parameters, momentum, alpha=1)


class Adam(Optimizer):
    """Kingma and Ba (2015), ε added to the uncorrected root; decay inside the clip and the averages."""

    moment_names = ("mean", "variance")
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        self._decay_into(gradients, self.config.weight_decay)
        self._clip(gradients)
        mean, variance = self.moments["mean"], self.moments["variance"]
        # torch's operator, which reads and writes all numbers once, adds its ε to the corrected root.
        epsilon = self.epsilon / math.sqrt(1 - self.beta2**self.updates)
        step = torch.full((), float(self.updates), device=mean[0].device)
        torch._fused_adam_(
            self.parameters,
            gradients,
            mean,
            variance,
            [],
            [step] * len(mean),
            lr=learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=0.0,
            eps=epsilon,
            amsgrad=False,
            maximize=False,
        )


class RMSProp(Optimizer):
    """n ← 0.9n + 0.1G²; w ← w - lr·G / √(n + ε), with ε inside the root and the decay inside the clip."""

    moment_names = ("variance",)
    decay, epsilon = 0.9, 1e-8

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        self._decay_into(gradients, self.config.weight_decay)
        self._clip(gradients)
        variance = self.moments["variance"]
        torch._foreach_mul_(variance, self.decay)
        torch._foreach_addcmul_(variance, gradients, gradients, value=1 - self.decay)
        root = torch._foreach_add(variance, self.epsilon)
        torch._foreach_sqrt_(root)
        torch._foreach_addcdiv_(self.parameters, gradients, root, value=-learning_rate)


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """The optimizer that ``config`` describes."""
    if config.type == "sgd":
        return MomentumSGD(model, config) if config.momentum else SGD(model, config)
    return {"adam": Adam, "rmsprop": RMSProp}[config.type](model, config)
