"""Each measurement is a command that `make bench` can run."""

from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

FOLDER = Path(__file__).parents[3] / "benchmarks"
COMMANDS = sorted(file.stem for file in FOLDER.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_measurement_needs_an_argument(name):
    main = import_module(f"benchmarks.{name}").main
    assert [parameter.name for parameter in main.params if parameter.required] == []


@pytest.mark.parametrize("name", ["decoding", "quality", "rivals"])
def test_a_measurement_that_lacks_its_data_says_what_to_give(name):
    done = CliRunner().invoke(import_module(f"benchmarks.{name}").main, [])
    assert done.exit_code == 0
    assert "is measured: give" in done.output or "to measure: name" in done.output
