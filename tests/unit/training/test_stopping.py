"""When training ends."""

import itertools

import pytest

from s2s_algo.training.state import TrainState
from s2s_algo.training.stopping import CheckpointRule, StoppingRule, StopRequested, stop_if

LIMITS = "Maximum # of updates ({}) or epochs ({}) reached."
PATIENCE = "Maximum number of not improved checkpoints (2) reached: 2"


def rule(updates=None, epochs=None, min_epochs=0, patience=2):
    return StoppingRule(max_updates=updates, max_epochs=epochs, min_epochs=min_epochs, patience=patience)


def state(updates=7, epoch=1, not_improved=0, evaluated=True):
    return TrainState(
        updates=updates,
        epoch=epoch,
        not_improved=not_improved,
        evaluated_updates=updates if evaluated else updates - 1,
    )


@pytest.mark.parametrize("epoch", [0, 1, 100])
@pytest.mark.parametrize("updates", [1, 10**6])
def test_without_limits_only_patience_ends_a_job(updates, epoch):
    assert rule().reason(state(updates, epoch, not_improved=1)) is None
    assert rule().reason(state(updates, epoch, not_improved=2)) == PATIENCE


@pytest.mark.parametrize(("updates", "ends"), [(9, False), (10, True), (11, True)])
def test_the_limit_of_updates_ends_a_job(updates, ends):
    reason = rule(updates=10).reason(state(updates))
    assert reason == (LIMITS.format(10, None) if ends else None)


@pytest.mark.parametrize(("epoch", "ends"), [(2, False), (3, True), (4, True)])
def test_the_limit_of_epochs_ends_a_job(epoch, ends):
    reason = rule(epochs=3).reason(state(epoch=epoch))
    assert reason == (LIMITS.format(None, 3) if ends else None)


@pytest.mark.parametrize(
    ("updates", "epoch", "not_improved", "ends"),
    [
        (9, 2, 1, None),
        (10, 2, 1, LIMITS.format(10, None)),
        (9, 2, 2, PATIENCE),
        (10, 2, 2, LIMITS.format(10, None)),
    ],
)
def test_the_first_reached_of_updates_and_patience_ends_a_job(updates, epoch, not_improved, ends):
    assert rule(updates=10).reason(state(updates, epoch, not_improved)) == ends


@pytest.mark.parametrize(
    ("updates", "epoch", "ends"), [(9, 2, False), (10, 2, True), (9, 3, True), (10, 3, True), (11, 1, True)]
)
def test_the_first_reached_of_updates_and_epochs_ends_a_job(updates, epoch, ends):
    reason = rule(updates=10, epochs=3).reason(state(updates, epoch))
    assert reason == (LIMITS.format(10, 3) if ends else None)


@pytest.mark.parametrize("not_improved", [2, 3, 100])
@pytest.mark.parametrize("updates", [None, 10])
def test_a_limit_of_epochs_leaves_no_room_for_patience(updates, not_improved):
    limited = rule(updates=updates, epochs=3)
    assert limited.reason(state(updates=9, epoch=2, not_improved=not_improved)) is None


@pytest.mark.parametrize("not_improved", [2, 3])
def test_patience_ends_a_job_right_after_a_checkpoint_only(not_improved):
    assert rule().reason(state(not_improved=not_improved, evaluated=False)) is None
    assert rule().reason(state(not_improved=not_improved, evaluated=True)) is not None


@pytest.mark.parametrize("updates", [None, 10])
@pytest.mark.parametrize("epochs", [None, 3])
def test_limits_end_a_job_between_two_checkpoints_too(updates, epochs):
    limited = rule(updates=updates, epochs=epochs)
    reached = state(updates=10, epoch=3, evaluated=False)
    assert (limited.reason(reached) is None) == (updates is None and epochs is None)


@pytest.mark.parametrize(("epoch", "ends"), [(0, False), (4, False), (5, True), (6, True)])
def test_patience_waits_for_the_least_number_of_epochs(epoch, ends):
    assert (rule(min_epochs=5).reason(state(epoch=epoch, not_improved=2)) is not None) == ends


def test_the_least_number_of_epochs_holds_back_no_other_limit():
    assert rule(updates=10, min_epochs=5).reason(state(updates=10, epoch=1)) == LIMITS.format(10, None)


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_is_a_number_of_checkpoints(patience):
    patient = rule(patience=patience)
    assert patient.reason(state(not_improved=patience - 1)) is None
    text = f"Maximum number of not improved checkpoints ({patience}) reached: {patience}"
    assert patient.reason(state(not_improved=patience)) == text


@pytest.mark.parametrize("limits", list(itertools.product([None, 10], [None, 3], [0, 2])))
def test_a_job_that_has_not_begun_does_not_end(limits):
    assert rule(*limits).reason(TrainState()) is None


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"updates": 30}, 30 - 17),
        ({"epochs": 3}, 3 * 10 - 17),
        ({"epochs": 3, "updates": 19}, 19 - 17),
        ({"epochs": 2, "updates": 30}, 2 * 10 - 17),
        ({"updates": 17}, 0),
        ({"updates": 5}, 0),
        ({"epochs": 1}, 0),
    ],
)
def test_updates_left_are_those_to_the_nearest_limit(limits, expected):
    # In the second epoch of 10 batches, 7 of them done.
    assert rule(**limits).updates_left(TrainState(updates=17, epoch=1, position=7), batches=10) == expected


@pytest.mark.parametrize(("updates", "due"), [(1, False), (4, False), (5, True), (6, False), (10, True)])
def test_a_checkpoint_is_due_after_every_so_many_updates(updates, due):
    # Wherever in an epoch that is.
    for position in (0, 3):
        assert CheckpointRule(every_updates=5).is_due(TrainState(updates=updates, epoch=1, position=position)) == due


@pytest.mark.parametrize(
    ("epoch", "position", "due"),
    [(0, 3, False), (1, 0, False), (2, 0, True), (2, 1, False), (3, 0, False), (4, 0, True), (4, 3, False)],
)
def test_a_checkpoint_is_due_after_every_so_many_epochs_and_after_no_number_of_updates(epoch, position, due):
    for updates in (5, 7):
        rule = CheckpointRule(every_updates=5, every_epochs=2)
        assert rule.is_due(TrainState(updates=updates, epoch=epoch, position=position)) == due


def test_a_job_ends_where_that_is_wanted():
    stop_if(False)
    with pytest.raises(StopRequested):
        stop_if(True)


@pytest.mark.parametrize(
    ("rule", "limits", "most"),
    [
        (CheckpointRule(10), {}, None),
        (CheckpointRule(10), {"max_updates": 25}, 3),
        (CheckpointRule(10), {"max_updates": 30}, 3),
        (CheckpointRule(10), {"max_epochs": 2}, 2),
        (CheckpointRule(10), {"max_updates": 5, "max_epochs": 100}, 1),
        (CheckpointRule(10, every_epochs=2), {"max_epochs": 5}, 3),
        (CheckpointRule(10, every_epochs=1), {"max_updates": 15}, 2),
        (CheckpointRule(10, every_epochs=1), {}, None),
    ],
)
def test_limits_say_how_many_checkpoints_there_can_be(rule, limits, most):
    """An epoch has eight updates."""
    stopping = StoppingRule(**{"max_updates": None, "max_epochs": None, "min_epochs": 0, "patience": 3, **limits})
    assert rule.most(stopping, updates_per_epoch=8) == most
