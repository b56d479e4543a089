"""Writes down what each piece of work of a program took, and ends the program when enough was seen."""

from __future__ import annotations

import functools
import json
import os
import re
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class Stamps:
    """The file that ``BENCHMARK_STAMPS`` names; a line of JSON for each piece of work.

    The program is ended ``BENCHMARK_SECONDS`` of processor time after its first ``BENCHMARK_WARM_UP`` pieces of work.
    """

    def __init__(self) -> None:
        self._file = Path(os.environ["BENCHMARK_STAMPS"])
        self._file.write_text("", encoding="ascii")
        self._seconds = float(os.environ.get("BENCHMARK_SECONDS", "inf"))
        self._warm_up = int(os.environ.get("BENCHMARK_WARM_UP", "0"))
        self._done = 0
        self._end = float("inf")

    def watch(self, owner: Any, name: str, count: Callable[[Sequence[Any], Any], tuple[int, int]]) -> None:
        """Has every call of a function or method write a stamp.

        Args:
            owner: A module or a class.
            name: What it calls the function.
            count: Tells from the arguments and the result how many sentences and real target tokens it was.
        """
        original = getattr(owner, name)

        @functools.wraps(original)
        def stamped(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter(), time.process_time()
            result = original(*arguments, **named)
            self._add(began, *count(arguments, result))
            return result

        setattr(owner, name, stamped)

    def _add(self, began: tuple[float, float], sentences: int, tokens: int) -> None:
        ended = time.perf_counter(), time.process_time()
        stamp = {"began": began, "ended": ended, "sentences": sentences, "tokens": tokens, "peak": _peak()}
        with self._file.open("a", encoding="ascii") as stream:
            stream.write(json.dumps(stamp) + "\n")
        self._done += 1
        if self._done == self._warm_up:
            self._end = ended[1] + self._seconds
        if ended[1] >= self._end:
            os._exit(0)  # not a moment for checkpoints


def run() -> None:
    """Runs the module that the arguments name, with the arguments behind it."""
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _peak() -> int:
    """Most bytes that this process has held; what the system counts for a child includes its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found.group(1)) * 1024 if found else 0
