"""The attention of all steps of a decoder, forward and backward; the plain twins are those of ``attention.py``.

Gradients of what does not change from step to step are made once, out of what all steps have left.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from s2s_algo.model.attention import MASKED, Attention, BilinearAttention, DotAttention, FixedAttention, MLPAttention
from s2s_algo.model.fused_cells import Kept
from s2s_algo.model.products import laid_out, transposed, weight_gradient
from s2s_algo.model.steps import Steps

Gradients = dict[str, Tensor]


class AttentionSteps:
    """What all attentions share: weights out of scores, and the context.

    Args:
        inputs: ``values`` float [B, S, H], ``keys`` float [B, S, A] and ``padding`` bool [B, S], sentences in the order
            of the steps, and the weights of the attention by their names.
        steps: Which rows are at work when.
        kept: Filled by the forward pass, read by the backward pass.
        dtype: Of products with weights.
    """

    def __init__(self, inputs: Mapping[str, Tensor], steps: Steps, kept: Kept, dtype: torch.dtype) -> None:
        self.inputs, self.steps, self.kept, self.dtype = inputs, steps, kept, dtype
        self.values, self.keys, self.padding = inputs["values"], inputs["keys"], inputs["padding"]

    def begin(self, query_size: int) -> None:
        """Prepares for the forward pass."""
        self.kept["queries"] = self.values.new_empty(self.steps.total, query_size)
        self.kept["weights"] = self.values.new_empty(self.steps.total, self.values.shape[1])

    def attend(self, rows: slice, query: Tensor) -> Tensor:
        """The context of a step, float [n, H of the encoder], of its query, float [n, H]."""
        number = rows.stop - rows.start
        self.kept["queries"][rows] = query
        weights = self._weights(rows, query)
        self.kept["weights"][rows] = weights
        return (weights[:, None] @ self.values[:number])[:, 0]

    def begin_back(self) -> None:
        """Prepares for the backward pass."""
        self._contexts = self.values.new_empty(self.steps.total, self.values.shape[2])
        self._scores = torch.empty_like(self.kept["weights"])

    def back(self, rows: slice, gradient: Tensor) -> Tensor | None:
        """The gradient of a step's query, if it has any, of that of its context, float [n, H of the encoder]."""
        self._contexts[rows] = gradient
        # Transposed like this, it is ten times as fast as the product with columns.
        of_weights = (gradient[:, None] @ self.values[: len(gradient)].transpose(1, 2))[:, 0]
        weights = self.kept["weights"][rows]
        scores = torch.ops.aten._softmax_backward_data(of_weights, weights, 1, weights.dtype)
        self._scores[rows] = scores
        return self._query_gradient(rows, scores)

    def gradients(self) -> Gradients:
        """After all steps back: of the values, the keys and the weights."""
        return {"values": self._over_steps(self.kept["weights"], self._contexts), **self._more_gradients()}

    def _weights(self, rows: slice, query: Tensor) -> Tensor:
        scores = self._make_scores(rows, query)
        return scores.masked_fill_(self.padding[: len(query)], MASKED).softmax(1)

    def _over_steps(self, left: Tensor, right: Tensor) -> Tensor:
        """The sum over the steps of outer products: float [B, S, X] of rows [N, S] and [N, X]."""
        left, right = (self.steps.by_sentence(rows) for rows in (left, right))
        return left.transpose(1, 2) @ right

    def _make_scores(self, rows: slice, query: Tensor) -> Tensor:
        """Float [n, S]."""
        raise NotImplementedError

    def _query_gradient(self, rows: slice, scores: Tensor) -> Tensor | None:
        """Float [n, H], of the gradient of the scores."""
        raise NotImplementedError

    def _more_gradients(self) -> Gradients:
        raise NotImplementedError


