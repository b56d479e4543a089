"""``s2s train``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from s2s_algo.commands.parameters import PATH


@click.command()
@click.option("--config", "-c", "file", required=True, type=PATH, help="The job, as YAML.")
def train(file: Path) -> None:
    """Trains a model on this machine, as the container does, from a YAML file.

    Needed in it are train and validation (a record file, a list of them, or a folder of them), vocab (the folder of the
    vocabularies) and output (a folder, which gets model/ and output/). There may also be model (a folder or archive
    to begin with), checkpoints (a folder; a job that is started again goes on from there) and hyperparameters (a map).
    Paths are relative to the folder of the file. Ctrl-C and SIGTERM end the job with the model saved. Exit codes are
    those of the container: 0 done or stopped, 1 a bug, 2 the job is wrong, 3 the machine.

    \b
    Example:
        s2s train --config job.yaml
    \b
    Example of a file, after s2s prepare with --output data --channels:
        train: data/train
        validation: data/validation
        vocab: data/vocab
        output: job
        checkpoints: job/checkpoints
        hyperparameters:
          batch_size: 32
          optimized_metric: bleu
    """  # noqa: D301 (click looks for the character itself)
    from s2s_algo.commands.child_process import run_to_end
    from s2s_algo.commands.job_file import read_job_file
    from s2s_algo.commands.job_tree import job_tree

    with job_tree(read_job_file(file)) as base:
        environment = {
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(base),
            # The same code as here, and nothing that happens to lie in the working directory.
            "PYTHONPATH": os.pathsep.join(place for place in sys.path if place),
            "PYTHONSAFEPATH": "1",
        }
        code = run_to_end([sys.executable, "-m", "container.entrypoint", "train"], environment)
    sys.exit(code)
