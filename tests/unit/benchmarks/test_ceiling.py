"""What products allow, and how many operations of them are needed."""

import pytest
import torch

from benchmarks._ceiling import ceiling, operations
from s2s_algo.model.memory import empty_model
from tests.unit.small_model import TARGET_SIZE, small_config

EMBEDDED, ANSWERING = 4, 3  # widths of embeddings


def test_operations_of_a_recurrent_model_are_those_of_each_product():
    model = empty_model(small_config(encoder_hidden=6, decoder_hidden=8, attention_hidden=5))
    source = 2 * 4 * 3 * (EMBEDDED + 3) + 6 * 5  # both directions, and the keys
    target = 4 * 8 * (ANSWERING + 8 + 8) + 8 * 5 + 5 + (8 + 6) * 8 + 8 * TARGET_SIZE
    sentence = 2 * 6 * 8  # both parts of the first state
    assert operations(model, 7, 100, 1000) == 2 * (7 * sentence + 100 * source + 1000 * target)


def test_operations_of_a_convolutional_model_are_those_of_each_product():
    config = small_config(
        encoder="cnn", decoder="cnn", encoder_hidden=6, decoder_hidden=8, encoder_kernel=3, decoder_kernel=2
    )
    source = EMBEDDED * 6 + 2 * 6 * 6 * 3 + 6 * 8
    target = ANSWERING * 8 + 2 * 8 * 8 * 2 + 8 * TARGET_SIZE
    assert operations(empty_model(config), 7, 100, 1000) == 2 * (100 * source + 1000 * target)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ceiling_is_what_products_reach(monkeypatch, dtype):
    """With a clock that is half a second later at each look."""
    looks = iter(range(100))
    monkeypatch.setattr("benchmarks._ceiling._SQUARE", 64)
    assert ceiling(dtype, lambda: next(looks) / 2) == 2 * 64**3 / 0.5
