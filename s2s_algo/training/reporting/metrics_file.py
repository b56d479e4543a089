"""``metrics.jsonl``: one JSON object per line, for whoever wants to draw their own curves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from s2s_algo.training.reporting.files import replace_file
from s2s_algo.training.reporting.points import CheckpointPoint, Course, Example, TrainingPoint, finite

_Point = TrainingPoint | CheckpointPoint

_TRAINING = TypeAdapter(TrainingPoint)
_EXAMPLES = TypeAdapter(tuple[Example, ...])


class MetricsFile:
    """The file, written line by line; after a failure as a whole.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_whole = False

    def read(self) -> Course:
        """What the file holds; whatever is not a line of ours, such as one that was torn by a kill, is passed over."""
        course = Course()
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return course
        for line in content.splitlines():
            try:
                values = json.loads(line)
                kind = values.pop("kind")
                if kind == "training":
                    course.training.append(_TRAINING.validate_python(values))
                elif kind == "checkpoint":
                    course.checkpoints.append(_checkpoint(values))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
        return course

    def append(self, course: Course, point: _Point) -> None:
        """Adds the newest point.

        Args:
            course: Everything, the point included.
            point: The newest.

        Raises:
            OSError: The disk refuses. The next call writes everything.
        """
        if not self._is_whole:
            self.replace(course)
            return
        self._is_whole = False
        with self.path.open("ab") as file:
            file.write(_line(point))
        self._is_whole = True

    def replace(self, course: Course) -> None:
        """Writes everything.

        Raises:
            OSError: The disk refuses; what was there before is still there.
        """
        replace_file(self.path, b"".join(_line(point) for point in _in_order(course)))
        self._is_whole = True


def _in_order(course: Course) -> list[_Point]:
    # At equal updates the training comes before its checkpoint.
    points: list[_Point] = [*course.training, *course.checkpoints]
    return sorted(points, key=lambda point: (point.updates, isinstance(point, CheckpointPoint)))


def _line(point: _Point) -> bytes:
    values: dict[str, Any]
    if isinstance(point, TrainingPoint):
        values = {"kind": "training", **asdict(point)}
    else:
        values = {"kind": "checkpoint", **point.entry}
        if point.time is not None:
            values["time"] = point.time
        if point.examples:
            values["examples"] = [asdict(example) for example in point.examples]
    return json.dumps(finite(values), allow_nan=False).encode() + b"\n"


def _checkpoint(values: dict[str, Any]) -> CheckpointPoint:
    time, examples = values.pop("time", None), values.pop("examples", ())
    if not isinstance(values["updates"], int) or not all(isinstance(value, int | float) for value in values.values()):
        raise ValueError("not an entry of ours")
    if not isinstance(time, float | None):
        raise ValueError("not a time")
    return CheckpointPoint(values, _EXAMPLES.validate_python(examples), time)
