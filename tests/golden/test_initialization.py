"""Initial weights: the bounds of the original, for every kind of parameter and every distribution."""

import json

import pytest
import torch

from s2s_algo.model.config import (
    AttentionConfig,
    ConvolutionalDecoderConfig,
    ConvolutionalEncoderConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.initialization import Initialization, initialize
from s2s_algo.model.seq2seq import Seq2Seq
from tests.golden.sockeye import GOLDEN, our_name

SETTINGS = [
    (architecture, setting)
    for architecture in ("rnn_lstm", "cnn_glu")
    for setting in json.loads((GOLDEN / "init" / f"{architecture}.json").read_text(encoding="utf-8"))["settings"]
]
EMBEDDINGS = {
    "source_embedding": EmbeddingConfig(vocabulary_size=26, size=8),
    "target_embedding": EmbeddingConfig(vocabulary_size=24, size=9),
}
# The architectures of rnn_lstm.json and cnn_glu.json.
CONFIGS = {
    "rnn_lstm": ModelConfig(
        **EMBEDDINGS,
        encoder=RecurrentEncoderConfig(cell_type="lstm", num_layers=2, num_hidden=12),
        decoder=RecurrentDecoderConfig(
            cell_type="lstm", num_layers=1, num_hidden=12, attention=AttentionConfig(type="mlp", num_hidden=12)
        ),
    ),
    "cnn_glu": ModelConfig(
        **EMBEDDINGS,
        encoder=ConvolutionalEncoderConfig(
            num_layers=1, num_hidden=12, kernel_width=3, activation="glu", max_length=12
        ),
        decoder=ConvolutionalDecoderConfig(
            num_layers=1, num_hidden=12, kernel_width=5, activation="glu", max_length=14
        ),
    ),
}


def initialization(setting):
    # The uniform distribution has no fan.
    return Initialization(
        setting["weight_init_type"], setting["weight_init_scale"], setting["xavier_factor_type"] or "in"
    )


def title(value):
    if isinstance(value, str):
        return value
    return f"{value['weight_init_type']}-{value['weight_init_scale']}-{value['xavier_factor_type']}"


@pytest.mark.parametrize("setting", [setting for _, setting in SETTINGS], ids=title)
def test_bounds_are_exact_for_every_shape(setting, compare):
    drawn = [parameter for parameter in setting["parameters"] if "exact_bound" in parameter]
    assert drawn
    for parameter in drawn:
        ours = initialization(setting).bound(torch.Size(parameter["shape"]))
        compare("initialization: bound, relative", ours, parameter["exact_bound"], 1e-12, relative=True)


@pytest.mark.parametrize(("architecture", "setting"), SETTINGS, ids=title)
def test_every_parameter_is_drawn_by_the_golden_rule(architecture, setting, compare):
    model = Seq2Seq(CONFIGS[architecture])
    initialize(model, initialization(setting), seed=13)
    ours = dict(model.named_parameters())
    assert {our_name(parameter["name"]) for parameter in setting["parameters"]} == ours.keys()
    for golden in setting["parameters"]:
        values = ours[our_name(golden["name"])].detach()
        assert list(values.shape) == golden["shape"]
        if golden["rule"] == "zero":
            assert not values.any()
        elif golden["rule"] == "orthogonal":
            gram = values.double().T @ values.double()
            compare("initialization: W'W of recurrent weights", gram, torch.eye(len(gram)) * golden["scale"] ** 2, 1e-5)
        else:
            assert golden["rule"] == setting["weight_init_type"]
            most = values.abs().max().item() / golden["exact_bound"]
            # Twelve uniform numbers or more come close to their bound, but never past it.
            assert 0.75 < most <= 1.000001
            # The standard deviation of U(-c, c), loosely, for the smallest matrices have few numbers.
            assert values.square().mean().sqrt().item() == pytest.approx(golden["exact_bound"] / 3**0.5, rel=0.35)
