"""Begins a job with the weights of another model instead of random ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

from torch import Tensor

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.data.channels import SOURCE_SUBWORDS, TARGET_SUBWORDS
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError
from s2s_algo.loading import load_model
from s2s_algo.model.config import ModelConfig
from s2s_algo.wording import shown

logger = logging.getLogger(__name__)

_MOST_TOKENS = 3  # shown of two vocabularies that differ


def weights_of(folder: Path, config: ModelConfig, source: Vocabulary, target: Vocabulary) -> Mapping[str, Tensor]:
    """The weights of a model that a job can begin with.

    Args:
        folder: Of the ``model`` channel: our artifact, or a model of the original.
        config: The model that the job trains. Dropout may differ.
        source: The job's source vocabulary.
        target: Its target vocabulary.

    Raises:
        ClientError: There is no such model, or it differs; with all differences.
    """
    try:
        artifact = load_model(folder)
    except ClientError as error:
        raise error.at("model channel") from error.__cause__
    differences = _differences(artifact, config, source, target)
    if differences:
        raise ClientError(
            f"the model cannot be trained on as this job is configured: {'; '.join(differences)}. Change the job as "
            "said, or leave the channel out to begin with new weights",
            where="model channel",
        )
    if artifact.inference.source_eos:
        logger.warning("The model learnt with </s> at the end of every source; this job trains without.")
    logger.info("Beginning with the weights of the model channel")
    return {name: parameter.detach() for name, parameter in artifact.model.named_parameters()}


def _differences(artifact: Artifact, config: ModelConfig, source: Vocabulary, target: Vocabulary) -> list[str]:
    found = []
    for side, theirs, ours in (
        ("source", artifact.source_vocabulary, source),
        ("target", artifact.target_vocabulary, target),
    ):
        if theirs.tokens != ours.tokens:
            found.append(
                f"the {side} vocabulary is another one ({_vocabulary_difference(theirs, ours)}); copy that of the "
                "model and prepare the records with it"
            )
        elif theirs.segmentation.digest != ours.segmentation.digest:
            found.append(_subword_difference(side, theirs, ours))
    theirs_by_name, ours_by_name = _hyperparameters(artifact.model.config), _hyperparameters(config)
    for name, value in theirs_by_name.items():
        if name not in ours_by_name:  # it means nothing to the job's own kind of encoder or decoder
            found.append(f"{name} must be {_written(value)}")
        elif ours_by_name[name] != value:
            found.append(f"{name} must be {_written(value)}, not {_written(ours_by_name[name])}")
    return found


def _vocabulary_difference(theirs: Vocabulary, ours: Vocabulary) -> str:
    pairs = zip_longest(theirs.tokens, ours.tokens)
    unequal = [(number, theirs, ours) for number, (theirs, ours) in enumerate(pairs) if theirs != ours]
    examples = [
        f"id {number} is {'missing' if theirs is None else shown(theirs)} in the model and "
        f"{'missing' if ours is None else shown(ours)} in the vocab channel"
        for number, theirs, ours in unequal[:_MOST_TOKENS]
    ]
    return f"{len(theirs)} and {len(ours)} entries, {len(unequal)} ids differ: {', '.join(examples)}"


def _subword_difference(side: str, theirs: Vocabulary, ours: Vocabulary) -> str:
    """The same tokens would stand for other parts of a text."""
    file = {"source": SOURCE_SUBWORDS, "target": TARGET_SUBWORDS}[side]
    if not theirs.segmentation.digest:
        return f"the model has no {file}, but the vocab channel has one; remove it there"
    if not ours.segmentation.digest:
        return f"the model has a {file}, but the vocab channel has none; copy it there from the model"
    return f"the {file} of the vocab channel is another one; copy it there from the model"


def _hyperparameters(config: ModelConfig) -> dict[str, object]:
    """The values with which a job trains a model of this shape; those without effect on it are left out."""
    encoder, decoder = config.encoder, config.decoder
    values: dict[str, object] = {
        "encoder_type": encoder.type,
        "decoder_type": decoder.type,
        "num_layers_encoder": encoder.num_layers,
        "num_layers_decoder": decoder.num_layers,
        "num_embed_source": config.source_embedding.size,
        "num_embed_target": config.target_embedding.size,
    }
    for part in (encoder, decoder):
        if part.type == "rnn":
            values["rnn_cell_type"] = part.cell_type
            values["rnn_num_hidden"] = part.num_hidden
        else:
            values["cnn_num_hidden"] = part.num_hidden
            values["cnn_activation_type"] = part.activation
    if encoder.type == "cnn":
        values["cnn_kernel_width_encoder"] = encoder.kernel_width
        values["max_seq_len_source"] = encoder.max_length
    if decoder.type == "cnn":
        values["cnn_kernel_width_decoder"] = decoder.kernel_width
        # One more position is for <s>.
        values["max_seq_len_target"] = decoder.max_length - 1
    else:
        values["rnn_decoder_state_init"] = decoder.state_init
        values["rnn_attention_type"] = decoder.attention.type
        if decoder.attention.type in ("mlp", "dot"):
            values["rnn_attention_num_hidden"] = decoder.attention.num_hidden
        if decoder.num_layers > 1:
            values["rnn_attention_in_upper_layers"] = decoder.attention_in_upper_layers
    first_residual = {
        side: max(part.first_residual_layer, 2)  # layer 1 never has one
        for side, part in (("encoder", encoder), ("decoder", decoder))
        if part.type == "rnn" and part.residual and part.first_residual_layer <= part.num_layers > 1
    }
    values["rnn_residual_connections"] = bool(first_residual)
    if len(set(first_residual.values())) == 1:
        (values["rnn_first_residual_layer"],) = set(first_residual.values())
    elif first_residual:
        # Models of Sockeye 1.0 to 1.4; no job has such a one.
        values["rnn_first_residual_layer"] = " and ".join(f"{n} in the {side}" for side, n in first_residual.items())
    return values


def _written(value: object) -> str:
    """As in hyperparameters.json."""
    return str(value).lower() if isinstance(value, bool) else str(value)
