"""Jobs for the tests of this folder, which show of every hyperparameter that it changes what it says it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s_algo.training.assembly import Assembled
from s2s_algo.training.trainer import train
from tests.tiny_job import assemble_job


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "effect_of(*names): the hyperparameters whose effect a test shows")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors this small gain nothing from several threads, and processes with several each slow one another down."""
    torch.set_num_threads(1)


class Jobs:
    """Makes tiny jobs from the texts of their hyperparameters, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passed: set[str] = set()
        self.count = 0

    def assemble(self, raw: Mapping[str, str], **parts: Any) -> Assembled:
        """A job that is ready to begin."""
        self.passed |= raw.keys()
        self.count += 1
        return assemble_job(self.folder / str(self.count), raw, **parts)

    def train(self, raw: Mapping[str, str], **parts: Any) -> Assembled:
        """A job that has ended."""
        assembled = self.assemble(raw, **parts)
        train(assembled.job, assembled.state)
        return assembled


@pytest.fixture
def jobs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    """Jobs that must, in the end, have been passed the hyperparameters whose effect the test is said to show."""
    made = Jobs(tmp_path)
    yield made
    promised = {name for marker in request.node.iter_markers("effect_of") for name in marker.args}
    assert promised <= made.passed, f"never passed: {promised - made.passed}"
