"""The one table from errors to HTTP answers.

The body of every error is ``{"error": {"code": ..., "message": ..., "location": ...}}``. Source: decision 39; the
statuses 400, 406 and 415 are those of the closest built-in algorithms (container contract 4.5), and 404, 409 and 507
those of multi-model endpoints (4.7).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from s2s_algo.errors import ClientError, PlatformError, S2SError

RETRY_AFTER_SECONDS = 5


class UnsupportedContentTypeError(ClientError):
    """The body has a format that is not ours."""


class NotAcceptableError(ClientError):
    """The client takes none of the formats that can be answered."""


class TooLargeError(ClientError):
    """A body, an instance or their number is over a limit."""


class RequestTimeoutError(ClientError):
    """The client took too long to send its request."""


class ClientGoneError(ClientError):
    """The client closed its connection and will never see an answer."""


class ModelNotFoundError(ClientError):
    """A multi-model endpoint has no such model, or there is none where one is to be loaded from."""


class ModelExistsError(ClientError):
    """A multi-model endpoint has a model of this name already."""


class InsufficientMemoryError(PlatformError):
    """A model does not fit beside those that a multi-model endpoint holds; the platform unloads others and repeats."""


class NotReadyError(PlatformError):
    """There is no model to translate with, yet or any more."""


class OverloadedError(PlatformError):
    """So much is waiting already that another request would only wait in vain."""


class DeadlineExceededError(PlatformError):
    """The translations were not ready in time."""


class MemoryExhaustedError(PlatformError):
    """The request needs more memory than there is."""


# The first row that fits an error counts. What fits none is a bug: 500.
TABLE: tuple[tuple[type[S2SError], int, str], ...] = (
    (ModelNotFoundError, 404, "model_not_found"),
    (NotAcceptableError, 406, "not_acceptable"),
    (RequestTimeoutError, 408, "request_timeout"),
    (ModelExistsError, 409, "model_exists"),
    (TooLargeError, 413, "too_large"),
    (UnsupportedContentTypeError, 415, "unsupported_content_type"),
    (ClientGoneError, 499, "client_gone"),
    (NotReadyError, 503, "not_ready"),
    (OverloadedError, 503, "overloaded"),
    (DeadlineExceededError, 503, "deadline_exceeded"),
    (MemoryExhaustedError, 503, "memory_exhausted"),
    (InsufficientMemoryError, 507, "insufficient_memory"),
    (ClientError, 400, "bad_request"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a client learns about an error.

    Attributes:
        status: HTTP status.
        code: Stable name of the kind of error, for programs.
        message: What is wrong, what is allowed and how to mend it, for people.
        location: The place in the request, such as ``line 3``; empty if it is the request as a whole.
    """

    status: int
    code: str
    message: str
    location: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with the status."""
        return {"Retry-After": str(RETRY_AFTER_SECONDS)} if self.status == 503 else {}

    def to_json(self) -> str:
        """Returns the body of the answer."""
        error = {"code": self.code, "message": self.message, "location": self.location or None}
        return json.dumps({"error": error})


def describe(error: BaseException, error_id: str) -> Problem:
    """Looks an error up in the table.

    Args:
        error: What stopped the request.
        error_id: Finds the trace in the log; a client sees this id, and never the trace.
    """
    if isinstance(error, MemoryError):  # while a large body was parsed
        error = MemoryExhaustedError("the request needs more memory than there is; send fewer instances per request")
    for family, status, code in TABLE:
        if isinstance(error, family):
            return Problem(status, code, error.message, error.where)
    return Problem(
        500, "internal_error", f"internal error {error_id}; the log of the server has the details under this id"
    )
