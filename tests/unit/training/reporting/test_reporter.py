"""What a job tells while it trains: files that agree with its history, whatever happens to them."""

import itertools
import json
import logging
import shutil
import sys

import pytest
import torch

from s2s_algo.training import trainer
from s2s_algo.training.loss import Totals
from s2s_algo.training.reporting.examples import Examples
from s2s_algo.training.reporting.points import Course
from s2s_algo.training.reporting.reporter import JobReporter, Silent
from s2s_algo.training.stopping import StopRequested
from s2s_algo.training.trainer import train
from s2s_algo.training.workers import Workers
from tests.tiny_job import assemble_job, differing, train_job, weights_of
from tests.unit.training.reporting.reports import curves_of, lines_of, outputs_in, page_of, texts_of

JOB = {"max_num_batches": "9", "checkpoint_frequency_num_batches": "3", "bleu_sample_size": "-1"}


@pytest.fixture(autouse=True)
def every_update_takes_two_seconds(monkeypatch):
    """So that each gives a point."""
    seen = {"updated": JobReporter.updated}

    def updated(self, state, totals):
        state.seconds = 2.0 * state.updates
        seen["updated"](self, state, totals)

    monkeypatch.setattr(JobReporter, "updated", updated)


@pytest.fixture
def outputs(tmp_path):
    return outputs_in(tmp_path)


