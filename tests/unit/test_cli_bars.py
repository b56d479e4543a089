"""The bars of commands that take long."""

import io
import sys
from functools import partial

import pytest
import tqdm

from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.cli import main
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from tests.unit.small_model import SOURCE_SIZE, TARGET_SIZE, small_model, vocabulary

LINES = "w4 w5\nw6\nw7\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def arguments(tmp_path):
    """What each command is given."""
    limits = LengthLimits(max_input_length=9, ratio_mean=1.2, ratio_std=0.2, max_output_length=7)
    inference = InferenceConfig(beam_size=2, limits=limits)
    model = tmp_path / "model"
    save_artifact(Artifact(small_model(), inference, vocabulary(SOURCE_SIZE), vocabulary(TARGET_SIZE)), model)
    (tmp_path / "text").write_text(LINES)
    text = str(tmp_path / "text")
    return {
        "translate": ["translate", "--model", str(model)],
        "score": ["score", text, text, "--model", str(model)],
        "evaluate": ["evaluate", text, text, "--model", str(model), "--precision", "float32", "--precision", "int8"],
    }


def seen(monkeypatch, arguments, output):
    """What the command writes on a terminal that shows its standard error."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", io.StringIO(LINES))
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", terminal)
    main(arguments, standalone_mode=False)
    return terminal.getvalue()


@pytest.mark.parametrize(
    ("command", "bar"),
    [("translate", "translating: 3 sentences ["), ("score", "scoring: 3 sentences ["), ("evaluate", "| 6/6 [")],
)
def test_a_terminal_shows_how_many_sentences_are_done(monkeypatch, arguments, command, bar):
    monkeypatch.setattr(tqdm, "tqdm", partial(tqdm.tqdm, mininterval=0, miniters=1))  # shows every change
    assert bar in seen(monkeypatch, arguments[command], io.StringIO())


@pytest.mark.parametrize("command", ["translate", "score"])
def test_there_is_no_bar_among_the_lines_of_an_answer(monkeypatch, arguments, command):
    assert "sentences [" not in seen(monkeypatch, arguments[command], Terminal())


@pytest.mark.parametrize("command", ["translate", "score", "evaluate"])
def test_who_looks_at_no_terminal_gets_no_bar(monkeypatch, arguments, command):
    monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    assert "[00:" not in seen(monkeypatch, arguments[command], io.StringIO())
