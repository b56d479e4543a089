"""Learning rates of Sockeye's schedulers."""

import itertools
import json

import pytest

from s2s_algo.training.schedules import InverseSquareRoot, InverseTime, PlateauReduce
from tests.golden.sockeye import GOLDEN

FIXED = json.loads((GOLDEN / "lr" / "fixed_rate.json").read_text(encoding="utf-8"))
PLATEAU = json.loads((GOLDEN / "lr" / "plateau_reduce.json").read_text(encoding="utf-8"))["cases"]
TYPES = {"fixed_rate_inv_t": InverseTime, "fixed_rate_inv_sqrt_t": InverseSquareRoot}


def fixed(case):
    half_life = case["half_life"] * case["checkpoint_frequency"]
    return TYPES[case["type"]](case["learning_rate"], half_life)


@pytest.mark.parametrize("case", FIXED["cases"], ids=lambda case: f"{case['type']}-{case['half_life']}")
def test_rates_that_fall_with_every_update(case, compare):
    ours = [fixed(case).rate(update) for update in case["update"]]
    compare("learning rate, fixed, relative", ours, case["lr"], 1e-12, relative=True)


@pytest.mark.parametrize("case", FIXED["observed_inside_optimizer"], ids=lambda case: case["type"])
def test_all_parameters_have_the_rate_of_their_update(case, compare):
    schedule = fixed(case)
    ours = [schedule.rate(update) for _, update, _ in case["parameter_index_update_lr"]]
    golden = [rate for _, _, rate in case["parameter_index_update_lr"]]
    compare("learning rate, inside the optimizer, relative", ours, golden, 1e-12, relative=True)


@pytest.mark.parametrize("case", PLATEAU, ids=lambda case: f"{case['factor']}-{case['threshold']}")
def test_rates_that_fall_when_nothing_improves(case, compare):
    schedule = PlateauReduce(case["learning_rate"], case["factor"], case["threshold"])
    first = schedule.rate(1)
    # Sockeye makes no scheduler at all where the factor is 1.
    assert first == case.get("lr_before_first_checkpoint", case["learning_rate"])
    rates = []
    for update, improved in enumerate(case["improved"], start=1):
        schedule.after_checkpoint(bool(improved))
        rates.append(schedule.rate(update))
    compare("learning rate, plateau, relative", rates, case["lr_after_checkpoint"], 1e-12, relative=True)
    assert [new < old for old, new in itertools.pairwise([first, *rates])] == case["reduced"]
