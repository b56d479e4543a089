"""What a program's stamps say about its speed."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks._rivals.stamps import (
    Stamp,
    decoding_speed,
    median_and_range,
    ratios,
    read_stamps,
    training_speed,
)

REPOSITORY = Path(__file__).parents[3]

# An update a second on the clock, of which it works half a second; a quarter of that is processor time.
UPDATES = [
    Stamp((number, number / 8), (number + 0.5, (number + 1) / 8), sentences=4, tokens=10 * number, peak=100 + number)
    for number in range(5)
]


def test_training_counts_what_happens_between_updates_after_the_warm_up():
    speed = training_speed(UPDATES, warm_up=2)
    assert (speed.tokens, speed.sentences) == (20 + 30 + 40, 12)
    assert (speed.seconds, speed.processor) == (3.0, 3 / 8)
    assert (speed.per_second, speed.per_processor_second, speed.peak) == (30.0, 240.0, 104)


def test_translating_does_not_count_what_happens_between_batches():
    speed = decoding_speed(UPDATES, warm_up=1)
    assert (speed.tokens, speed.sentences) == (100, 16)
    assert (speed.seconds, speed.processor) == (2.0, 0.5)
    assert speed.sentence_ms == 1000 * 0.5 / 16


@pytest.mark.parametrize("judge", [training_speed, decoding_speed])
def test_a_program_that_only_warmed_up_has_no_speed(judge):
    with pytest.raises(ValueError, match="wrote 4 stamps; more than 4 are needed, those of the warm-up"):
        judge(UPDATES[:4], 4)


def test_a_line_that_was_cut_off_is_no_stamp(tmp_path):
    line = json.dumps({"began": [0, 0], "ended": [2, 1], "sentences": 3, "tokens": 8, "peak": 5})
    file = tmp_path / "stamps"
    file.write_text(f"{line}\n{line[:30]}")
    assert read_stamps(file) == [Stamp((0, 0), (2, 1), 3, 8, 5)]


def test_a_program_that_never_began_left_no_stamps(tmp_path):
    assert read_stamps(tmp_path / "none") == []


def test_ratios_are_those_of_the_rounds():
    fast, slow = training_speed(UPDATES, 2), training_speed(UPDATES, 3)
    assert ratios([fast, slow], [slow, slow]) == [fast.per_processor_second / slow.per_processor_second, 1.0]


@pytest.mark.parametrize(("values", "shown"), [([3.0, 1.0, 7.0], "3 (1 to 7)"), ([2.0], "2")])
def test_a_cell_shows_the_median_and_the_range(values, shown):
    assert median_and_range(values) == shown


PROGRAM = """
import types
from benchmarks._rivals.inside.stamping import Stamps
program = types.SimpleNamespace(update=lambda batch: sum(range(10_000)) and batch)
Stamps().watch(program, "update", lambda given, batch: (len(given[0]), sum(batch)))
for _ in range({updates}):
    program.update([2, 3])
print("ended by itself")
"""


def watched(file, updates, **settings):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "BENCHMARK_STAMPS": str(file), **settings}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(updates=updates)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )


def test_every_call_is_stamped(tmp_path):
    assert "ended by itself" in watched(tmp_path / "stamps", 3).stdout
    stamps = read_stamps(tmp_path / "stamps")
    assert [(stamp.sentences, stamp.tokens) for stamp in stamps] == [(2, 5)] * 3
    for before, after in pairwise(stamps):
        for clock in (0, 1):
            assert before.began[clock] <= before.ended[clock] <= after.began[clock]
    assert stamps[0].peak > 2**20


def test_a_program_that_would_go_on_for_ever_is_ended(tmp_path):
    done = watched(tmp_path / "stamps", 10**9, BENCHMARK_SECONDS="0.1", BENCHMARK_WARM_UP="4")
    assert done.stdout == ""
    stamps = read_stamps(tmp_path / "stamps")
    assert stamps[-2].ended[1] < stamps[3].ended[1] + 0.1 <= stamps[-1].ended[1]
