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
_PROGRESS_EVERY = 20.0  # seconds; a batch may take long, so well below the promised 30


class Progress:
    """Watches the updates of one run of a job."""

    def __init__(
        self, state: TrainState, stopping: StoppingRule, metric: MetricName, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stopping = stopping
        self._metric = metric
        self._clock = clock
        self._started = self._spoken = self._speed_since = clock()
        self._first_update = self._spoken_update = state.updates
        self._speed_samples = state.samples
        self._target_tokens = 0

    def updated(self, state: TrainState, target_tokens: int, batches: int) -> None:
        """Hears of an update.

        Args:
            state: After the update.
            target_tokens: Real target tokens of its batch.
            batches: Batches in the running epoch.
        """
        now = self._clock()
        self._target_tokens += target_tokens
        if state.updates % _SPEED_EVERY == 0:
            speed = (state.samples - self._speed_samples) / max(now - self._speed_since, 1e-9)
            logger.info(
                "Epoch[%d] Batch [%d]\tSpeed: %.2f samples/sec\t%s=%f",
                state.epoch,
                state.position,
                speed,
                self._metric,
                getattr(state.totals, self._metric),
            )
            self._speed_since, self._speed_samples = now, state.samples
        if now - self._spoken >= _PROGRESS_EVERY:
            seconds = now - self._spoken
            logger.info(
                "Progress: update %d, %.1f updates/s, %.0f target tokens/s, epoch %d at %.0f %%, %s",
                state.updates,
                (state.updates - self._spoken_update) / seconds,
                self._target_tokens / seconds,
                state.epoch + 1,
                100 * state.position / batches,
                self._remaining(state, batches, now),
            )
            self._speak(now, state.updates)

    def working(self, what: str, done: int, total: int) -> None:
        """Hears of work between updates, such as validation; speaks up when it takes long."""
        now = self._clock()
        if now - self._spoken >= _PROGRESS_EVERY:
            logger.info("Progress: %s, %d of %d", what, done, total)
            self._spoken = now

    def resumed(self, state: TrainState) -> None:
        """Hears that such work is over; its time is no part of the speed of updates."""
        now = self._clock()
        self._speed_since, self._speed_samples = now, state.samples
        self._speak(now, state.updates)

    def _speak(self, now: float, updates: int) -> None:
        self._spoken, self._spoken_update, self._target_tokens = now, updates, 0

    def _remaining(self, state: TrainState, batches: int, now: float) -> str:
        left = self._stopping.updates_left(state, batches)
        if left is None:
            return f"until {self._stopping.patience} checkpoints bring no improvement"
        seconds_per_update = (now - self._started) / (state.updates - self._first_update)
        return f"ETA {timedelta(seconds=round(left * seconds_per_update))}"
