"""The convolutional encoder and decoder by their formulas: one sentence, one position and one neighbour at a time.

In numpy and double precision. It reads the weights of a model, and nothing of how the model was configured: what cannot
be seen in the weights is said by arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s_algo.model.seq2seq import Seq2Seq

Array = NDArray[np.float64]


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _glu(x: Array) -> Array:
    half = len(x) // 2
    return x[:half] * _sigmoid(x[half:])


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "glu": _glu,
    "relu": lambda x: x * (x > 0),
    "softrelu": lambda x: np.log(1 + np.exp(x)),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
}


def convolve(kernel: Array, bias: Array, inputs: Sequence[Array], first: int) -> list[Array]:
    """The convolution at every position.

    Args:
        kernel: [F, H, W].
        bias: [F].
        inputs: A vector [H] per position; there are zeros on both sides.
        first: Where the kernel's first neighbour is, seen from the position.
    """
    outputs = []
    for position in range(len(inputs)):
        total = np.array(bias)
        for number in range(kernel.shape[2]):
            neighbour = position + first + number
            if 0 <= neighbour < len(inputs):
                total += kernel[:, :, number] @ inputs[neighbour]
        outputs.append(total)
    return outputs


class PlainConvolution:
    """Computes what a model should, outside training."""

    def __init__(self, model: Seq2Seq, activation: str) -> None:
        self.weights = {name: weight.detach().double().numpy() for name, weight in model.named_parameters()}
        self.activation = ACTIVATIONS[activation]

    def encode(self, source: Sequence[int]) -> Array:
        """The states of the source positions, [S, H]."""
        states = self._read("encoder", "source_embedding", source)
        for kernel, bias in self._blocks("encoder"):
            before = kernel.shape[2] // 2
            hidden = [self.activation(output) for output in convolve(kernel, bias, states, -before)]
            states = [state + more for state, more in zip(states, hidden, strict=True)]
        return np.array(states)

    def decode(self, encoded: Any, target_in: Sequence[int]) -> tuple[Array, Array]:
        """What the output layer sees, and the last block's attention, of every step: [T, H] and [T, S].

        Args:
            encoded: The encoder's states [S, H] of one sentence.
            target_in: Ids from ``<s>`` on.
        """
        states = [self._linear("decoder.source_layer", state) for state in np.asarray(encoded, np.float64)]
        outputs = self._read("decoder", "target_embedding", target_in)
        attention = []
        for kernel, bias in self._blocks("decoder"):
            hidden = [self.activation(output) for output in convolve(kernel, bias, outputs, 1 - kernel.shape[2])]
            attention = [_attend(query, states) for query in hidden]
            for position, (query, weights) in enumerate(zip(hidden, attention, strict=True)):
                context = sum(weight * state for weight, state in zip(weights, states, strict=True))
                outputs[position] = outputs[position] + query + context
        return np.array(outputs), np.array(attention)

    def _read(self, side: str, embedding: str, ids: Sequence[int]) -> list[Array]:
        table, positions = self.weights[f"{embedding}.weight"], self.weights[f"{side}.positions.weight"]
        return [self._linear(f"{side}.input_layer", table[id_] + positions[number]) for number, id_ in enumerate(ids)]

    def _blocks(self, side: str) -> list[tuple[Array, Array]]:
        prefix = f"{side}.convolutions."
        count = len({name.removeprefix(prefix).split(".")[0] for name in self.weights if name.startswith(prefix)})
        return [(self.weights[f"{prefix}{n}.weight"], self.weights[f"{prefix}{n}.bias"]) for n in range(count)]

    def _linear(self, name: str, inputs: Array) -> Array:
        # A layer that does not exist passes its input on; none has a bias.
        assert f"{name}.bias" not in self.weights
        return self.weights[f"{name}.weight"] @ inputs if f"{name}.weight" in self.weights else inputs


def _attend(query: Array, states: Sequence[Array]) -> Array:
    scores = np.array([query @ state for state in states])
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()
