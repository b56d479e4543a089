"""What the command ``s2s`` says of itself."""

import pytest
from click.testing import CliRunner

from s2s_algo.cli import main


@pytest.mark.parametrize(
    ("command", "example"),
    [
        (["prepare"], "s2s prepare train.en train.de val.en val.de --output data --channels"),
        (["translate"], 'echo "h e l l o" | s2s translate --model /opt/ml/model'),
        (["average"], "s2s average /opt/ml/checkpoints --model /opt/ml/model --output averaged --best 4"),
        (["train"], "s2s train --config job.yaml"),
        (["score"], "s2s score test.en test.de --model job/model > scores.tsv"),
        (["doctor"], "s2s doctor --base-dir job"),
        (["import"], "s2s import model.tar.gz --output /opt/ml/model"),
        (["describe", "model"], "s2s describe model --hyperparameters hyperparameters.json"),
    ],
)
def test_every_example_is_a_line_of_its_own(command, example):
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert f"\n  Example:\n      {example}\n" in result.stdout
