"""Learning rates."""

import logging

import pytest

from s2s_algo.training.schedules import InverseSquareRoot, InverseTime, PlateauReduce


@pytest.mark.parametrize(
    ("update", "inverse_time", "inverse_square_root"),
    [(5_000, 2.0000e-4, 1.8974e-4), (10_000, 1.5e-4, 1.5e-4), (30_000, 7.5e-5, 9.4868e-5)],
)
def test_rates_with_a_half_life_of_ten_thousand_updates(update, inverse_time, inverse_square_root):
    assert InverseTime(3e-4, 10_000).rate(update) == pytest.approx(inverse_time, rel=1e-4)
    assert InverseSquareRoot(3e-4, 10_000).rate(update) == pytest.approx(inverse_square_root, rel=1e-4)


def test_updates_count_from_one():
    assert InverseTime(1.0, 1).rate(1) == pytest.approx(1 / 2)
    assert InverseSquareRoot(1.0, 3).rate(1) == pytest.approx(2**-0.5)


def plateau(schedule, pattern):
    rates = []
    for improved in pattern:
        schedule.after_checkpoint(improved)
        rates.append(schedule.rate(1))
    return rates


def test_the_plateau_schedule_halves_after_every_third_miss_in_a_row():
    pattern = [True, *[False] * 6, True, *[False] * 3]
    assert plateau(PlateauReduce(3e-4, 0.5, 3), pattern) == pytest.approx(
        [3e-4, 3e-4, 3e-4, 1.5e-4, 1.5e-4, 1.5e-4, 7.5e-5, 7.5e-5, 7.5e-5, 7.5e-5, 3.75e-5]
    )


def test_an_improvement_starts_the_count_again():
    assert plateau(PlateauReduce(1.0, 0.5, 2), [False, True, False, True, False]) == [1.0] * 5


def test_a_factor_of_one_switches_the_plateau_schedule_off(caplog):
    with caplog.at_level(logging.INFO):
        assert plateau(PlateauReduce(1.0, 1.0, 1), [False] * 5) == [1.0] * 5
    assert not caplog.records


def test_the_rate_of_the_plateau_schedule_does_not_depend_on_the_update():
    schedule = PlateauReduce(1.0, 0.5, 1)
    assert schedule.rate(1) == schedule.rate(10**6) == 1.0


def test_a_reduction_is_logged_with_both_rates(caplog):
    with caplog.at_level(logging.INFO):
        plateau(PlateauReduce(3e-4, 0.5, 3), [False] * 3)
    assert caplog.messages == [
        "3 checkpoints since improvement or rate scaling, lowering learning rate: 3.00e-04 -> 1.50e-04"
    ]


@pytest.mark.parametrize(
    "make",
    [lambda: PlateauReduce(1.0, 0.5, 2), lambda: InverseTime(1.0, 10), lambda: InverseSquareRoot(1.0, 10)],
    ids=["plateau", "inverse time", "inverse square root"],
)
def test_a_resumed_schedule_goes_on_as_an_uninterrupted_one(make):
    pattern = [True, False, False, False, False, True, False, False]
    for stop in range(len(pattern)):
        whole, first, second = make(), make(), make()
        expected = plateau(whole, pattern)
        before = plateau(first, pattern[:stop])
        second.load_state(first.state())
        assert before + plateau(second, pattern[stop:]) == expected


def test_what_falls_with_the_updates_hears_nothing_of_checkpoints():
    for schedule in (InverseTime(1.0, 10), InverseSquareRoot(1.0, 10)):
        before = schedule.rate(7)
        schedule.after_checkpoint(False)
        assert schedule.rate(7) == before
        assert schedule.state() == {}
