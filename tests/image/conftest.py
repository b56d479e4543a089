"""The image of `make image`, run by a container engine with the folders and limits of the platform: `make test-image`.

Without an engine everything here is skipped. DOCKER is the engine's command, S2S_IMAGE the image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.train.jobs import TINY, OptMl
from tests.image.engine import IMAGE, Engine, has_image, run, why_none
from tests.image.folders import mounts


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine; whatever it has started is removed at the end."""
    if reason := why_none():
        pytest.skip(reason)
    if not has_image():
        pytest.fail(f"there is no image {IMAGE}; `make image` builds it, and S2S_IMAGE names another", pytrace=False)
    made = Engine()
    yield made
    made.clean_up()
    if os.getuid():  # files of root would stay
        base = str(tmp_path_factory.getbasetemp())
        owner = f"{os.getuid()}:{os.getgid()}"
        run("run", "--rm", "--volume", f"{base}:/there", "--entrypoint", "chown", IMAGE, "--recursive", owner, "/there")


@pytest.fixture(scope="session")
def network(engine: Engine) -> str:
    """For containers that are talked to."""
    return engine.network()


@pytest.fixture
def opt_ml(tmp_path: Path) -> OptMl:
    """A folder with everything that a tiny job needs, as the platform makes it: its user may be another."""
    return OptMl.ready(tmp_path / "ml")


@pytest.fixture(scope="session")
def trained(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a finished job."""
    opt_ml = OptMl.ready(tmp_path_factory.mktemp("trained") / "ml", {**TINY, "max_num_batches": "20"})
    ended = engine.start(["train"], mounts(opt_ml)).wait()
    assert ended.exit_code == 0, ended.log
    return opt_ml.model
