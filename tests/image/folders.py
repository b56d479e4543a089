"""What of a job's folder is mounted where, and what a careful operator takes from a container."""

from __future__ import annotations

from pathlib import Path

from tests.contract.train.jobs import OptMl

USER = "1000:1000"

# Nothing of this is needed: no capability of root, no way to more rights, no writable disk but the mounted folders and
# a little memory, no other user than some number that no file of the image knows.
CAREFUL = [
    *("--read-only", "--tmpfs", "/tmp:size=256m"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", USER),
    *("--memory", "1500m", "--memory-swap", "1500m", "--pids-limit", "256"),
]


def mounts(opt_ml: OptMl, checkpoints: bool = False) -> list[str]:
    """The options that mount a job's folders one by one, its input read-only.

    Args:
        opt_ml: The folders; what is not there yet is made, writable for every user.
        checkpoints: Whether the job has a folder for checkpoints.
    """
    output = ["model", "output", *(["checkpoints"] if checkpoints else [])]
    for name in output:
        folder = opt_ml.base / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    writable = [option for name in output for option in ("--volume", f"{opt_ml.base / name}:/opt/ml/{name}")]
    return ["--volume", f"{opt_ml.base / 'input'}:/opt/ml/input:ro", *writable]


def model_mount(model: Path) -> list[str]:
    """The option that mounts a model for an endpoint."""
    return ["--volume", f"{model}:/opt/ml/model:ro"]
