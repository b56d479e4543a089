"""The recurrent model by its formulas: one sentence, one step and one layer at a time, in double precision.

It reads the weights of a model, and nothing of how the model was configured: that is said by the arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2s_algo.model.seq2seq import Seq2Seq

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Settings:
    """What the hyperparameters say, in the page's words."""

    cell: str = "lstm"
    attention: str = "mlp"
    state_init: str = "last"
    attention_in_upper_layers: bool = True
    first_residual_layer: int | None = None


class Reference:
    """Computes what a model should."""

    def __init__(self, model: Seq2Seq, settings: Settings) -> None:
        self.weights = {name: weight.detach().double() for name, weight in model.named_parameters()}
        self.settings = settings

    def answers(self, source: list[int], target_in: list[int]) -> tuple[Tensor, Tensor]:
        """What the output layer sees, and the attention weights, of every step: [T, H] and [T, S]."""
        encoded = self.encode(source)
        layers = self._start(encoded)
        answer = torch.zeros_like(layers[0][0])
        answers, attention = [], []
        for token in target_in:
            embedded = self.weights["target_embedding.weight"][token]
            answer, weights, layers = self._step(torch.cat([embedded, answer]), layers, encoded)
            answers.append(answer)
            attention.append(weights)
        return torch.stack(answers), torch.stack(attention)

    def encode(self, source: list[int]) -> Tensor:
        """The states of the source positions, [S, H]."""
        states = self.weights["source_embedding.weight"][source]
        ahead = self._run("encoder.forward_layer", states)
        back = self._run("encoder.backward_layer", states.flip(0)).flip(0)
        states = torch.cat([ahead, back], dim=-1)
        for number in range(2, 2 + self._count("encoder.upper_layers")):
            output = self._run(f"encoder.upper_layers.{number - 2}", states)
            states = output + states if self._is_residual(number) else output
        return states

    def _step(self, inputs: Tensor, layers: list[State], encoded: Tensor) -> tuple[Tensor, Tensor, list[State]]:
        upper = self.settings.attention_in_upper_layers and len(layers) > 1
        context = weights = None
        after = []
        for number, state in enumerate(layers, start=1):
            full = torch.cat([inputs, context]) if upper and number > 1 else inputs
            after.append(self._cell(f"decoder.layers.{number - 1}", "", full, state))
            output = after[-1][0]
            inputs = output + inputs if self._is_residual(number) else output
            if upper and number == 1:
                context, weights = self._attend(output, encoded)
        if not upper:
            context, weights = self._attend(inputs, encoded)
        return torch.tanh(self._linear("decoder.hidden_layer", torch.cat([inputs, context]))), weights, after

    def _start(self, encoded: Tensor) -> list[State]:
        per_layer = 2 if self.settings.cell == "lstm" else 1
        count = self._count("decoder.layers")
        if self.settings.state_init == "zero":
            zeros = torch.zeros_like(self.weights["decoder.hidden_layer.bias"])
            return [(zeros,) * per_layer] * count
        summary = encoded[-1] if self.settings.state_init == "last" else encoded.mean(0)
        flat = [torch.tanh(self._linear(f"decoder.state_layers.{n}", summary)) for n in range(count * per_layer)]
        return [tuple(flat[n : n + per_layer]) for n in range(0, len(flat), per_layer)]

    def _attend(self, query: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
        kind = self.settings.attention
        if kind == "fixed":
            weights = torch.zeros(len(encoded), dtype=encoded.dtype)
            weights[-1] = 1
        else:
            weights = torch.stack([self._score(kind, query, state) for state in encoded]).softmax(0)
        return sum(weight * state for weight, state in zip(weights, encoded, strict=True)), weights

    def _score(self, kind: str, query: Tensor, state: Tensor) -> Tensor:
        if kind == "bilinear":
            return self._linear("decoder.attention.source_layer", state) @ query
        source = self._linear("decoder.attention.source_layer", state)
        target = self._linear("decoder.attention.query_layer", query)
        if kind == "dot":
            return source @ target
        return self._linear("decoder.attention.score_layer", torch.tanh(source + target))[0]

    def _run(self, name: str, inputs: Tensor) -> Tensor:
        size = self.weights[f"{name}.weight_hh_l0"].shape[1]
        state = (inputs.new_zeros(size),) * 2
        outputs = []
        for row in inputs:
            state = self._cell(name, "_l0", row, state)
            outputs.append(state[0])
        return torch.stack(outputs)

    def _cell(self, name: str, suffix: str, inputs: Tensor, state: State) -> State:
        w_i, w_h, b_i, b_h = (
            self.weights[f"{name}.{kind}{suffix}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h = state[0]
        if self.settings.cell == "gru":
            (ir, iz, i_n), (hr, hz, hn) = (w_i @ inputs + b_i).chunk(3), (w_h @ h + b_h).chunk(3)
            z = torch.sigmoid(iz + hz)
            return ((1 - z) * torch.tanh(i_n + torch.sigmoid(ir + hr) * hn) + z * h,)
        i, f, g, o = (w_i @ inputs + b_i + w_h @ h + b_h).chunk(4)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        # A layer that does not exist passes its input on.
        if f"{name}.weight" not in self.weights:
            return inputs
        return self.weights[f"{name}.weight"] @ inputs + self.weights.get(f"{name}.bias", 0)

    def _count(self, prefix: str) -> int:
        numbers = {name.split(".")[2] for name in self.weights if name.startswith(f"{prefix}.")}
        return len(numbers)

    def _is_residual(self, number: int) -> bool:
        first = self.settings.first_residual_layer
        return first is not None and number >= first
