"""How long a translation may become, from the length ratios seen in training.

The limit of a sentence depends on that sentence alone, so that its translation never depends on batch mates.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Sources share a limit in steps of this many tokens, as the original's source buckets do.
_STEP = 10


class LengthLimits(BaseModel):
    """The limits of a model, kept in its artifact.

    Attributes:
        max_input_length: Longest source translated in one piece, tokens; longer ones are cut into such pieces.
        ratio_mean: Mean of (target tokens + 1) / source tokens over the training pairs.
        ratio_std: Its standard deviation.
        max_output_length: Most target tokens of one piece, ``</s>`` included, whatever the ratio says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_input_length: Annotated[int, Field(ge=1)]
    ratio_mean: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    ratio_std: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_output_length: Annotated[int, Field(ge=1)]

    def output_limit(self, source_length: int) -> int:
        """Most target tokens, ``</s>`` included, for a source of 1 … ``max_input_length`` tokens."""
        bucket = min(math.ceil(source_length / _STEP) * _STEP, self.max_input_length)
        # One of these slots holds <s>.
        slots = math.ceil((self.ratio_mean + 2 * self.ratio_std) * bucket)
        return max(1, min(slots - 1, self.max_output_length))
