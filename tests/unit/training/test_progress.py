"""Log lines that show that a job is alive, by a clock of our own."""

import fcntl
import io
import itertools
import logging
import os
import re
import struct
import termios
import time
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta

import pytest
import tqdm.std

from s2s_algo.training.loss import Totals
from s2s_algo.training.progress import Progress, terminal_bar
from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import StoppingRule

BATCHES = 100  # of an epoch
PAIRS = 8  # of a batch
TOKENS = 40  # of a batch


class Run:
    """A job whose updates take as long as we say."""

    def __init__(self, caplog, *, max_updates=None, max_epochs=None, metric="perplexity", state=None):
        caplog.set_level(logging.INFO)
        self.caplog = caplog
        self.now = 1000.0
        self.state = state or TrainState()
        stopping = StoppingRule(max_updates, max_epochs, min_epochs=0, patience=3)
        self.progress = Progress(self.state, stopping, metric, clock=lambda: self.now)

    def update(self, seconds, count=1):
        """Makes updates; returns what was logged."""
        heard = []
        for _ in range(count):
            self.now += seconds
            self.state.updates += 1
            self.state.position += 1
            self.state.samples += PAIRS
            self.state.totals.add(Totals(float(TOKENS), TOKENS // 4, TOKENS))
            self.progress.updated(self.state, TOKENS, BATCHES)
            heard += self.heard()
            if self.state.position == BATCHES:
                self.state.epoch, self.state.position = self.state.epoch + 1, 0
        return heard

    def work(self, seconds, done, total, what="validating"):
        """Goes on with other work; returns what was logged."""
        self.now += seconds
        self.progress.working(what, done, total)
        return self.heard()

    def heard(self):
        messages = [(self.now, message) for message in self.caplog.messages]
        self.caplog.clear()
        return messages


def texts(heard):
    return [message for _, message in heard]


def speed_lines(heard):
    return [message for message in texts(heard) if "Speed" in message]


def progress_lines(heard):
    return [message for message in texts(heard) if message.startswith("Progress")]


def eta(line):
    days, hours, minutes, seconds = re.search(r"ETA (?:(\d+) days?, )?(\d+):(\d\d):(\d\d)$", line).groups()
    return timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=int(seconds)).total_seconds()


def test_there_is_a_speed_line_every_50_updates(caplog):
    heard = Run(caplog).update(0.01, count=160)
    # Eight pairs in a hundredth of a second; e, since every token costs 1.
    assert texts(heard) == [
        "Epoch[0] Batch [50]\tSpeed: 800.00 samples/sec\tperplexity=2.718282",
        "Epoch[0] Batch [100]\tSpeed: 800.00 samples/sec\tperplexity=2.718282",
        "Epoch[1] Batch [50]\tSpeed: 800.00 samples/sec\tperplexity=2.718282",
    ]


def test_the_speed_is_that_since_the_last_speed_line(caplog):
    run = Run(caplog)
    run.update(0.01, count=50)
    (line,) = speed_lines(run.update(0.02, count=50))
    assert "Speed: 400.00 samples/sec" in line


def test_the_speed_line_shows_the_metric_that_was_asked_for(caplog):
    (line,) = texts(Run(caplog, metric="accuracy").update(0.01, count=50))
    assert line.endswith("\taccuracy=0.250000")


def test_the_time_of_a_checkpoint_is_no_part_of_the_speed(caplog):
    run = Run(caplog)
    run.update(0.01, count=60)
    run.work(19, 1, 2)
    run.progress.resumed()
    (line,) = speed_lines(run.update(0.01, count=40))
    assert "Speed: 800.00 samples/sec" in line


def test_the_first_speed_line_of_a_resumed_job_counts_its_own_updates_only(caplog):
    run = Run(caplog, state=TrainState(updates=130, position=30, epoch=1, samples=130 * PAIRS))
    assert texts(run.update(0.01, count=20)) == ["Epoch[1] Batch [50]\tSpeed: 800.00 samples/sec\tperplexity=2.718282"]


def test_a_clock_that_stands_still_does_no_harm(caplog):
    assert len(speed_lines(Run(caplog).update(0, count=100))) == 2


@pytest.mark.parametrize("seconds", [0.3, 1, 7, 9.9])
def test_a_progress_line_comes_at_least_every_30_seconds(caplog, seconds):
    run = Run(caplog, max_epochs=10)
    heard = [1000.0, *(when for when, _ in run.update(seconds, count=400)), run.now]
    assert max(later - earlier for earlier, later in itertools.pairwise(heard)) <= 30


def test_a_progress_line_says_what_was_done_since_the_last_one(caplog):
    run = Run(caplog, max_updates=1000)
    first, second = progress_lines(run.update(5, count=4) + run.update(10, count=2))
    assert first == "Progress: update 4, 0.2 updates/s, 8 target tokens/s, epoch 1 at 4 %, ETA 1:23:00"
    assert second.startswith("Progress: update 6, 0.1 updates/s, 4 target tokens/s, epoch 1 at 6 %, ")


def test_a_progress_line_says_how_much_of_the_epoch_is_done(caplog):
    run = Run(caplog)
    run.update(0.1, count=98)
    (line,) = progress_lines(run.update(20))
    assert ", epoch 1 at 99 %, " in line


def test_long_validation_is_heard_of_at_least_every_30_seconds(caplog):
    run = Run(caplog)
    heard = [(run.now, "")]
    for done in range(50):
        heard += run.work(4, done, 50)
    times = [when for when, _ in heard]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 15 < min(pauses) <= max(pauses) <= 30
    assert times[-1] > run.now - 30
    assert heard[1][1] == "Progress: validating, 4 of 50"


def test_short_validation_is_not_heard_of(caplog):
    run = Run(caplog)
    run.update(1, count=10)
    assert run.work(5, 3, 4) == []


def test_frequent_checkpoints_do_not_silence_the_progress(caplog):
    run = Run(caplog, max_updates=1000)
    heard = []
    for _ in range(20):
        heard += run.update(1, count=9)
        heard += run.work(3, 1, 2)
        run.progress.resumed()
    times = [moment for moment, message in heard if message.startswith("Progress")]
    assert all(later - earlier <= 30 for earlier, later in zip([1000.0, *times], times, strict=False))
    assert times[-1] >= run.now - 30
    assert all("1.0 updates/s" in line for line in progress_lines(heard) if "updates/s" in line)


def test_the_pace_after_a_checkpoint_leaves_out_its_time(caplog):
    run = Run(caplog, max_updates=1000)
    run.update(1, count=10)
    run.work(100, 1, 2)
    run.progress.resumed()
    (line,) = progress_lines(run.update(1, count=20))
    assert line.startswith("Progress: update 30, 1.0 updates/s, 40 target tokens/s, ")


def test_a_job_that_only_patience_ends_says_so(caplog):
    (line,) = progress_lines(Run(caplog).update(20))
    assert line.endswith("epoch 1 at 1 %, until 3 checkpoints bring no improvement")


@pytest.mark.parametrize(
    ("limits", "updates"),
    [
        ({"max_updates": 250}, 250),
        ({"max_epochs": 2}, 2 * BATCHES),
        ({"max_updates": 130, "max_epochs": 2}, 130),
        ({"max_updates": 250, "max_epochs": 2}, 2 * BATCHES),
    ],
)
def test_the_eta_is_right_at_a_steady_pace(caplog, limits, updates):
    run = Run(caplog, **limits)
    ends = run.now + 3 * updates
    heard = [(when, line) for when, line in run.update(3, count=updates) if line.startswith("Progress")]
    assert len(heard) > 15
    assert [when + eta(line) for when, line in heard] == [ends] * len(heard)


@pytest.mark.parametrize("limits", [{"max_updates": 250}, {"max_epochs": 2}])
def test_the_eta_of_a_resumed_job_goes_by_its_own_pace(caplog, limits):
    total = limits.get("max_updates", 2 * BATCHES)
    run = Run(caplog, **limits, state=TrainState(updates=90, position=90, samples=90 * PAIRS))
    ends = run.now + 4 * (total - 90)
    heard = [(when, line) for when, line in run.update(4, count=total - 90) if line.startswith("Progress")]
    assert [when + eta(line) for when, line in heard] == [ends] * len(heard)


def test_the_eta_counts_checkpoints_to_come(caplog):
    run = Run(caplog, max_updates=100)
    run.update(1, count=50)
    run.work(50, 1, 2)
    run.progress.resumed()
    # 70 updates and a checkpoint took 120 seconds.
    (line,) = progress_lines(run.update(1, count=20))
    assert eta(line) == round(30 * 120 / 70)


def test_the_eta_never_passes_the_end(caplog):
    run = Run(caplog, max_updates=3)
    (line,) = progress_lines(run.update(30, count=5)[-1:])
    assert eta(line) == 0


def test_an_eta_beyond_all_plans_is_no_date(caplog):
    run = Run(caplog, max_updates=2**31 - 1)
    (line,) = progress_lines(run.update(100_000))
    assert line.endswith(", ETA more than a year")


def test_days_are_shown(caplog):
    (line,) = progress_lines(Run(caplog, max_updates=10_000).update(60))
    assert line.endswith("ETA 6 days, 22:39:00")


# On a terminal


class Terminal(io.StringIO):
    """A terminal that may be closed."""

    is_gone = False

    def isatty(self):
        return True

    def write(self, text):
        if self.is_gone:
            raise OSError(5, "Input/output error")
        return super().write(text)


@pytest.fixture
def terminal():
    return Terminal()


def bar_run(caplog, terminal, stdout=None, **limits):
    """A job with a bar."""
    run = Run(caplog, **limits)
    with redirect_stderr(terminal), redirect_stdout(stdout or io.StringIO()):
        bar = terminal_bar(run.state)
        run.progress = Progress(run.state, run.progress._stopping, "perplexity", clock=lambda: run.now, bar=bar)
    return run


def test_there_is_no_bar_without_a_terminal():
    with redirect_stderr(io.StringIO()):
        assert terminal_bar(TrainState()) is None


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (24, 80)])
def test_there_is_no_bar_on_a_terminal_without_a_size_that_only_a_log_reads(rows, columns):
    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        with os.fdopen(theirs, "w") as stream, redirect_stderr(stream):
            bar = terminal_bar(TrainState())
            assert (bar is not None) == (columns > 0)
            if bar:
                bar.close()
    finally:
        os.close(ours)


