"""The container's folder tree for a local job: links to where everything is."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from s2s_algo.checkpoints.atomic import claimed, writing
from s2s_algo.commands.job_file import JobFile
from s2s_algo.data.channels import MODEL, TRAIN, VALIDATION, VOCAB
from s2s_algo.errors import ClientError

_PREFIX = "s2s-train-"


@contextmanager
def job_tree(job: JobFile) -> Iterator[Path]:
    """Makes the output folder what ``/opt/ml`` is in the container, as long as the job runs.

    Its ``input`` is a link to a temporary folder, so that all paths in the log are those where things stay.

    Raises:
        ClientError: Another job is using the folder, or it has an ``input`` of its own.
        PlatformError: The disk refuses.
    """
    with writing(job.output):
        job.output.mkdir(parents=True, exist_ok=True)
    link = job.output / "input"
    with claimed(job.output), tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        _fill(Path(folder), job)
        _remove_stale(link)
        with writing(link):
            link.symlink_to(folder)
        try:
            yield job.output
        finally:
            link.unlink(missing_ok=True)


def _remove_stale(link: Path) -> None:
    """Removes what a killed run has left, and nothing else."""
    if link.is_symlink() and link.readlink().name.startswith(_PREFIX):
        link.unlink()
    elif os.path.lexists(link):
        raise ClientError(
            "it is there already, as in a folder of the container, and a local job puts its own there while it runs. "
            "Name another folder as output.",
            where=str(link),
        )


def _fill(folder: Path, job: JobFile) -> None:
    config, data = folder / "config", folder / "data"
    with writing(folder):
        config.mkdir()
        data.mkdir()
        _link_records(data / TRAIN, job.train)
        _link_records(data / VALIDATION, job.validation)
        (data / VOCAB).symlink_to(job.vocab)
        if job.model is not None and job.model.is_dir():
            (data / MODEL).symlink_to(job.model)
        elif job.model is not None:
            (data / MODEL).mkdir()
            (data / MODEL / "model.tar.gz").symlink_to(job.model)
        _write(config / "hyperparameters.json", dict(job.hyperparameters))
        if job.checkpoints is not None:
            _write(config / "checkpointconfig.json", {"LocalPath": str(job.checkpoints)})


def _link_records(channel: Path, records: Sequence[Path]) -> None:
    if records[0].is_dir():
        channel.symlink_to(records[0])
        return
    # Folders that are numbered: the order is that of the list, and files may share their names.
    width = len(str(len(records)))
    for number, file in enumerate(records, 1):
        folder = channel / f"{number:0{width}}"
        folder.mkdir(parents=True)
        (folder / file.name).symlink_to(file)


def _write(path: Path, values: dict[str, str]) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")
