"""What belongs to convolutional models, which this version checks and stores but does not build.

Once they are built, `test_convolutional_parts_are_refused` fails and every name of `VALUES` needs a test of its effect
on the model, as recurrent ones have them in `test_model.py` and `test_dropout.py`.
"""

import pytest

from s2s_algo.checkpoints.artifact import load_artifact, save_artifact
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import validate
from tests.tiny_job import differing, weights_of

VALUES = {
    "cnn_kernel_width_encoder": "5",
    "cnn_kernel_width_decoder": "2",
    "cnn_num_hidden": "7",
    "cnn_activation_type": "softrelu",
    "cnn_hidden_dropout": "0.25",
}
PARSED = {
    "cnn_kernel_width_encoder": 5,
    "cnn_kernel_width_decoder": 2,
    "cnn_num_hidden": 7,
    "cnn_activation_type": "softrelu",
    "cnn_hidden_dropout": 0.25,
}
WRONG = {
    "cnn_kernel_width_encoder": "4",
    "cnn_kernel_width_decoder": "0",
    "cnn_num_hidden": "-1",
    "cnn_activation_type": "gelu",
    "cnn_hidden_dropout": "1.1",
}


def stored(assembled, folder):
    """The hyperparameters in an artifact on disk."""
    save_artifact(assembled.artifact(), folder)
    return load_artifact(folder).training["hyperparameters"]


@pytest.mark.effect_of("encoder_type", "decoder_type", *VALUES)
@pytest.mark.parametrize(
    ("encoder", "decoder", "problems"),
    [
        ("cnn", "rnn", ["encoder_type"]),
        ("rnn", "cnn", ["decoder_type"]),
        ("cnn", "cnn", ["encoder_type", "decoder_type"]),
    ],
)
def test_convolutional_parts_are_refused(jobs, encoder, decoder, problems):
    with pytest.raises(ClientError) as caught:
        jobs.assemble(VALUES | {"encoder_type": encoder, "decoder_type": decoder})
    assert str(caught.value).splitlines() == [
        f"{name}: 'cnn' is not available in this version; choose rnn" for name in problems
    ]


@pytest.mark.effect_of("encoder_type", "decoder_type")
def test_recurrent_parts_are_what_is_built_without_a_word(jobs, tmp_path):
    passed = jobs.train({"encoder_type": "rnn", "decoder_type": "rnn"})
    assert differing(weights_of(passed), weights_of(jobs.train({}))) == []
    values = stored(passed, tmp_path / "model")
    assert (values["encoder_type"], values["decoder_type"]) == ("rnn", "rnn")
    assert passed.artifact().model.config.encoder.type == "rnn"
    assert passed.artifact().model.config.decoder.type == "rnn"


@pytest.mark.effect_of(*VALUES)
def test_convolutional_values_are_stored_and_change_no_recurrent_model(jobs, tmp_path):
    passed = jobs.train(VALUES)
    assert differing(weights_of(passed), weights_of(jobs.train({}))) == []
    values = stored(passed, tmp_path / "model")
    assert {name: values[name] for name in PARSED} == PARSED


@pytest.mark.parametrize("name", WRONG)
def test_convolutional_values_are_checked_even_if_unused(name):
    with pytest.raises(ClientError, match=rf"^{name}: '{WRONG[name]}' is not "):
        validate({name: WRONG[name]})
