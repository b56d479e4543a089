"""How a model translates unless a request says otherwise, stored as ``inference`` in the artifact's config.json."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from s2s_algo.model.limits import LengthLimits

# See s2s_algo/decoding/ranking.py.
RankingRule = Literal["normalized", "normalized_at_end", "normalized_at_end_without_eos"]


class InferenceConfig(BaseModel):
    """The search defaults of a model and what it expects of its input.

    Attributes:
        ranking: How hypotheses are compared; new models have ``normalized``, imported ones what their version did.
        source_eos: Whether the model learnt with ``</s>`` at the end of every source, as some imported ones did.
        cuts_sources: Whether a source that is too long loses its end, as in old imported models, instead of being
            translated in pieces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    beam_size: Annotated[int, Field(ge=1)]
    length_penalty_alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    length_penalty_beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    limits: LengthLimits
    ranking: RankingRule = "normalized"
    source_eos: bool = False
    cuts_sources: bool = False
