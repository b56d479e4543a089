"""Fixtures of the training jobs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.train.jobs import OptMl, Runner, runner


@pytest.fixture(scope="session")
def jobs() -> Iterator[Runner]:
    """Starts jobs; what still runs at the end is ended."""
    with runner() as made:
        yield made


@pytest.fixture
def opt_ml(tmp_path: Path) -> OptMl:
    """A folder with everything that a tiny job needs."""
    return OptMl.ready(tmp_path / "ml")
