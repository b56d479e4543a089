"""`container.paths`."""

from pathlib import Path

import pytest

from container.paths import Paths


@pytest.mark.parametrize("environment", [{}, {"SAGEMAKER_BASE_DIR": ""}])
def test_the_tree_lies_where_the_platform_puts_it(environment):
    paths = Paths.from_environment(environment)
    assert {
        "hyperparameters": Path("/opt/ml/input/config/hyperparameters.json"),
        "input_data_config": Path("/opt/ml/input/config/inputdataconfig.json"),
        "resource_config": Path("/opt/ml/input/config/resourceconfig.json"),
        "checkpoint_config": Path("/opt/ml/input/config/checkpointconfig.json"),
        "data": Path("/opt/ml/input/data"),
        "checkpoints": Path("/opt/ml/checkpoints"),
        "model": Path("/opt/ml/model"),
        "failure": Path("/opt/ml/output/failure"),
    } == {
        name: getattr(paths, name)
        for name in (
            "hyperparameters",
            "input_data_config",
            "resource_config",
            "checkpoint_config",
            "data",
            "checkpoints",
            "model",
            "failure",
        )
    }


def test_a_variable_moves_the_whole_tree(tmp_path):
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert paths.model == tmp_path / "model"
    assert paths.failure == tmp_path / "output" / "failure"


@pytest.mark.parametrize("environment", [{}, {"S2S_CACHE_DIR": ""}])
def test_by_default_no_corpora_are_kept(environment):
    assert Paths.from_environment(environment).corpus_cache is None


def test_corpora_are_kept_where_the_environment_says():
    assert Paths.from_environment({"S2S_CACHE_DIR": "/cache"}).corpus_cache == Path("/cache")
