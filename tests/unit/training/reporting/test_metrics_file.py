"""metrics.jsonl: written line by line, read back, continued."""

import json

import pytest

from s2s_algo.training.reporting.metrics_file import MetricsFile
from s2s_algo.training.reporting.points import Course
from tests.unit.training.reporting.reports import checkpoint_point, entry, training_point

COURSE = Course([training_point(3), training_point(8)], [checkpoint_point(1, 5, ["A", "B"]), checkpoint_point(2, 8)])


@pytest.fixture
def file(tmp_path):
    return MetricsFile(tmp_path / "new folder" / "metrics.jsonl")


def fill(file, course):
    """Writes a course as it comes about."""
    so_far = Course()
    points = [*course.training, *course.checkpoints]
    for point in sorted(points, key=lambda point: (point.updates, point in course.checkpoints)):
        (so_far.checkpoints if point in course.checkpoints else so_far.training).append(point)
        file.append(so_far, point)


def test_what_was_written_is_read_back(file):
    fill(file, COURSE)
    assert MetricsFile(file.path).read() == COURSE


def test_every_line_is_an_object_in_the_order_of_training(file):
    fill(file, COURSE)
    lines = [json.loads(line) for line in file.path.read_text().splitlines()]
    assert [(line["kind"], line["updates"]) for line in lines] == [
        ("training", 3),
        ("checkpoint", 5),
        ("training", 8),
        ("checkpoint", 8),
    ]
    assert lines[1]["examples"][1] == {"source": "source 1", "reference": "reference 1", "translation": "B"}


def test_a_file_written_as_a_whole_is_the_same(file, tmp_path):
    fill(file, COURSE)
    whole = MetricsFile(tmp_path / "whole.jsonl")
    whole.replace(COURSE)
    assert whole.path.read_bytes() == file.path.read_bytes()


def test_a_file_that_is_not_there_holds_nothing(file):
    assert file.read() == Course()


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind": "training", "upda',
        b"[1, 2]",
        b"17",
        b'{"kind": "training"}',
        b'{"kind": "checkpoint", "updates": "5"}',
        b'{"kind": "checkpoint", "updates": 5, "seconds": "1"}',
        b'{"kind": "checkpoint", "updates": 5, "time": "now"}',
        b'{"kind": "checkpoint", "updates": 5, "examples": [1]}',
        b'{"kind": "checkpoint"}',
        b'{"kind": "something else", "updates": 5}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_not_ours_is_passed_over(file, line):
    fill(file, COURSE)
    content = file.path.read_bytes()
    file.path.write_bytes(line + b"\n" + content + line)
    assert file.read() == COURSE


def test_numbers_that_are_not_finite_are_left_out(file):
    file.replace(
        Course([training_point(3, train_perplexity=float("inf"))], [checkpoint_point(1, 5, seconds=float("nan"))])
    )
    training, checkpoint = (json.loads(line) for line in file.path.read_text().splitlines())
    assert "train_perplexity" not in training
    assert "seconds" not in checkpoint


def test_after_a_failure_the_next_line_brings_what_is_missing(file):
    first, second, third = (training_point(number) for number in (1, 2, 3))
    file.append(Course([first]), first)
    content = file.path.read_bytes()
    file.path.unlink()
    file.path.mkdir()
    with pytest.raises(OSError, match="directory"):
        file.append(Course([first, second]), second)
    file.path.rmdir()
    file.path.write_bytes(content + b'{"torn')
    file.append(Course([first, second, third]), third)
    assert file.read() == Course([first, second, third])
    assert len(file.path.read_bytes().splitlines()) == 3


def test_a_half_written_file_does_not_stay(file):
    file.replace(COURSE)
    assert [path.name for path in file.path.parent.iterdir()] == ["metrics.jsonl"]


# What a resumed job takes over


def test_a_resumed_job_takes_over_what_lies_behind_it():
    continued = COURSE.continued([entry(1, 5)], updates=5)
    assert continued == Course(COURSE.training[:1], COURSE.checkpoints[:1])


def test_a_checkpoint_that_was_not_told_any_more_is_taken_from_the_history():
    continued = COURSE.continued([entry(1, 5), entry(2, 8), entry(3, 9)], updates=9)
    assert continued.training == COURSE.training
    assert [point.entry for point in continued.checkpoints] == [entry(1, 5), entry(2, 8), entry(3, 9)]
    assert [len(point.examples) for point in continued.checkpoints] == [2, 0, 0]


def test_another_jobs_file_is_not_taken_over():
    history = [entry(1, 5, validation_perplexity=6.5)]
    assert [point.entry for point in COURSE.continued(history, updates=5).checkpoints] == history
    assert COURSE.continued(history, updates=5).training == []
    assert COURSE.continued([entry(1, 7)], updates=7).training == []


def test_a_new_job_takes_over_nothing():
    assert COURSE.continued([], updates=0) == Course()
