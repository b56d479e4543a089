"""The counters of a job on disk."""

import json
from dataclasses import fields

import pytest

from s2s_algo.training.loss import Totals
from s2s_algo.training.state import TrainState

FULL = TrainState(
    updates=12,
    epoch=3,
    position=2,
    samples=345,
    seconds=6.75,
    totals=Totals(negative_log_likelihood=1.0 / 3, correct=4, tokens=9),
    checkpoint=5,
    evaluated_updates=10,
    saved_updates=11,
    skipped=7,
    best_checkpoint=4,
    best_updates=8,
    best_score=0.1 + 0.2,
    not_improved=1,
    history=[{"checkpoint": 1, "learning_rate": 0.1, "improved": True}, {"checkpoint": 2, "improved": False}],
)


def through_json(state):
    return TrainState.from_json(json.loads(json.dumps(state.to_json())))


def test_every_counter_of_the_full_state_differs_from_a_new_one():
    new = TrainState()
    assert [field.name for field in fields(new) if getattr(FULL, field.name) == getattr(new, field.name)] == []


@pytest.mark.parametrize("state", [TrainState(), FULL], ids=["new", "full"])
def test_json_brings_back_what_it_was_given(state):
    again = through_json(state)
    assert again == state
    assert isinstance(again.totals, Totals)


def test_json_keeps_the_types_of_the_history():
    first, _ = through_json(FULL).history
    assert {name: type(value) for name, value in first.items()} == {
        "checkpoint": int,
        "learning_rate": float,
        "improved": bool,
    }


def test_a_state_in_use_is_not_tied_to_its_json():
    state = TrainState(history=[{"checkpoint": 1}])
    values = state.to_json()
    state.history.append({"checkpoint": 2})
    state.totals.tokens += 1
    assert values == TrainState(history=[{"checkpoint": 1}]).to_json()


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {**FULL.to_json(), "updates": "many"},
        {**FULL.to_json(), "updates": "12"},
        {**FULL.to_json(), "history": 3},
        {**FULL.to_json(), "totals": None},
        {**FULL.to_json(), "a name of another version": 1},
        {name: value for name, value in FULL.to_json().items() if name != "updates"},
        {},
    ],
    ids=["null", "list", "text", "number as text", "no list", "no totals", "foreign name", "missing name", "empty"],
)
def test_anything_else_is_refused(values):
    with pytest.raises(ValueError, match=r"counters are missing or unknown|validation error"):
        TrainState.from_json(values)
