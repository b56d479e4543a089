"""How long a source may be and how long its translation may become, from the length ratios seen in training.

The limit of a sentence depends on that sentence alone, so that its translation never depends on batch mates.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class LengthLimits(BaseModel):
    """The limits of a model, kept in its artifact.

    Source lengths count the ``</s>`` of models that read one.

    Attributes:
        max_input_length: Longest source translated in one piece, tokens; longer ones are cut into such pieces.
        ratio_mean: Mean of (target tokens + 1) / source tokens over the training pairs.
        ratio_std: Its standard deviation.
        max_output_length: Most target tokens of one piece, ``</s>`` included, whatever the ratio says.
        source_step: Sources share a limit in steps of this many tokens, as the original's source buckets do.
        spare_slots: Target tokens beyond the ratio; 0 for new models, imported ones have what their version had.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_input_length: Annotated[int, Field(ge=1)]
    ratio_mean: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    ratio_std: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_output_length: Annotated[int, Field(ge=1)]
    source_step: Annotated[int, Field(ge=1)] = 10
    spare_slots: Annotated[int, Field(ge=0)] = 0

    def output_limit(self, source_length: int) -> int:
        """Most target tokens, ``</s>`` included, for a source of 1 … ``max_input_length`` tokens."""
        bucket = min(math.ceil(source_length / self.source_step) * self.source_step, self.max_input_length)
        wanted = longest_ratio(self.ratio_mean, self.ratio_std) * bucket
        if wanted > self.max_output_length + 1:
            return self.max_output_length
        # One of these slots holds <s>.
        slots = math.ceil(wanted) + self.spare_slots
        return max(1, min(slots - 1, self.max_output_length))


def longest_ratio(mean: float, std: float) -> float:
    """The target/source length ratio that hardly any pair exceeds: two standard deviations above the mean."""
    return mean + 2 * std


def longest_source(wanted: int, ratio: float, target_positions: int) -> int:
    """The longest source whose translation fits into the positions that a decoder has learned.

    Args:
        wanted: The longest source that the encoder can read, tokens.
        ratio: Of target to source length, as ``longest_ratio``.
        target_positions: Slots of a translation, ``<s>`` included.
    """
    if ratio * wanted <= target_positions:
        return wanted
    return max(1, math.floor(target_positions / ratio))