def test_the_bar_shows_updates_their_number_and_the_metric(caplog, terminal):
    run = bar_run(caplog, terminal, max_updates=40)
    run.update(1, count=10)
    run.work(1, 2, 5)
    run.progress.resumed()
    run.progress.close()
    shown = terminal.getvalue()
    assert "10/40" in shown
    assert "perplexity=2.718" in shown
    assert "validating, 2 of 5" in shown
    assert shown.endswith("\n")


@pytest.mark.parametrize("days", [-1, 1])
def test_the_bar_does_not_mind_a_clock_that_is_set(caplog, terminal, monkeypatch, days):
    jumped = []
    now = time.time
    with monkeypatch.context() as patched:
        patched.setattr(tqdm.std, "time", lambda: now() + 86_400 * days * len(jumped))
        run = bar_run(caplog, terminal, max_updates=40)
        run.update(1, count=10)
        jumped.append(None)
        time.sleep(0.15)  # the bar is not drawn more often than every tenth of a second
        run.update(1, count=10)
        run.progress.close()
    last = terminal.getvalue().splitlines()[-1]
    assert "20/40 [00:00<00:00, " in last
    assert "updates/s" in last
    assert "11/40" in terminal.getvalue()


def test_a_job_that_only_patience_ends_has_a_bar_without_an_end(caplog, terminal):
    run = bar_run(caplog, terminal)
    run.update(1, count=10)
    run.progress.close()
    assert "10 updates" in terminal.getvalue()


