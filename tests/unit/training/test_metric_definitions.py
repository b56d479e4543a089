"""The metric definitions that users paste into a job."""

import json
import re
from pathlib import Path

import pytest

from s2s_algo.training.metrics import METRICS, metric_definitions

FILE = Path(__file__).parents[3] / "docs" / "metric_definitions.json"
PAGE = FILE.with_name("operations.md")


def test_the_file_is_up_to_date():
    assert json.loads(FILE.read_text(encoding="utf-8")) == metric_definitions(), (
        "write the file again: s2s describe metrics > docs/metric_definitions.json"
    )


def test_all_metrics_that_can_be_optimised_are_defined():
    names = [definition["Name"] for definition in metric_definitions()]
    assert [f"validation:{name}" for name in METRICS] == names[: len(METRICS)]


def test_the_page_has_the_same_regexes():
    for definition in metric_definitions():
        assert f"`{definition['Name']}`" in PAGE.read_text(encoding="utf-8")
        assert definition["Regex"].replace("|", "\\|") in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("definition", metric_definitions(), ids=lambda definition: definition["Name"])
def test_the_platform_takes_the_definitions(definition):
    assert set(definition) == {"Name", "Regex"}
    assert 1 <= len(definition["Name"]) <= 255
    assert 1 <= len(definition["Regex"]) <= 500
    assert re.compile(definition["Regex"]).groups == 1
    # A tab is no tab any more when the platform looks at the log.
    assert "\t" not in definition["Regex"]
