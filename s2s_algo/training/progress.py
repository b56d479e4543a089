"""Tells how long work goes on: a log line every 50 updates as the original's, and one at least every 30 seconds.

On a terminal there is a progress bar as well.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

from s2s_algo.training.metrics import MetricName
from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import StoppingRule

logger = logging.getLogger(__name__)

_SPEED_EVERY = 50  # updates
_USUAL_COLUMNS, _USUAL_ROWS = 100, 24
_LONGEST_ETA = 365 * 86_400.0  # seconds; nobody plans further
_PROGRESS_EVERY = 20.0  # seconds; a batch may take long, so well below the promised 30


class Progress:
    """Watches the updates of one run of a job."""

    def __init__(
        self,
        state: TrainState,
        stopping: StoppingRule,
        metric: MetricName,
        clock: Callable[[], float] = time.monotonic,
        bar: Bar | None = None,
    ) -> None:
        self._stopping = stopping
        self._metric = metric
        self._clock = clock
        self._bar = bar
        # A bar beside the log tells the same.
        self._is_plain = bar is None or not sys.stdout.isatty()
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
        if self._bar is not None:
            left = self._stopping.updates_left(state, batches)
            value = getattr(state.totals, self._metric)
            self._bar.updated(
                state.updates, None if left is None else state.updates + left, f"{self._metric}={value:.4g}"
            )
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
        if self._is_plain and now - self._spoken >= _PROGRESS_EVERY:
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
        if self._bar is not None:
            self._bar.working(f"{what}, {done} of {total}")
        if self._is_plain and now - self._spoken >= _PROGRESS_EVERY:
            logger.info("Progress: %s, %d of %d", what, done, total)
            self._spoken = now

    def resumed(self) -> None:
        """Hears that such work is over."""
        self._away += self._clock() - self._last_update
        if self._bar is not None:
            self._bar.working("training")

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self._bar is not None:
            self._bar.close()

    def _remaining(self, state: TrainState, batches: int, now: float) -> str:
        left = self._stopping.updates_left(state, batches)
        if left is None:
            return f"until {self._stopping.patience} checkpoints bring no improvement"
        seconds = left * (now - self._started) / (state.updates - self._first_update)
        return f"ETA {timedelta(seconds=round(seconds))}" if seconds < _LONGEST_ETA else "ETA more than a year"


class Bar:
    """A progress bar on standard error; log lines on the same terminal go above it.

    A terminal that has gone away is no reason to stop.
    """

    def __init__(self, updates: int) -> None:
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        self._cleanup = ExitStack()
        self._cleanup.enter_context(logging_redirect_tqdm())
        sized = min(_size() or (0, 0)) > 0
        self._bar: Any = tqdm(
            desc="training",
            unit=" updates",
            initial=updates,
            ncols=None if sized else _USUAL_COLUMNS,
            nrows=None if sized else _USUAL_ROWS,
            dynamic_ncols=sized,
            file=sys.stderr,
        )
        # Its own clock is that of the wall, which may be set while it runs.
        self._bar._time = time.monotonic
        self._bar.start_t = self._bar.last_print_t = time.monotonic()
        self._cleanup.callback(self._bar.close)

    def updated(self, updates: int, total: int | None, metric: str) -> None:
        """Hears how far training is, and of how many updates, if that is known."""
        with suppress(OSError):
            self._bar.total = total
            self._bar.set_postfix_str(metric, refresh=False)
            self._bar.update(updates - self._bar.n)

    def working(self, what: str) -> None:
        """Hears what is being done."""
        with suppress(OSError):
            self._bar.set_description_str(what)

    def close(self) -> None:
        """Ends the bar."""
        with suppress(OSError):
            self._cleanup.close()


def terminal_bar(state: TrainState) -> Bar | None:
    """A bar if somebody looks at a terminal.

    At one of size 0 nobody looks: a container was given it, as in the platform's local mode, and all that it shows ends
    up in a log. Whoever starts a container by hand has long told the size of his terminal when training begins.
    """
    return Bar(state.updates) if sys.stderr.isatty() and _size() != (0, 0) else None


def _size() -> tuple[int, int] | None:
    """Columns and rows of the terminal; ``None`` if it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        return None
