"""No hyperparameter without a test of its effect."""

import importlib
import inspect
from pathlib import Path

import pytest

from s2s_algo.hyperparameters import Hyperparameters


def shown():
    """The names in the marks of all tests of this folder."""
    names = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        module = importlib.import_module(f"tests.effects.{file.stem}")
        for name, test in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_"):
                names |= {
                    arg for mark in getattr(test, "pytestmark", []) if mark.name == "effect_of" for arg in mark.args
                }
    return names


@pytest.mark.parametrize("name", sorted({*Hyperparameters.model_fields, *shown()}))
def test_every_hyperparameter_has_a_test_of_its_effect_and_no_other_name_has(name):
    assert name in shown()
    assert name in Hyperparameters.model_fields
