"""What the stamps of a program say about its speed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stamp:
    """A piece of work: an update, or a batch that was translated.

    Attributes:
        began, ended: Seconds on a clock, and seconds of processor time of all threads.
        sentences, tokens: Of it; real target tokens, ``</s>`` included.
        peak: Most bytes that the process had held until then.
    """

    began: tuple[float, float]
    ended: tuple[float, float]
    sentences: int
    tokens: int
    peak: int


@dataclass(frozen=True, slots=True)
class Speed:
    """What a run was worth.

    Attributes:
        tokens, sentences: That were counted.
        seconds, processor: That they took.
        peak: Most bytes held.
    """

    tokens: int
    sentences: int
    seconds: float
    processor: float
    peak: int

    @property
    def per_processor_second(self) -> float:
        """Target tokens."""
        return self.tokens / self.processor

    @property
    def per_second(self) -> float:
        """Target tokens."""
        return self.tokens / self.seconds

    @property
    def sentence_ms(self) -> float:
        """Milliseconds of processor time for a sentence."""
        return 1000 * self.processor / self.sentences


def read_stamps(file: Path) -> list[Stamp]:
    """The stamps of a run; a last line that was cut off does not count."""
    lines = file.read_text(encoding="ascii").splitlines(keepends=True) if file.exists() else []
    values = [json.loads(line) for line in lines if line.endswith("\n")]
    return [Stamp(**{**value, "began": tuple(value["began"]), "ended": tuple(value["ended"])}) for value in values]


def training_speed(stamps: Sequence[Stamp], warm_up: int) -> Speed:
    """Of the updates after the first ones, with all that happens between them.

    Raises:
        ValueError: There are not enough.
    """
    _require(stamps, warm_up)
    first, last = stamps[warm_up - 1], stamps[-1]
    seconds, processor = (end - begin for begin, end in zip(first.ended, last.ended, strict=True))
    return _speed(stamps[warm_up:], seconds, processor)


def decoding_speed(stamps: Sequence[Stamp], warm_up: int) -> Speed:
    """Of the batches after the first ones, without what happens between them, such as printing.

    Raises:
        ValueError: There are not enough.
    """
    _require(stamps, warm_up)
    counted = stamps[warm_up:]
    seconds, processor = (sum(stamp.ended[clock] - stamp.began[clock] for stamp in counted) for clock in (0, 1))
    return _speed(counted, seconds, processor)


def ratios(ours: Sequence[Speed], theirs: Sequence[Speed]) -> list[float]:
    """How many times as fast we were, in each round."""
    return [a.per_processor_second / b.per_processor_second for a, b in zip(ours, theirs, strict=False)]


def median_and_range(values: Sequence[float], form: str = ".0f") -> str:
    """As a table shows it."""
    low, middle, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def _require(stamps: Sequence[Stamp], warm_up: int) -> None:
    if len(stamps) <= warm_up:
        raise ValueError(
            f"the program wrote {len(stamps)} stamps; more than {warm_up} are needed, those of the warm-up. "
            "Give it more seconds, or look into its log."
        )


def _speed(counted: Sequence[Stamp], seconds: float, processor: float) -> Speed:
    tokens, sentences = sum(stamp.tokens for stamp in counted), sum(stamp.sentences for stamp in counted)
    return Speed(tokens, sentences, seconds, processor, max(stamp.peak for stamp in counted))
