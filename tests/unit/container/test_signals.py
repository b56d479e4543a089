"""`container.signals`."""

import contextlib
import logging
import os
import signal

import pytest

from container.signals import StopSignal
from s2s_algo.training.stopping import StopRequested

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def stop():
    """Listens; at the end nobody does any more."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    made = StopSignal()
    made.install()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_at_first_a_signal_is_only_remembered(stop, number):
    send(number)
    with pytest.raises(StopRequested):
        stop.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_where_nothing_can_be_lost_a_signal_raises_at_once(stop, number):
    stop.interrupt()
    with pytest.raises(StopRequested):
        send(number)


def test_a_signal_that_came_before_raises_as_soon_as_it_may(stop):
    send()
    with pytest.raises(StopRequested):
        stop.interrupt()


def test_a_deferred_signal_waits_for_the_next_check(stop):
    stop.interrupt()
    stop.defer()
    send()
    for _ in range(2):
        with pytest.raises(StopRequested):
            stop.check()


def test_a_second_signal_does_not_disturb_the_end(stop):
    stop.interrupt()
    with pytest.raises(StopRequested):
        send()
    send()


def test_without_a_signal_a_check_passes(stop):
    stop.interrupt()
    stop.check()
    stop.defer()
    stop.check()


def test_a_swallowed_stop_is_raised_again(stop):
    stop.interrupt()
    with contextlib.suppress(BaseException):  # as some libraries do while they are imported
        send()
    with pytest.raises(StopRequested):
        stop.interrupt()


def test_a_handler_of_errors_does_not_swallow_a_stop(stop):
    """Such as the logging module's, which would print a stack and go on."""

    class Stopped(logging.Handler):
        def emit(self, record):
            try:
                send()
            except Exception:
                self.handleError(record)

    stop.interrupt()
    with pytest.raises(StopRequested):
        Stopped().handle(logging.makeLogRecord({}))
