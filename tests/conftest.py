"""What all tests share."""

import logging
import os

import pytest


def pytest_configure(config):
    """All tests but those of GPUs are about the CPU, also on machines that have others."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def logging_stays_as_it_was():
    """A test that configures logging, by whatever way, must not change what later ones hear."""
    root, torch_logger = logging.getLogger(), logging.getLogger("torch")
    handlers, levels = root.handlers[:], (root.level, torch_logger.level)
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
    root.setLevel(levels[0])
    torch_logger.setLevel(levels[1])
