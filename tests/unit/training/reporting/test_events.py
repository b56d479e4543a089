"""Event files, read back with the library's own schema."""

import pytest

from s2s_algo.training.reporting.events import EventFiles
from s2s_algo.training.reporting.points import Course
from tests.unit.training.reporting.reports import (
    checkpoint_point,
    curves_of,
    events_of,
    texts_of,
    training_point,
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tensorboard"


def test_curves_of_training_and_validation_share_a_chart(folder):
    files = EventFiles(folder)
    files.begin(Course())
    files.training(training_point(3))
    files.checkpoint(checkpoint_point(1, 5, validation_bleu=0.125))
    files.close()
    assert curves_of(folder) == {
        "perplexity/train": [(3, 5.0)],
        "perplexity/validation": [(5, 6.0)],
        "accuracy/train": [(3, 0.5)],
        "accuracy/validation": [(5, 0.25)],
        "bleu/validation": [(5, 0.125)],
        "learning_rate": [(3, 0.1)],
        "target_tokens_per_second": [(3, 1000.0)],
    }


def test_each_event_has_its_time(folder):
    files = EventFiles(folder)
    files.begin(Course([training_point(3)], [checkpoint_point(1, 5)]))
    files.close()
    assert [event.wall_time for event in events_of(folder) if event.summary.value] == [1e9 + 3, 1e9 + 5]


def test_examples_are_texts_in_which_nothing_is_markup(folder):
    files = EventFiles(folder)
    files.begin(Course())
    files.checkpoint(checkpoint_point(1, 5, ["a|b <script> *c* \ud800\n"]))
    files.close()
    ((step, text),) = texts_of(folder)
    assert step == 5
    assert text.splitlines()[-1] == "| source 0 | reference 0 | a&#124;b &#60;script&#62; &#42;c&#42; ?  |"


def test_a_checkpoint_is_on_disk_at_once(folder):
    files = EventFiles(folder)
    files.begin(Course())
    files.checkpoint(checkpoint_point(1, 5))
    assert curves_of(folder)["perplexity/validation"] == [(5, 6.0)]


def test_a_resumed_job_tells_every_point_once(folder):
    first = EventFiles(folder)
    first.begin(Course())
    for updates in (3, 8):
        first.training(training_point(updates))
    first.close()
    resumed = EventFiles(folder)
    resumed.begin(Course([training_point(3)], [checkpoint_point(1, 5)]))
    resumed.training(training_point(9))
    resumed.close()
    assert [step for step, _ in curves_of(folder)["perplexity/train"]] == [3, 9]
    assert len(list(folder.iterdir())) == 1


def test_readers_forget_what_older_files_elsewhere_say(folder):
    first = EventFiles(folder)
    first.begin(Course([training_point(3)], []))
    first.close()
    (old,) = folder.iterdir()
    content = old.read_bytes()
    old.unlink()
    resumed = EventFiles(folder)
    resumed.begin(Course([training_point(3)], []))
    resumed.close()
    # As where the platform has uploaded both.
    (folder / "events.out.tfevents.0.before").write_bytes(content)
    assert [step for step, _ in curves_of(folder)["perplexity/train"]] == [3]


def test_other_files_of_the_folder_stay(folder):
    folder.mkdir()
    (folder / "notes.txt").touch()
    EventFiles(folder).begin(Course())
    assert (folder / "notes.txt").exists()


def test_numbers_that_are_not_finite_are_left_out(folder):
    files = EventFiles(folder)
    files.begin(Course())
    files.training(training_point(3, train_perplexity=float("inf")))
    files.close()
    assert "perplexity/train" not in curves_of(folder)
    assert "accuracy/train" in curves_of(folder)


def test_after_a_failure_nothing_more_is_written(folder):
    files = EventFiles(folder)
    files.begin(Course())

    class Full:
        def write_event(self, event):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    files._writer = Full()
    with pytest.raises(OSError, match="No space"):
        files.checkpoint(checkpoint_point(1, 5))
    files.training(training_point(8))
    files.checkpoint(checkpoint_point(2, 10))
    files.close()
