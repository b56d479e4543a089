"""What all tests of training share."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors this small gain nothing from several threads, and processes with several each slow one another down."""
    torch.set_num_threads(1)
