"""What training and search ask of any decoder."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, Protocol, Self, TypeVar

from torch import Tensor, nn

from s2s_algo.model.attention import EncodedSource, Memory


class DecoderState(Protocol):
    """Everything a hypothesis carries from one step to the next; of fixed size."""

    def select(self, rows: Tensor) -> Self:
        """The states of some rows, int64 [N'], in that order; a row may occur several times."""

    def joined(self, other: Self) -> Self:
        """These rows and then those of another one."""


State = TypeVar("State", bound=DecoderState)


class Decoder(nn.Module, Generic[State]):
    """Predicts a vector per target position from the tokens before it and the source."""

    @abstractmethod
    def start(self, source: EncodedSource) -> tuple[State, Memory]:
        """The state before the first step and what the attention keeps of the source.

        Returns:
            The state with N = B rows and the memory of B sentences.
        """

    @abstractmethod
    def forward(self, embedded: Tensor, source: EncodedSource, length: Tensor | None = None) -> Tensor:
        """All steps of known targets, for training and scoring.

        Args:
            embedded: float [B, T, E], the embeddings of ``<s>`` and the target tokens.
            source: Of the same B sentences.
            length: int64 [B], how many of the target positions count, at least 1; ``None`` for all. What is returned
                for others may be anything.

        Returns:
            float [B, T, H], what the output layer sees.
        """

    @abstractmethod
    def step(self, embedded: Tensor, state: State, memory: Memory) -> tuple[Tensor, State, Tensor]:
        """One step of a search.

        Args:
            embedded: float [N, E], the embeddings of the last tokens.
            state: Of N rows; the rows of a sentence follow one another.
            memory: Of B sentences; N is a multiple of B unless it says who asks.

        Returns:
            What the output layer sees, float [N, H], the next state, and the attention weights, float [N, S].
        """
