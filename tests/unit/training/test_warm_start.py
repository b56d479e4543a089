"""Jobs that begin with the weights of another model."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from s2s_algo.checkpoints.artifact import save_artifact
from s2s_algo.data.segmentation import WHITESPACE
from s2s_algo.data.subword_training import train_subwords
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.errors import ClientError
from s2s_algo.legacy.importer import import_model
from tests.tiny_job import (
    SOURCE_VOCABULARY,
    TARGET_VOCABULARY,
    assemble_job,
    differing,
    train_job,
    weights_of,
)

GOLDEN_MODELS = Path(__file__).parents[2] / "golden/models"

CNN = {
    "encoder_type": "cnn",
    "decoder_type": "cnn",
    "cnn_num_hidden": "6",
    "max_seq_len_source": "11",
    "max_seq_len_target": "12",
}


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


pytestmark = pytest.mark.usefixtures("one_thread")


def saved(assembled, folder):
    save_artifact(assembled.artifact(), folder)
    return folder


@pytest.fixture(params=[{}, CNN], ids=["rnn", "cnn"])
def trained(request, tmp_path):
    """The hyperparameters of a trained model, the job and the folder of its artifact."""
    assembled = train_job(tmp_path / "first", request.param)
    return request.param, assembled, saved(assembled, tmp_path / "model")


def refusal(folder, raw, **parts):
    with pytest.raises(ClientError) as error:
        assemble_job(folder, raw, **parts)
    return str(error.value)


def test_a_job_begins_with_the_weights_of_its_model_channel(trained, tmp_path, caplog):
    raw, first, model = trained
    caplog.set_level(logging.INFO)
    second = assemble_job(tmp_path / "second", raw, model=model)
    assert differing(weights_of(second), weights_of(first)) == []
    assert "Beginning with the weights of the model channel" in caplog.messages
    # Everything else begins anew.
    assert (second.state.updates, second.job.optimizer.updates) == (0, 0)


def test_the_weights_are_learnt_on(trained, tmp_path):
    raw, first, model = trained
    second = train_job(tmp_path / "second", raw, model=model)
    assert len(differing(weights_of(second), weights_of(first))) > 1


def test_what_does_not_change_the_shape_may_differ(trained, tmp_path):
    raw, first, model = trained
    others = {
        "embed_dropout_source": "0.3",
        "cnn_hidden_dropout": "0.3",
        "rnn_decoder_hidden_dropout": "0.2",
        "learning_rate": "0.5",
        "optimizer_type": "sgd",
        "batch_size": "3",
        "rnn_first_residual_layer": "3",
        "rnn_attention_in_upper_layers": "false",
        "weight_init_type": "uniform",
        # One layer has nothing to be connected with.
        "rnn_residual_connections": "true",
    }
    second = assemble_job(tmp_path / "second", raw | others, model=model)
    assert differing(weights_of(second), weights_of(first)) == []


def test_residual_connections_that_no_job_can_have_are_told(tmp_path):
    raw = {"rnn_residual_connections": "true", "num_layers_encoder": "3", "num_layers_decoder": "3"}
    artifact = assemble_job(tmp_path / "first", raw).artifact()
    config = artifact.model.config
    encoder = config.encoder.model_copy(update={"first_residual_layer": 3})
    artifact.model.config = config.model_copy(update={"encoder": encoder})
    save_artifact(artifact, tmp_path / "model")
    message = refusal(tmp_path / "second", raw, model=tmp_path / "model")
    assert "rnn_first_residual_layer must be 3 in the encoder and 2 in the decoder, not 2." in message


def test_an_interrupted_job_goes_on_from_its_own_checkpoint(trained, tmp_path):
    raw, _, model = trained
    second = train_job(tmp_path / "second", raw, model=model)
    again = assemble_job(tmp_path / "second", raw, model=model)
    assert again.state.updates == second.state.updates > 0
    assert differing(weights_of(again), weights_of(second)) == []


DIFFERENCES = [
    ({}, {"num_embed_source": "4"}, "num_embed_source must be 5, not 4"),
    ({}, {"num_embed_target": "7"}, "num_embed_target must be 6, not 7"),
    ({}, {"num_layers_encoder": "2"}, "num_layers_encoder must be 1, not 2"),
    ({}, {"num_layers_decoder": "2"}, "num_layers_decoder must be 1, not 2"),
    ({}, {"rnn_num_hidden": "10"}, "rnn_num_hidden must be 8, not 10"),
    ({}, {"rnn_cell_type": "gru"}, "rnn_cell_type must be lstm, not gru"),
    ({}, {"rnn_attention_num_hidden": "9"}, "rnn_attention_num_hidden must be 7, not 9"),
    ({}, {"rnn_attention_type": "dot"}, "rnn_attention_type must be mlp, not dot"),
    ({}, {"rnn_decoder_state_init": "zero"}, "rnn_decoder_state_init must be last, not zero"),
    (
        {"num_layers_decoder": "2"},
        {"rnn_attention_in_upper_layers": "false"},
        "rnn_attention_in_upper_layers must be true, not false",
    ),
    (
        {"num_layers_decoder": "3"},
        {"rnn_residual_connections": "true"},
        "rnn_residual_connections must be false, not true",
    ),
    (
        {"rnn_residual_connections": "true", "num_layers_decoder": "3"},
        {"rnn_first_residual_layer": "3"},
        "rnn_first_residual_layer must be 2, not 3",
    ),
    ({}, {"encoder_type": "cnn"}, "encoder_type must be rnn, not cnn"),
    (
        CNN,
        {"decoder_type": "rnn"},
        "decoder_type must be cnn, not rnn; cnn_kernel_width_decoder must be 5; max_seq_len_target must be 12",
    ),
    (CNN, {"cnn_num_hidden": "5"}, "cnn_num_hidden must be 6, not 5"),
    (CNN, {"cnn_activation_type": "relu"}, "cnn_activation_type must be glu, not relu"),
    (CNN, {"cnn_kernel_width_encoder": "5"}, "cnn_kernel_width_encoder must be 3, not 5"),
    (CNN, {"cnn_kernel_width_decoder": "4"}, "cnn_kernel_width_decoder must be 5, not 4"),
    (CNN, {"max_seq_len_source": "12"}, "max_seq_len_source must be 11, not 12"),
    (CNN, {"max_seq_len_target": "13"}, "max_seq_len_target must be 12, not 13"),
]


@pytest.mark.parametrize(("raw", "change", "difference"), DIFFERENCES, ids=[case[2] for case in DIFFERENCES])
def test_every_difference_is_named_with_the_value_that_fits(raw, change, difference, tmp_path):
    model = saved(assemble_job(tmp_path / "first", raw), tmp_path / "model")
    assert refusal(tmp_path / "second", raw | change, model=model) == (
        f"model channel: the model cannot be trained on as this job is configured: {difference}. Change the job as "
        "said, or leave the channel out to begin with new weights"
    )
    assemble_job(tmp_path / "third", raw, model=model)


def test_all_differences_are_told_at_once(tmp_path):
    model = saved(assemble_job(tmp_path / "first"), tmp_path / "model")
    words = Vocabulary.from_tokens([*SPECIAL_TOKENS, *"abcdxfgh", "i"])
    message = refusal(
        tmp_path / "second",
        {"rnn_num_hidden": "10", "num_embed_source": "9"},
        model=model,
        vocabularies=(words, TARGET_VOCABULARY),
    )
    assert (
        "the source vocabulary is another one (12 and 13 entries, 2 ids differ: "
        "id 8 is 'e' in the model and 'x' in the vocab channel, id 12 is missing in the model and 'i' in the vocab "
        "channel); copy that of the model and prepare the records with it; num_embed_source must be 5, not 9; "
        "rnn_num_hidden must be 8, not 10"
    ) in message


def test_the_order_of_a_vocabulary_matters(tmp_path):
    model = saved(assemble_job(tmp_path / "first"), tmp_path / "model")
    turned = Vocabulary.from_tokens([*SPECIAL_TOKENS, *"FEDCBA"])
    message = refusal(tmp_path / "second", {}, model=model, vocabularies=(SOURCE_VOCABULARY, turned))
    assert "the target vocabulary is another one (10 and 10 entries, 6 ids differ: id 4 is 'A' in the model" in message
    assert "id 7" not in message


@pytest.mark.parametrize("side", ["source", "target"])
def test_other_subwords_are_refused_even_if_their_pieces_are_the_same(side, tmp_path):
    one, other = (train_subwords([text], 99, "unigram", "") for text in ("a b", "a a a b"))
    pieces = Vocabulary.of_pieces(one)
    assert pieces.tokens == Vocabulary.of_pieces(other).tokens
    words = replace(pieces, segmentation=WHITESPACE)

    def job(vocabulary):
        pairs = [([4, 5], [6, 4, 5])] * 5
        both = (vocabulary, words) if side == "source" else (words, vocabulary)
        return {"vocabularies": both, "train_pairs": pairs, "validation_pairs": pairs}

    def message(model, vocabulary):
        return refusal(tmp_path / "second", {}, model=model, **job(vocabulary))

    cut = saved(assemble_job(tmp_path / "cut", **job(pieces)), tmp_path / "cut-model")
    plain = saved(assemble_job(tmp_path / "plain", **job(words)), tmp_path / "plain-model")
    assemble_job(tmp_path / "third", model=cut, **job(pieces))
    file = {"source": "spm.src.model", "target": "spm.trg.model"}[side]
    beginning = "model channel: the model cannot be trained on as this job is configured: "
    rest = ". Change the job as said, or leave the channel out to begin with new weights"
    assert message(cut, replace(pieces, segmentation=other)) == (
        f"{beginning}the {file} of the vocab channel is another one; copy it there from the model{rest}"
    )
    assert message(cut, words) == (
        f"{beginning}the model has a {file}, but the vocab channel has none; copy it there from the model{rest}"
    )
    assert message(plain, pieces) == (
        f"{beginning}the model has no {file}, but the vocab channel has one; remove it there{rest}"
    )


def test_a_channel_without_a_model_is_refused_with_its_name(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/readme.txt").write_text("nothing")
    assert refusal(tmp_path / "second", {}, model=tmp_path / "model").startswith("model channel, ")


def asked_for(message):
    """The hyperparameters that an error message asks for."""
    listed = message.partition("configured: ")[2].partition(". Change")[0].split("; ")
    return {name: value.rstrip(",") for name, _, _, value, *_ in map(str.split, listed)}


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN_MODELS.iterdir() if path.is_dir()))
def test_every_model_of_the_original_is_learnt_on_by_a_job_that_does_what_it_is_told(name, tmp_path, caplog):
    artifact = import_model(GOLDEN_MODELS / name)
    vocabularies = (artifact.source_vocabulary, artifact.target_vocabulary)
    parts = {"vocabularies": vocabularies, "model": GOLDEN_MODELS / name}
    wanted = asked_for(refusal(tmp_path / "refused", {}, **parts))
    try:
        trained = train_job(tmp_path / "trained", wanted, **parts)
    except ClientError as error:
        # Parts of another type have hyperparameters of their own, of which the first message cannot know.
        wanted |= asked_for(str(error))
        trained = train_job(tmp_path / "trained", wanted, **parts)
    assert trained.state.updates == 3
    assert trained.artifact().model.config.encoder.output_size == artifact.model.config.encoder.output_size
    told = "The model learnt with </s> at the end of every source; this job trains without." in caplog.messages
    assert told == artifact.inference.source_eos
