"""Tells how long work goes on: a log line every 50 updates as the original's, and one at least every 30 seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from s2s_algo.training.metrics import MetricName
from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import StoppingRule

logger = logging.getLogger(__name__)

_SPEED_EVERY = 50  # updates
_LONGEST_ETA = 365 * 86_400.0  # seconds; nobody plans further
_PROGRESS_EVERY = 20.0  # seconds; a batch may take long, so well below the promised 30


class Progress:
    """Watches the updates of one run of a job."""

    def __init__(
        self, state: TrainState, stopping: StoppingRule, metric: MetricName, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stopping = stopping
        self._metric = metric
        self._clock = clock
        self._started = self._spoken = self._last_update = clock()
        self._first_update = state.updates
        # Seconds of other work, such as validation; speeds are those of training alone.
        self._away = 0.0
        # Where the running measurements of speed began.
        self._speed_since, self._speed_samples = self._started, state.samples
        self._pace_since, self._pace_update, self._pace_tokens = self._started, state.updates, 0

    def updated(self, state: TrainState, target_tokens: int, batches: int) -> None:
        """Hears of an update.

        Args:
            state: After the update.
            target_tokens: Real target tokens of its batch.
            batches: Batches in the running epoch.
        """
        now = self._last_update = self._clock()
        training = now - self._away
        self._pace_tokens += target_tokens
        if state.updates % _SPEED_EVERY == 0:
            speed = (state.samples - self._speed_samples) / max(training - self._speed_since, 1e-9)
            logger.info(
                "Epoch[%d] Batch [%d]\tSpeed: %.2f samples/sec\t%s=%f",
                state.epoch,
                state.position,
                speed,
                self._metric,
                getattr(state.totals, self._metric),
            )
            self._speed_since, self._speed_samples = training, state.samples
        if now - self._spoken >= _PROGRESS_EVERY:
            seconds = max(training - self._pace_since, 1e-9)
            logger.info(
                "Progress: update %d, %.1f updates/s, %.0f target tokens/s, epoch %d at %.0f %%, %s",
                state.updates,
                (state.updates - self._pace_update) / seconds,
                self._pace_tokens / seconds,
                state.epoch + 1,
                100 * state.position / batches,
                self._remaining(state, batches, now),
            )
            self._spoken = now
            self._pace_since, self._pace_update, self._pace_tokens = training, state.updates, 0

    def working(self, what: str, done: int, total: int) -> None:
        """Hears of work between updates, such as validation; speaks up when it takes long."""
        now = self._clock()
        if now - self._spoken >= _PROGRESS_EVERY:
            logger.info("Progress: %s, %d of %d", what, done, total)
            self._spoken = now

    def resumed(self) -> None:
        """Hears that such work is over."""
        self._away += self._clock() - self._last_update

    def _remaining(self, state: TrainState, batches: int, now: float) -> str:
        left = self._stopping.updates_left(state, batches)
        if left is None:
            return f"until {self._stopping.patience} checkpoints bring no improvement"
        seconds = left * (now - self._started) / (state.updates - self._first_update)
        return f"ETA {timedelta(seconds=round(seconds))}" if seconds < _LONGEST_ETA else "ETA more than a year"