def warnings(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_job_without_outputs_reports_nothing(tmp_path):
    assert isinstance(train_job(tmp_path, JOB).job.reporter, Silent)


def test_only_the_leader_reports(tmp_path, outputs, monkeypatch):
    leader = Workers(torch.device("cpu"))
    assert isinstance(assemble_job(tmp_path, workers=leader, outputs=outputs).job.reporter, JobReporter)
    monkeypatch.setattr(Workers, "is_leader", property(lambda self: False))
    assert isinstance(assemble_job(tmp_path, workers=leader, outputs=outputs).job.reporter, Silent)


def test_reports_change_nothing_of_the_training(tmp_path, outputs):
    silent = train_job(tmp_path / "silent", {**JOB, "embed_dropout_source": "0.3"})
    told = train_job(tmp_path / "told", {**JOB, "embed_dropout_source": "0.3"}, outputs=outputs)
    assert differing(weights_of(silent), weights_of(told)) == []
    scores = [[{k: v for k, v in e.items() if k != "seconds"} for e in job.state.history] for job in (silent, told)]
    assert scores[0] == scores[1]


def test_the_numbers_are_those_of_the_history(tmp_path, outputs):
    state = train_job(tmp_path, JOB, outputs=outputs).state
    checkpoints = lines_of(outputs, "checkpoint")
    assert len(checkpoints) == 3
    for line, entry in zip(checkpoints, state.history, strict=True):
        assert {name: line[name] for name in entry} == entry
        assert len(line["examples"]) == 5
    assert [line["updates"] for line in lines_of(outputs)] == [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9]


def test_training_points_are_means_over_their_batches(tmp_path, outputs):
    state = train_job(tmp_path, {**JOB, "checkpoint_frequency_num_batches": "1"}, outputs=outputs).state
    points = lines_of(outputs, "training")
    assert [point["train_perplexity"] for point in points] == pytest.approx(
        [entry["train_perplexity"] for entry in state.history]
    )
    assert [point["learning_rate"] for point in points] == [0.01] * 9
    assert all(point["target_tokens_per_second"] > 0 for point in points)


def test_points_get_rarer_as_the_job_gets_longer(tmp_path, outputs):
    job = assemble_job(tmp_path, JOB, outputs=outputs)
    reporter, state = job.job.reporter, job.state
    reporter.started(state)
    for updates in range(1, 5001):
        state.updates = updates
        reporter.updated(state, Totals(1.0, 1, 2))
    assert 1400 < len(lines_of(outputs, "training")) < 2100
    late = [point["seconds"] for point in lines_of(outputs, "training")][-2:]
    assert late[1] - late[0] == pytest.approx(20, abs=2)


def test_updates_that_were_skipped_make_no_point(tmp_path, outputs):
    job = assemble_job(tmp_path, JOB, outputs=outputs)
    job.job.reporter.started(job.state)
    job.state.updates = 1
    job.job.reporter.updated(job.state, Totals())
    assert not outputs.data.exists()


def test_the_curves_are_those_of_the_history(tmp_path, outputs):
    state = train_job(tmp_path, JOB, outputs=outputs).state
    curves = curves_of(outputs.tensorboard)
    for name in ("perplexity", "accuracy", "bleu"):
        assert dict(curves[f"{name}/validation"]) == pytest.approx(
            {entry["updates"]: entry[f"validation_{name}"] for entry in state.history}, abs=1e-3
        )
    assert [step for step, _ in curves["perplexity/train"]] == list(range(1, 10))
    assert [step for step, _ in texts_of(outputs.tensorboard)] == [3, 6, 9]


def test_the_page_is_whole(tmp_path, outputs):
    assembled = train_job(tmp_path, JOB, outputs=outputs)
    text = page_of(outputs)
    assert "Maximum # of updates (9) or epochs (None) reached." in text
    assert str(outputs.artifact) in text
    assert text.count('<svg class="chart"') == 5
    assert text.count('<section class="card">') == 5
    for name, value in assembled.job.identity.hyperparameters.items():
        assert f"<tr><th>{name}</th>" in text, (name, value)
    for part in ('id="buckets"', 'id="checkpoints"', 'id="counts"', "training pairs</th>"):
        assert part in text
    assert {path.name for path in outputs.data.iterdir()} == {"metrics.jsonl", "report.html"}


def test_the_page_is_there_after_the_first_checkpoint(tmp_path, outputs, monkeypatch):
    seen = []
    evaluated = JobReporter.evaluated

    def look(self, state):
        evaluated(self, state)
        seen.append(page_of(outputs))

    monkeypatch.setattr(JobReporter, "evaluated", look)
    train_job(tmp_path, JOB, outputs=outputs)
    assert len(seen) == 3
    assert all('<p id="standing">Running</p>' in page for page in seen)


def test_a_stopped_job_says_so(tmp_path, outputs):
    stops = []
    job = assemble_job(tmp_path, JOB, outputs=outputs, stop_requested=lambda: len(stops) > 0)
    evaluated = job.job.reporter.evaluated

    def stop(state):
        evaluated(state)
        stops.append(None)

    job.job.reporter.evaluated = stop
    with pytest.raises(StopRequested):
        train(job.job, job.state)
    assert "Stopped by a signal." in page_of(outputs)


@pytest.mark.parametrize(
    ("work", "asked"), [("trial", 0), ("catching up", 1), ("catching up", 3)], ids=["trial", "validation", "BLEU"]
)
def test_a_resumed_job_that_is_stopped_before_its_first_update_says_so(tmp_path, outputs, monkeypatch, work, asked):
    train_job(tmp_path, {**JOB, "max_num_batches": "6"}, outputs=outputs)
    if work == "catching up":
        # It is stopped right after update 9, whose checkpoint is the first thing that the next run makes.
        stopped = assemble_job(tmp_path, JOB, outputs=outputs, stop_requested=lambda: stopped.state.updates == 9)
        with pytest.raises(StopRequested):
            train(stopped.job, stopped.state)
    page = outputs.data / "report.html"
    page.write_text(page_of(outputs).replace("Stopped by a signal.", "Running"))  # as if it had been killed since
    calls = itertools.count(1)
    again = assemble_job(tmp_path, JOB, outputs=outputs, stop_requested=lambda: next(calls) == asked)
    if work == "trial":
        monkeypatch.setattr(trainer, "try_largest_batch", interrupt)
    with pytest.raises(StopRequested):
        train(again.job, again.state)
    assert again.state.updates == (6 if work == "trial" else 9)
    assert '<p id="standing">Stopped by a signal.</p>' in page_of(outputs)


def interrupt(job):
    raise StopRequested


def test_a_job_that_is_stopped_before_anything_happened_writes_nothing(tmp_path, outputs):
    job = assemble_job(tmp_path, JOB, outputs=outputs, stop_requested=lambda: True)
    with pytest.raises(StopRequested):
        train(job.job, job.state)
    assert not outputs.data.exists()
    assert not outputs.tensorboard.exists()


# Resuming


def resumed(tmp_path, outputs, between=lambda: None):
    train_job(tmp_path, {**JOB, "max_num_batches": "6"}, outputs=outputs)
    between()
    return train_job(tmp_path, JOB, outputs=outputs)


def without_times(lines):
    # How fast it was is no part of what is told.
    return [{name: value for name, value in line.items() if name not in ("time", "seconds")} for line in lines]


def test_a_resumed_job_tells_what_an_uninterrupted_one_does(tmp_path, outputs):
    resumed(tmp_path, outputs)
    whole = outputs_in(tmp_path / "whole")
    train_job(tmp_path / "whole", JOB, outputs=whole)
    assert without_times(lines_of(outputs)) == without_times(lines_of(whole))
    curves, expected = curves_of(outputs.tensorboard), curves_of(whole.tensorboard)
    assert curves == expected


def test_what_was_told_of_updates_that_are_made_again_is_forgotten(tmp_path, outputs):
    def add_lines():
        with (outputs.data / "metrics.jsonl").open("a") as file:
            for updates in (7, 8):
                file.write(json.dumps({**lines_of(outputs, "training")[-1], "updates": updates}) + "\n")
            file.write('{"kind": "training", "upd')

    resumed(tmp_path, outputs, add_lines)
    assert [line["updates"] for line in lines_of(outputs, "training")] == list(range(1, 10))


def test_without_the_files_of_the_first_run_all_checkpoints_are_there(tmp_path, outputs):
    assembled = resumed(tmp_path, outputs, lambda: shutil.rmtree(outputs.data.parent))
    assert [line["updates"] for line in lines_of(outputs)] == [3, 6, 7, 8, 9, 9]
    curves = curves_of(outputs.tensorboard)
    assert [step for step, _ in curves["perplexity/validation"]] == [3, 6, 9]
    assert len(assembled.state.history) == 3
    assert page_of(outputs).count('<tr class="is-best">') == 1


def test_a_new_job_does_not_go_on_with_the_files_of_an_old_one(tmp_path, outputs):
    train_job(tmp_path / "old", JOB, outputs=outputs)
    train_job(tmp_path / "new", {**JOB, "max_num_batches": "3", "learning_rate": "0.02"}, outputs=outputs)
    assert [line["updates"] for line in lines_of(outputs)] == [1, 2, 3, 3]
    assert [step for step, _ in curves_of(outputs.tensorboard)["perplexity/train"]] == [1, 2, 3]


def test_a_job_resumed_at_its_end_still_shows_attention(tmp_path, outputs):
    # Eager enough to say something.
    job = {**JOB, "learning_rate": "0.1", "beam_size": "1", "max_num_batches": "30"}
    train_job(tmp_path, job, outputs=outputs)
    before = page_of(outputs)
    train_job(tmp_path, job, outputs=outputs)
    assert page_of(outputs) == before
    assert before.count('<svg class="attention"') == 5


# Failures


def test_a_folder_that_cannot_be_written_gives_one_warning_and_the_same_model(tmp_path, outputs, caplog):
    (tmp_path / "output").write_text("a file where the folder should be")
    told = train_job(tmp_path / "told", JOB, outputs=outputs)
    assert warnings(caplog) == [
        f"Cannot read the reports of the training, which goes on: [Errno 20] Not a directory: "
        f"'{outputs.data / 'metrics.jsonl'}'"
    ]
    silent = train_job(tmp_path / "silent", JOB)
    assert differing(weights_of(silent), weights_of(told)) == []


def test_what_can_still_be_written_is(tmp_path, outputs, caplog):
    outputs.tensorboard.parent.mkdir(parents=True)
    outputs.tensorboard.touch()
    train_job(tmp_path / "job", JOB, outputs=outputs)
    assert len(warnings(caplog)) == 1
    assert "Cannot write the reports of the training, which goes on: " in warnings(caplog)[0]
    assert len(lines_of(outputs, "checkpoint")) == 3
    assert "<h2>Checkpoints</h2>" in page_of(outputs)


def test_a_disk_that_is_full_for_a_while_leaves_no_gap(tmp_path, outputs, caplog, monkeypatch):
    job = assemble_job(tmp_path, JOB, outputs=outputs)
    evaluated = job.job.reporter.evaluated

    def block(state):
        if state.updates == 3:
            (outputs.data / "metrics.jsonl").unlink()
            (outputs.data / "metrics.jsonl").mkdir()
        if state.updates == 6:
            (outputs.data / "metrics.jsonl").rmdir()
        evaluated(state)

    job.job.reporter.evaluated = block
    train(job.job, job.state)
    assert len(warnings(caplog)) == 1
    assert [line["updates"] for line in lines_of(outputs)] == [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9]


def test_examples_that_cannot_be_translated_are_left_out(tmp_path, outputs, caplog, monkeypatch):
    def fail(self):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(Examples, "translate", fail)
    train_job(tmp_path, JOB, outputs=outputs)
    assert warnings(caplog) == [
        "Cannot translate examples for the reports of the training, which goes on: CUDA out of memory"
    ]
    assert all("examples" not in line for line in lines_of(outputs, "checkpoint"))
    assert "<h2>Examples</h2>" not in page_of(outputs)


def test_a_missing_library_does_no_harm(tmp_path, outputs, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    train_job(tmp_path, JOB, outputs=outputs)
    assert len(warnings(caplog)) == 1
    assert len(lines_of(outputs, "checkpoint")) == 3


def test_a_new_reporter_knows_nothing(tmp_path, outputs):
    assert assemble_job(tmp_path, outputs=outputs).job.reporter._course == Course()
