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
    loggers = [logging.getLogger(name) for name in (None, "torch", "s2s_algo")]
    handlers, levels = loggers[0].handlers[:], [logger.level for logger in loggers]
    yield
    for handler in loggers[0].handlers[:]:
        if handler not in handlers:
            loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
