"""How much may wait for translations at the same time, whichever model is to make them."""

from __future__ import annotations

import threading

from serve.metrics import Metrics
from serve.problems import RETRY_AFTER_SECONDS, OverloadedError


class Admission:
    """Counts what waits and refuses what would be too much; safe to use from several threads.

    Args:
        max_tokens: Source tokens of all unanswered requests beyond which new ones are refused.
        max_requests: Unanswered requests beyond which new ones are refused.
        metrics: Told what waits.
    """

    def __init__(self, max_tokens: int, max_requests: int, metrics: Metrics) -> None:
        self._max_tokens = max_tokens
        self._max_requests = max_requests
        self._metrics = metrics
        self._lock = threading.Lock()  # guards the two counts
        self._tokens = 0
        self._requests = 0

    @property
    def waiting_requests(self) -> int:
        """Requests that have entered and not left."""
        return self._requests

    def enter(self, tokens: int) -> int:
        """Admits a request; one on its own is never too much, for it could never be admitted later.

        On its own it counts as half of the limit at most, so that it leaves room for others.

        Returns:
            What it counts, for `leave`.

        Raises:
            OverloadedError: Too much is waiting already.
        """
        with self._lock:
            waiting, requests = self._tokens, self._requests
            if requests and (waiting + tokens > self._max_tokens or requests + 1 > self._max_requests):
                raise OverloadedError(
                    f"{requests} requests with {waiting} source tokens are waiting and this one has {tokens}; the "
                    f"limits are {self._max_requests} and {self._max_tokens}; send it again in "
                    f"{RETRY_AFTER_SECONDS} seconds, or add instances to the endpoint"
                )
            cost = tokens if requests else min(tokens, max(1, self._max_tokens // 2))
            self._add(1, cost)
            return cost

    def leave(self, cost: int) -> None:
        """A request that counts so much waits no longer."""
        with self._lock:
            self._add(-1, -cost)

    def _add(self, requests: int, tokens: int) -> None:
        self._requests += requests
        self._tokens += tokens
        self._metrics.wait(self._requests, self._tokens)
