"""A model with what a translator needs, for the words of small_model."""

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from s2s_algo.model.seq2seq import Seq2Seq
from tests.unit.small_model import SOURCE_POSITIONS, SOURCE_SIZE, TARGET_POSITIONS, TARGET_SIZE, vocabulary

_INFERENCE = InferenceConfig(
    beam_size=4,
    limits=LengthLimits(
        max_input_length=SOURCE_POSITIONS, ratio_mean=1.3, ratio_std=0.2, max_output_length=TARGET_POSITIONS
    ),
)


def artifact_of(model: Seq2Seq) -> Artifact:
    """The model with vocabularies and limits."""
    return Artifact(model, _INFERENCE, vocabulary(SOURCE_SIZE), vocabulary(TARGET_SIZE))
