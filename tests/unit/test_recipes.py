"""The recipes of examples/ are jobs that the product takes, and what docs/recipes.md says of them is true."""

import json
import re
from pathlib import Path

import pytest

from s2s_algo.hyperparameters import Hyperparameters, read_hyperparameters_file, validate

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples" / "recipes").glob("*.json"))
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipe_is_a_job_without_complaints(file):
    values = read_hyperparameters_file(file)
    assert all(isinstance(value, str) for value in values.values()), "as the platform passes them"
    assert validate(values).notices == ()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipe_names_only_what_differs_from_the_defaults(file):
    found = validate(read_hyperparameters_file(file)).hyperparameters
    same = [name for name in json.loads(file.read_text()) if getattr(found, name) == getattr(Hyperparameters(), name)]
    assert same == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_page_tells_every_value_of_a_recipe(file):
    begin = PAGE.index(f"examples/recipes/{file.name}")
    rows = re.findall(r"^\| (`.+?`) \| (\S.*?) \|", PAGE[begin:], re.MULTILINE)
    told = {name: value for names, value in rows for name in re.findall(r"`(\w+)`", names)}
    for name, value in json.loads(file.read_text()).items():
        assert told.get(name) == value, f"{name} is {value} in {file.name}"
