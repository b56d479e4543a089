"""The numbers of docs/models.md are those of the code."""

import math
import re
from pathlib import Path

import pytest

from benchmarks import memory as benchmark
from benchmarks.parameter_counts import BEGIN, END, with_table
from s2s_algo.decoding import scheduler
from s2s_algo.model import attention, initialization
from s2s_algo.training import memory_estimate, output

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def measurements():
    """The rows of the table of measurements."""
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[1] in ("training", "serving"):
            yield (cells[0], cells[1], *map(int, cells[2:]))


ROWS = list(measurements())


def test_the_table_of_parameter_counts_is_what_the_code_says():
    assert with_table(TEXT) == TEXT, "write the table again: make docs"


def test_only_what_lies_between_the_marks_is_written():
    page = with_table(f"before\n{BEGIN}old\n{END}after\n")
    assert page.startswith(f"before\n{BEGIN}| passed |")
    assert page.endswith(f"|\n{END}after\n")
    assert "old" not in page


def test_every_configuration_of_the_benchmark_is_in_the_table_of_measurements():
    expected = [(name, task) for name in benchmark.CONFIGURATIONS for task in ("training", "serving")]
    assert [row[:2] for row in ROWS] == expected


@pytest.mark.parametrize(("name", "task", "estimated", "given_back", "default"), ROWS)
def test_the_estimates_of_the_page_are_those_of_the_code(name, task, estimated, given_back, default):
    assert benchmark.estimate(task, name).peak / 2**20 == pytest.approx(estimated, abs=0.51), (
        "measure again: python -m benchmarks.memory"
    )


def test_the_page_says_how_far_the_measurements_are_from_the_estimates():
    found = re.search(r"took at most (\d+) % more than estimated and serving at most (\d+) MiB more", TEXT)
    worst = max(row[3] / row[2] - 1 for row in ROWS if row[1] == "training")
    assert int(found[1]) == math.ceil(100 * worst)
    assert int(found[2]) == max(row[3] - row[2] for row in ROWS if row[1] == "serving")


def test_the_page_says_what_was_measured():
    sizes = {name: benchmark.configuration(name) for name in benchmark.CONFIGURATIONS}
    assert {(h.batch_size, h.max_seq_len_source, h.max_seq_len_target + 1) for h in sizes.values()} == {(32, 50, 51)}
    assert "Vocabularies of 5,000 entries, 32 pairs of 50 and 51 positions" in TEXT
    assert f"{benchmark._VOCABULARY:,}" == "5,000"
    assert f"MALLOC_MMAP_THRESHOLD_={benchmark.GIVE_BACK['MALLOC_MMAP_THRESHOLD_']}" in TEXT


def test_constants_are_those_of_the_code():
    assert f"{-attention.MASKED:,.0f}.\n" in TEXT
    assert f"times {initialization._ORTHOGONAL_SCALE}" in TEXT
    assert f"{scheduler.MOST_ROWS} hypotheses, or {scheduler._MOST_SOURCE_CELLS:,} pairs" in TEXT
    assert rf"${memory_estimate._LOGITS} \min(N, {output.ROWS}) V_y$" in TEXT


def test_every_hyperparameter_of_a_model_is_on_the_page():
    shaping = {"encoder_type", "decoder_type", "weight_init_scale", "weight_init_type", "xavier_factor_type"}
    kinds = "rnn_|cnn_|num_layers_|num_embed_|embed_"
    shaping |= {name for name in benchmark.Hyperparameters.model_fields if re.match(kinds, name)}
    missing = {name for name in shaping if name not in TEXT}
    assert not missing


def test_links_lead_to_pages():
    for link in re.findall(r"\]\((\w+\.md)\)", TEXT):
        assert (Path(__file__).parents[2] / "docs" / link).exists()
