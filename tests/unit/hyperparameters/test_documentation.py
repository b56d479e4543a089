from pathlib import Path

from s2s_algo.hyperparameters import Hyperparameters, as_markdown

PAGE = Path(__file__).parents[3] / "docs" / "hyperparameters.md"


def test_the_page_is_what_the_table_says():
    assert PAGE.read_text(encoding="utf-8") == as_markdown(), (
        "write the page again: s2s describe hyperparameters > docs/hyperparameters.md"
    )


def test_every_parameter_has_a_row_of_six_cells_in_page_order():
    rows = [line.split(" | ") for line in as_markdown().splitlines() if line.startswith("| `")]

    assert [row[0] for row in rows] == [f"| `{name}`" for name in Hyperparameters.model_fields]
    assert {len(row) for row in rows} == {6}


def test_the_extensions_are_a_table_of_their_own():
    page, extensions = as_markdown().split("## Rules")[0].split("## Extensions")

    assert page.count("\n| `") == 49
    assert extensions.count("\n| `") == 16
    assert "All are off by default" in extensions


def test_a_row_says_type_values_default_range_for_tuning_and_meaning():
    assert (
        "| `num_layers_encoder` | integer | an integer from 1 to 100 | `1` | 1 to 10 | Depth of the encoder. |"
        in as_markdown().splitlines()
    )


def test_every_rule_is_listed():
    rules = as_markdown().split("## Rules between hyperparameters")[1]

    assert rules.count("\n* ") == 15
    assert "* `min_num_epochs` must be at most `max_num_epochs`." in rules.splitlines()
