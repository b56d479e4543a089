"""Token embeddings with element-wise dropout."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from s2s_algo.model.config import EmbeddingConfig


class Embedding(nn.Embedding):
    """Looks ids up; in training each looked-up number is dropped with the configured probability.

    The row of ``<pad>`` is an ordinary, trainable row, as in the original.
    """

    def __init__(self, config: EmbeddingConfig) -> None:
        super().__init__(config.vocabulary_size, config.size)
        self.dropout = config.dropout

    def forward(self, ids: Tensor) -> Tensor:
        """Looks up.

        Args:
            ids: int64 of any shape.

        Returns:
            float [*ids.shape, E].
        """
        return functional.dropout(super().forward(ids), self.dropout, self.training)
