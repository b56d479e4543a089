"""One exchange of a client with a server, and whether it went as it should."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

# Longer than anything may take; who waits so long has found an error.
PATIENCE = 120.0

# The status of an exchange in which the client got, or waited for, no answer.
NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an exchange.

    Attributes:
        status: Of the answer, or `NO_ANSWER`.
        complaint: What was wrong; empty if nothing was.
    """

    status: int
    complaint: str = ""


class Client:
    """A client that keeps its connection; for one thread."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._kept = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of an answer; a connection that breaks is `NO_ANSWER` and the error as a text."""
        try:
            self._kept.request(method, path, body, dict(headers))
            answer = self._kept.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._kept.close()
            return NO_ANSWER, repr(error).encode()

    def connect(self) -> socket.socket:
        """A connection of its own."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def close(self) -> None:
        """Closes the connection that was kept."""
        self._kept.close()


class Exchange(Protocol):
    """Something that a client does.

    Attributes:
        name: For the report.
    """

    @property
    def name(self) -> str:
        """For the report."""

    def perform(self, client: Client) -> Verdict:
        """Does it."""


def judge(status: int, allowed: frozenset[int]) -> Verdict:
    """A verdict on the status alone."""
    if status in allowed:
        return Verdict(status)
    return Verdict(status, f"status {status} in place of {' or '.join(map(str, sorted(allowed)))}")


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the answer on a connection on which nothing more is sent."""
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return NO_ANSWER, repr(error).encode()
    finally:
        answer.close()
