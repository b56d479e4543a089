import pytest

from s2s_algo.training.metrics import METRICS
from s2s_algo.training.starting_point import choose_best_of
from s2s_algo.training.state import TrainState

SCORES = {3: 0.5, 6: 0.9, 9: 0.7}


def state():
    history = [
        {"checkpoint": number, "updates": updates, "validation_accuracy": score, "validation_perplexity": 1 / score}
        for number, (updates, score) in enumerate(SCORES.items(), start=1)
    ]
    return TrainState(updates=9, history=history, best_checkpoint=2, best_updates=6, best_score=0.9, not_improved=1)


def test_the_best_checkpoint_stays_if_it_is_there(caplog):
    here = state()
    choose_best_of(here, [6, 9], METRICS["accuracy"])
    assert here == state()
    assert caplog.messages == []


@pytest.mark.parametrize(("metric", "stored", "best"), [("accuracy", [3, 9], 3), ("accuracy", [3, 12], 1)])
def test_the_best_one_that_is_left_takes_its_place(metric, stored, best, caplog):
    here = state()
    choose_best_of(here, stored, METRICS[metric])
    updates = 3 * best
    assert (here.best_checkpoint, here.best_updates, here.best_score) == (best, updates, SCORES[updates])
    assert here.not_improved == 1
    assert caplog.messages == [
        f"Checkpoint 2, the best one so far, is not there any more; the best one that is left is checkpoint {best}"
    ]


def test_lower_is_better_where_the_metric_says_so():
    here = state()
    choose_best_of(here, [3, 9], METRICS["perplexity"])
    assert (here.best_checkpoint, here.best_score) == (3, 1 / 0.7)


def test_there_may_be_none_left(caplog):
    here = state()
    choose_best_of(here, [12], METRICS["accuracy"])
    assert (here.best_checkpoint, here.best_updates, here.best_score) == (0, 0, None)
    assert caplog.messages == [
        "Checkpoint 2, the best one so far, is not there any more; the best one that is left is none"
    ]


def test_before_the_first_evaluation_there_is_none_to_miss(caplog):
    choose_best_of(TrainState(updates=2), [2], METRICS["accuracy"])
    assert caplog.messages == []
