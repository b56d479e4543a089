"""Event files, from which TensorBoard draws its curves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s2s_algo.training.reporting.points import CheckpointPoint, Course, Example, TrainingPoint, finite

# The name of a curve for each number. Those of training and validation share a chart.
_CURVES = {
    "train_perplexity": "perplexity/train",
    "validation_perplexity": "perplexity/validation",
    "train_accuracy": "accuracy/train",
    "validation_accuracy": "accuracy/validation",
    "validation_bleu": "bleu/validation",
    "learning_rate": "learning_rate",
    "target_tokens_per_second": "target_tokens_per_second",
}
# What training points tell is not told again by checkpoints, whose numbers are means over a longer time.
_OF_CHECKPOINTS = {name: curve for name, curve in _CURVES.items() if name.startswith("validation_")}


class EventFiles:
    """Writes one event file for this run of a job.

    The file holds the course of the job from its beginning, and tells readers to forget what older files of the folder
    say. So a job may be resumed with or without the folder of its first run.

    Attributes:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        self._is_open = False

    def begin(self, course: Course) -> None:
        """Starts the file with the past of the job.

        Raises:
            OSError: The disk refuses.
        """
        # Not tensorboardX's own writer: its thread dies silently on a full disk, and then its queue blocks the caller.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = EventsWriter(str(self.folder / "events"))
        self._is_open = True
        with self._closed_on_error():
            # Older files may be elsewhere by now, uploaded by the platform.
            restart = Event(wall_time=time.time(), step=0, session_log=SessionLog(status=SessionLog.START))
            self._writer.write_event(restart)
            for point in course.training:
                self._training(point)
            for checkpoint in course.checkpoints:
                self._checkpoint(checkpoint)
            self._writer.flush()

    def training(self, point: TrainingPoint) -> None:
        """Adds a point; it need not reach the disk before the next checkpoint."""
        if self._is_open:
            with self._closed_on_error():
                self._training(point)

    def checkpoint(self, point: CheckpointPoint) -> None:
        """Adds a checkpoint.

        Raises:
            OSError: The disk refuses.
        """
        if self._is_open:
            with self._closed_on_error():
                self._checkpoint(point)
                self._writer.flush()

    def close(self) -> None:
        """Writes what is left."""
        if self._is_open:
            with self._closed_on_error():
                self._writer.close()
            self._is_open = False

    def _training(self, point: TrainingPoint) -> None:
        values = {name: getattr(point, name) for name in TrainingPoint.__slots__}
        self._scalars(values, _CURVES, point.updates, point.time)

    def _checkpoint(self, point: CheckpointPoint) -> None:
        when = time.time() if point.time is None else point.time
        self._scalars(point.entry, _OF_CHECKPOINTS, point.updates, when)
        if point.examples:
            self._write(_text_summary(point.examples), point.updates, when)

    def _scalars(self, values: Mapping[str, Any], curves: Mapping[str, str], step: int, when: float) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        numbers = [
            Summary.Value(tag=curves[name], simple_value=value)
            for name, value in finite(values).items()
            if name in curves
        ]
        if numbers:
            self._write(Summary(value=numbers), step, when)

    def _write(self, summary: Any, step: int, when: float) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=when, step=step, summary=summary))

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """After a failure nobody knows where the file ends, so nothing more is written."""
        try:
            yield
        except BaseException:
            self._is_open = False
            with contextlib.suppress(Exception):
                self._writer.close()
            raise


def _text_summary(examples: Sequence[Example]) -> Any:
    """The examples as a table in Markdown, which TensorBoard shows among the texts."""
    from tensorboardX.summary import text

    rows = ["| source | reference | translation |", "|---|---|---|"]
    rows += [f"| {_cell(e.source)} | {_cell(e.reference)} | {_cell(e.translation)} |" for e in examples]
    return text("examples", "\n".join(rows))


def _cell(tokens: str) -> str:
    """Tokens as they are, whatever Markdown or HTML they look like."""
    clean = tokens.encode("utf-8", "replace").decode()
    return "".join(f"&#{ord(c)};" if c in "|<>&`*_\\[]$~#!" else " " if c < " " else c for c in clean)
