"""The three families of errors: who can mend it decides the exit code and the first word of the failure file.

Source: container contract 2.7; ``docs/operations.md`` lists them for users.
"""

from __future__ import annotations

from typing import ClassVar, Self


class S2SError(Exception):
    """An error with a place and a family.

    Args:
        message: What is wrong, what is allowed and how to mend it.
        where: The place, such as ``train channel, file a.rec, record 17``.
    """

    family: ClassVar[str]
    exit_code: ClassVar[int]

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where

    def at(self, where: str) -> Self:
        """Puts an outer place before the places known so far and returns the same error."""
        self.where = f"{where}, {self.where}" if self.where else where
        return self

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class ClientError(S2SError):
    """The user can mend it: configuration, data, requests."""

    family = "ClientError"
    exit_code = 2


class AlgorithmError(S2SError):
    """A bug of ours."""

    family = "AlgorithmError"
    exit_code = 1


class PlatformError(S2SError):
    """The machine failed: disk, memory, device."""

    family = "InternalServerError"
    exit_code = 3


class LostWorkerError(PlatformError):
    """Another training process is gone; why, is its own to tell."""
