import gzip
import itertools
import re

import pytest
from click.testing import CliRunner

from benchmarks import _timed_training
from benchmarks._timed_training import Watch
from benchmarks.quality import main
from s2s_algo.training.loss import Totals
from s2s_algo.training.state import TrainState

TINY = ["rnn_num_hidden=8", "num_embed_source=4", "num_embed_target=4", "batch_size=4"]


@pytest.fixture
def corpus(tmp_path):
    pairs = [(f"the {a} and the {b}", f"das {b} und das {a}") for a, b in itertools.permutations("vwxyz", 2)]
    for name, some in (("train", pairs * 2), ("val", pairs[::7]), ("test2016", pairs[::5])):
        for side, language in enumerate(("en", "de")):
            text = "".join(f"{pair[side]}\n" for pair in some)
            (tmp_path / f"{name}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


@pytest.fixture
def processor(monkeypatch):
    """A clock of the processor that is set by hand, in seconds."""
    now = [0.0]
    monkeypatch.setattr(_timed_training.time, "process_time", lambda: now[0])
    return now


def run(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def test_each_checkpoint_is_told_and_translated(corpus):
    changes = [f"--set={change}" for change in TINY]
    code, output = run(corpus, "--updates", "2,5", *changes, "--test", "--keep", corpus / "models")
    assert code == 0, output
    told = re.findall(
        r"^[\d.]+ minutes, (\d) updates, 0 k target tokens; perplexity: train [\d.]+, val [\d.]+$", output, re.M
    )
    assert told == ["2", "5"]
    scored = re.findall(r"^after (\d) updates, (\w+): BLEU [\d.]+, chrF [\d.]+$", output, re.M)
    assert scored == [("2", "val"), ("2", "test2016"), ("5", "val"), ("5", "test2016")]
    assert sorted(model.name for model in (corpus / "models").iterdir()) == ["updates-2", "updates-5"]


def test_test_text_is_translated_only_when_asked_for(corpus):
    (corpus / "test2016.en.gz").unlink()
    code, output = run(corpus, "--updates", "1", *(f"--set={change}" for change in TINY))
    assert code == 0, output
    assert "test2016" not in output


def test_without_a_text_it_says_what_to_give():
    code, output = run()
    assert code == 0
    assert output == "Nothing is measured: give a folder of text, as the head of benchmarks/quality.py tells.\n"


def test_points_are_asked_for(corpus):
    code, output = run(corpus)
    assert code == 2
    assert "Give --minutes or --updates, such as --minutes 4.3,10.8,15.1." in output


def test_missing_text_is_named(corpus):
    (corpus / "val.de.gz").unlink()
    code, output = run(corpus, "--updates", "1")
    assert code == 1
    assert f"{corpus} has neither val.de nor val.de.gz" in output


def evaluate(watch, state, processor, seconds):
    """A checkpoint that takes so long."""
    state.history.append({"updates": state.updates})
    processor[0] += seconds
    watch.evaluated(state)


def test_checkpoint_is_due_at_the_first_update_after_its_time_and_once(processor):
    watch, state = Watch([1, 3], [], lambda point: None), TrainState()
    due = []
    for seconds in (50, 70, 130, 200):
        processor[0] = seconds
        due.append(watch.is_due(state))
    assert due == [False, True, False, True]


def test_time_of_checkpoints_does_not_count(processor):
    watch, state = Watch([1, 2], [], lambda point: None), TrainState(updates=7)
    processor[0] = 66
    assert watch.is_due(state)
    evaluate(watch, state, processor, 600)
    assert watch.points[0].minutes == pytest.approx(1.1)
    assert watch.spent == pytest.approx(1.1)
    processor[0] += 50
    assert not watch.is_due(state)
    processor[0] += 10
    assert watch.is_due(state)


def test_training_ends_after_the_last_point_of_either_kind(processor):
    watch, state = Watch([1], [3], lambda point: None), TrainState(updates=2)
    processor[0] = 70
    assert watch.is_due(state)
    evaluate(watch, state, processor, 5)
    assert not watch.is_over
    state.updates = 3
    assert watch.is_due(state)
    evaluate(watch, state, processor, 5)
    assert watch.is_over


def test_tokens_of_all_updates_are_counted():
    watch, state = Watch([1], [], lambda point: None), TrainState()
    watch.updated(state, Totals(tokens=5))
    watch.updated(state, Totals(tokens=8))
    evaluate(watch, state, [0.0], 0)
    assert watch.points[0].tokens == 13