def test_the_bar_of_a_resumed_job_begins_where_it_stands(caplog, terminal):
    run = bar_run(caplog, terminal, max_updates=40, state=TrainState(updates=30, position=30))
    run.update(1, count=5)
    run.progress.close()
    assert "35/40" in terminal.getvalue()


def test_the_log_keeps_its_progress_lines_unless_it_is_on_the_terminal_too(caplog, terminal):
    run = bar_run(caplog, terminal, max_updates=40)
    assert len(progress_lines(run.update(30, count=2) + run.work(30, 1, 2))) == 3
    run.progress.close()
    run = bar_run(caplog, terminal, stdout=terminal, max_updates=40)
    assert progress_lines(run.update(30, count=2) + run.work(30, 1, 2)) == []
    run.progress.close()


def test_handlers_of_the_log_are_as_before_when_the_bar_is_closed(caplog, terminal):
    root = logging.getLogger()
    console = logging.StreamHandler(terminal)
    root.addHandler(console)
    before = root.handlers[:]
    run = bar_run(caplog, terminal, max_updates=40)
    assert console not in root.handlers
    logging.getLogger("test").warning("between two updates")
    run.progress.close()
    assert root.handlers == before
    assert "between two updates\n" in terminal.getvalue()


def test_a_terminal_that_is_gone_does_no_harm(caplog, terminal):
    run = bar_run(caplog, terminal, max_updates=40)
    terminal.is_gone = True
    run.update(1, count=5)
    run.work(1, 2, 5)
    run.progress.resumed()
    run.progress.close()
    assert run.state.updates == 5
