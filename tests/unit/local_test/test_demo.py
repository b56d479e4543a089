import json
from pathlib import Path

import pytest

from local_test import demo
from local_test.heat_map import Panel
from local_test.make_channels import read_hyperparameters
from local_test.scoring import Score
from s2s_algo.hyperparameters import validate

ACCEPTED = {"cat": ["K AE T"], "tomato": ["T AH M EY T OW", "T AH M AA T OW"]}
SAID = {"cat": "K AE T", "tomato": "T AH M AA D OW"}


def test_the_table_marks_right_and_wrong_words():
    assert demo.format_words(["cat", "tomato"], SAID, ACCEPTED).splitlines() == [
        "word    predicted       reference",
        "cat     K AE T          K AE T          ✓",
        "tomato  T AH M AA D OW  T AH M AA T OW  ✗",
    ]


def test_every_word_is_asked_for_in_requests_of_100(endpoint):
    sizes = []

    def answer(body):
        instances = json.loads(body)["instances"]
        sizes.append(len(instances))
        return 200, json.dumps(
            {"predictions": [{"target": i["data"].upper(), "matrix": []} for i in instances]}
        ).encode()

    endpoint.answer = answer
    words = [f"{'ab' * i}" for i in range(1, 231)]
    predictions = demo.ask(endpoint.url, words)
    assert sizes == [100, 100, 30]
    assert list(predictions) == words
    assert predictions["abab"]["target"] == "A B A B"


def test_a_heat_map_panel_has_the_letters_and_the_phonemes():
    matrix = [[1, 0], [0, 1]]
    predictions = {"at": {"target": "AE T", "matrix": matrix}, "mm": {"target": "", "matrix": []}}
    assert demo.panels_of(["at", "mm"], predictions) == [Panel(["a", "t"], ["AE", "T"], matrix)]


def test_checkpoints_are_listed_with_their_metrics():
    text = demo.format_checkpoints([{"perplexity": 1.23456, "accuracy": 0.75}, {"perplexity": 1.2}])
    assert text == "checkpoint 1: perplexity 1.235, accuracy 0.75\ncheckpoint 2: perplexity 1.2"


@pytest.mark.parametrize(
    ("right_words", "phoneme_errors", "broken"),
    [
        (60, 55, []),
        (59, 55, ["59.0% of the words are right, promised are 60%"]),
        (60, 56, ["the phoneme error rate is 11.2%, promised are 11%"]),
        (
            0,
            500,
            ["0.0% of the words are right, promised are 60%", "the phoneme error rate is 100.0%, promised are 11%"],
        ),
    ],
)
def test_a_result_worse_than_promised_is_reported(right_words, phoneme_errors, broken):
    promised = demo.Architecture(Path("any.json"), least_accuracy=0.6, most_phoneme_errors=0.11)
    assert demo.broken_promises(Score(100, right_words, 500, phoneme_errors), promised) == broken


@pytest.mark.parametrize("arch", demo.ARCHITECTURES)
def test_each_architecture_has_valid_hyperparameters_of_its_own(arch):
    hyperparameters = validate(read_hyperparameters(demo.ARCHITECTURES[arch].hyperparameters)).hyperparameters
    assert (hyperparameters.encoder_type, hyperparameters.decoder_type) == (arch, arch)


def test_the_clock_counts_the_set_up_and_every_phase(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1010.0)
    clock = demo.Clock(started=1000.0)
    ticks = iter([0.0, 61.0])
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    with clock.phase("training"):
        pass
    assert clock.report() == "10 s: set-up 10 s, training 61 s"