class MLPSteps(AttentionSteps):
    """See ``MLPAttention``.

    With s the sigmoid of 2x, tanh(x) is 2s - 1, whose constant drops out of the softmax; s takes a sixth of the time.
    """

    def begin(self, query_size: int) -> None:  # noqa: D102
        super().begin(query_size)
        _, source, size = self.keys.shape
        self.kept["hidden"] = self.keys.new_empty(self.steps.total, source, size)
        self._query = laid_out(2 * self.inputs["query_layer.weight"], None, self.dtype)
        self._twice = 2 * self.keys
        self._score = 2 * self.inputs["score_layer.weight"][0]

    def _make_scores(self, rows: slice, query: Tensor) -> Tensor:
        hidden = self.kept["hidden"][rows]
        torch.add(self._twice[: len(query)], self._query(query)[:, None], out=hidden)
        return hidden.sigmoid_() @ self._score

    def begin_back(self) -> None:  # noqa: D102
        super().begin_back()
        weight = self.inputs["query_layer.weight"]
        self._query_back = laid_out(transposed(weight), None, self.dtype)
        self._of_query = weight.new_empty(self.steps.total, len(weight))
        self._of_score = torch.zeros_like(self.inputs["score_layer.weight"][0])
        self._of_keys = torch.zeros_like(self.keys)

    def _query_gradient(self, rows: slice, scores: Tensor) -> Tensor:
        hidden = self.kept["hidden"][rows]
        self._of_score.addmv_(hidden.flatten(0, 1).t(), scores.flatten())
        # The derivative of tanh at x is 4s(1 - s); the 4 comes at the end.
        slope = hidden.addcmul_(hidden, hidden, value=-1)
        self._of_keys[: len(scores)].addcmul_(slope, scores[:, :, None])
        of_query = torch.mul((scores[:, None] @ slope)[:, 0], self._slope_weight(), out=self._of_query[rows])
        return self._query_back(of_query)

    def _more_gradients(self) -> Gradients:
        return {
            "keys": self._of_keys.mul_(self._slope_weight()),
            "query_layer.weight": weight_gradient(self._of_query, self.kept["queries"], self.dtype),
            # The gradients of a step's scores add up to 0, so the constant is of no account here, too.
            "score_layer.weight": self._of_score.mul_(2)[None],
        }

    def _slope_weight(self) -> Tensor:
        return 4 * self.inputs["score_layer.weight"][0]


class DotSteps(AttentionSteps):
    """See ``DotAttention`` and ``BilinearAttention``, whose query is not projected."""

    def begin(self, query_size: int) -> None:  # noqa: D102
        super().begin(query_size)
        weight = self.inputs.get("query_layer.weight")
        self._query = None if weight is None else laid_out(weight, None, self.dtype)
        if weight is not None:
            self.kept["asked"] = weight.new_empty(self.steps.total, len(weight))

    def _make_scores(self, rows: slice, query: Tensor) -> Tensor:
        if self._query is not None:
            query = self.kept["asked"][rows].copy_(self._query(query))
        return (query[:, None] @ self.keys[: len(query)].transpose(1, 2))[:, 0]

    def begin_back(self) -> None:  # noqa: D102
        super().begin_back()
        weight = self.inputs.get("query_layer.weight")
        self._query_back = None if weight is None else laid_out(transposed(weight), None, self.dtype)
        if weight is not None:
            self._of_query = torch.empty_like(self.kept["asked"])

    def _query_gradient(self, rows: slice, scores: Tensor) -> Tensor:
        of_query = (scores[:, None] @ self.keys[: len(scores)])[:, 0]
        if self._query_back is None:
            return of_query
        self._of_query[rows] = of_query
        return self._query_back(of_query)

    def _more_gradients(self) -> Gradients:
        asked = self.kept.get("asked", self.kept["queries"])
        found = {"keys": self._over_steps(self._scores, asked)}
        if self._query_back is not None:
            found["query_layer.weight"] = weight_gradient(self._of_query, self.kept["queries"], self.dtype)
        return found


class FixedSteps(AttentionSteps):
    """See ``FixedAttention``: the keys are the weights."""

    def begin(self, query_size: int) -> None:  # noqa: D102
        super().begin(0)

    def attend(self, rows: slice, query: Tensor) -> Tensor:  # noqa: D102
        return super().attend(rows, query[:, :0])

    def _weights(self, rows: slice, query: Tensor) -> Tensor:
        return self.keys[: len(query)]

    def back(self, rows: slice, gradient: Tensor) -> None:  # noqa: D102
        self._contexts[rows] = gradient

    def _more_gradients(self) -> Gradients:
        return {}


ATTENTION_STEPS: dict[type[Attention], type[AttentionSteps]] = {
    MLPAttention: MLPSteps,
    DotAttention: DotSteps,
    BilinearAttention: DotSteps,
    FixedAttention: FixedSteps,
}
