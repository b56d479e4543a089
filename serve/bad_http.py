"""Answers to what is not even HTTP, in the form of all other errors; gunicorn would answer with a page of HTML."""

from __future__ import annotations

import re
from http import HTTPStatus

from serve.problems import Problem

# Characters of what the request is told to be wrong with, which may be one of its headers as a whole.
_LONGEST = 300

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


class ErrorPage:
    """Takes the page that gunicorn writes about an error, in place of a socket."""

    def __init__(self) -> None:
        self._written = b""

    def gettimeout(self) -> float:
        """None: nothing blocks here."""
        return 0.0

    def sendall(self, data: bytes) -> None:
        """Takes a part of the page."""
        self._written += data

    def answer(self, error: BaseException) -> bytes:
        """What is sent in its place, head and body.

        Args:
            error: What the page is about.
        """
        said = _STATUS.match(self._written)
        status = HTTPStatus(int(said[1]) if said else HTTPStatus.BAD_REQUEST)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            problem = Problem(
                status, "internal_error", "the request could not be handled; the log of the server says why"
            )
        else:
            told = f"{error}".strip()[:_LONGEST] or type(error).__name__
            problem = Problem(status, "bad_http", f"this is no HTTP request that can be read: {told}")
        body = problem.to_json().encode("ascii")
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        return "\r\n".join([*head, "", ""]).encode("ascii") + body
