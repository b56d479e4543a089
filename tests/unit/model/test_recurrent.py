"""Recurrent cells."""

import pytest
import torch
from torch import nn

from s2s_algo.model.recurrent import CELLS as OURS
from tests.unit.small_model import CELLS

TORCH_CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}


@pytest.fixture(params=CELLS)
def twins(request):
    """Our cell, and torch's with the same weights."""
    torch_cell = TORCH_CELLS[request.param](7, 5)
    cell = OURS[request.param](7, 5)
    cell.load_state_dict(torch_cell.state_dict())
    return cell, torch_cell


def random_state(cell, rows):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(rows, 5, generator=generator) for _ in range(cell.states))


@torch.no_grad()
def test_a_step_equals_that_of_torch(twins):
    cell, torch_cell = twins
    inputs = torch.randn(3, 7, generator=torch.Generator().manual_seed(2))
    state = random_state(cell, 3)
    ours = cell(cell.input_gates(inputs), state)
    expected = torch_cell(inputs, state if len(state) == 2 else state[0])
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(ours) == len(expected)
    for part, expected_part in zip(ours, expected, strict=True):
        torch.testing.assert_close(part, expected_part)
