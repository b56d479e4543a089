"""Tests for machines with GPUs: ``pytest -m gpu -rs``.

Whoever changes them where there is none runs them with S2S_GPU_TESTS_ON=cpu: then all but what only CUDA has runs on
the CPU.
"""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where to compute what is compared with the CPU."""
    if name := os.environ.get("S2S_GPU_TESTS_ON"):
        return torch.device(name)
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device: torch.cuda.is_available() is False")
    return torch.device("cuda", 0)


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    """The same for tests of what only CUDA has."""
    if device.type != "cuda":
        pytest.skip("is about what only CUDA has")
    return device


@pytest.fixture(autouse=True)
def no_tf32():
    """Products of float32 numbers are float32 products, unless a test says otherwise, and afterwards as before."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
