"""`container.signals`."""

import contextlib
import logging
import os
import signal
import sys

import pytest

from container.signals import StopFile, StopSignal
from s2s_algo.training.stopping import StopRequested

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def stop():
    """Listens; at the end nobody does any more."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    hook = sys.unraisablehook
    made = StopSignal()
    made.install()
    yield made
    sys.unraisablehook = hook
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


def test_inside_an_interruptible_part_alone_a_signal_raises_at_once(stop):
    with stop.interruptible():
        pass
    send()
    with pytest.raises(StopRequested):
        stop.check()


def test_a_signal_interrupts_an_interruptible_part(stop):
    with pytest.raises(StopRequested), stop.interruptible():
        send()


def test_an_interruptible_part_is_not_begun_after_a_signal(stop):
    send()
    with pytest.raises(StopRequested), stop.interruptible():
        pytest.fail("begun")


def test_an_error_in_an_interruptible_part_ends_it(stop):
    with pytest.raises(ZeroDivisionError), stop.interruptible():
        raise ZeroDivisionError
    send()


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


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_where_nothing_can_be_raised_comes_with_the_next_check(stop):
    class Deleted:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 0.01)  # where the handler runs

    stop.interrupt()
    object_ = Deleted()
    del object_
    with pytest.raises(StopRequested):
        stop.check()


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


@pytest.fixture
def stop_file(tmp_path):
    """That of a training process among several; at the end signals are what they were."""
    before = signal.getsignal(signal.SIGTERM)
    yield StopFile(tmp_path / "stop", tmp_path / "training")
    signal.signal(signal.SIGTERM, before)


def test_a_training_process_among_several_stops_as_soon_as_a_file_says_so(stop_file, tmp_path):
    assert not stop_file.requested
    (tmp_path / "stop").touch()
    assert stop_file.requested


def test_until_there_is_something_to_lose_a_signal_ends_it(stop_file, tmp_path):
    stop_file.interrupt()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not (tmp_path / "training").exists()
    stop_file.defer()
    assert (tmp_path / "training").exists()
    send()


@pytest.mark.parametrize("error", [None, ZeroDivisionError], ids=str)
def test_an_interruptible_part_is_what_comes_before_there_is_something_to_lose(stop_file, tmp_path, error):
    with contextlib.suppress(ZeroDivisionError), stop_file.interruptible():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert not (tmp_path / "training").exists()
        if error:
            raise error
    assert (tmp_path / "training").exists()
    send()
