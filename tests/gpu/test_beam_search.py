"""A search finds the strings that it finds on the CPU."""

import numpy as np
import pytest
import torch

from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translator import Translator
from tests.gpu.passes import random_pairs
from tests.gpu.test_parity import CPU, MIXES, PARTS
from tests.gpu.translating import artifact_of
from tests.unit.decoding.test_beam_search import searching_model
from tests.unit.small_model import small_config

pytestmark = pytest.mark.gpu

SIZES = {"encoder_layers": 2, "decoder_layers": 2, "encoder_hidden": 16, "decoder_hidden": 12}
SEEDS = range(3)
SOURCES = [source for source, _ in random_pairs(30, seed=5)]
OPTIONS = SearchOptions(beam_size=4, n_best=2)
# Each weight is changed by about so much of itself to tell which decisions of a search are close ones. The rounding of
# float32 is a hundred times less.
DISTURBANCE = 1e-5
# Of scores and attention weights.
TOLERANCE = 1e-3


def model_of(name, seed):
    """Words come out in plenty, for it does not like to end."""
    return searching_model(small_config(**SIZES | (MIXES | PARTS)[name]), seed, eos_bias=-1.0)


def disturbed(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1 + DISTURBANCE * torch.randn(parameter.shape, generator=generator)
    return model


def found_on(model, device):
    return Translator.from_artifact(artifact_of(model), device).translate_n_best(SOURCES, OPTIONS)


def texts(n_best):
    return [translation.text for translation in n_best]


@pytest.mark.parametrize("name", MIXES | PARTS)
def test_well_separated_translations_are_those_of_the_cpu(device, name):
    compared = []
    for seed in SEEDS:
        expected = found_on(model_of(name, seed), CPU)
        other = found_on(disturbed(model_of(name, seed)), CPU)
        found = found_on(model_of(name, seed), device)
        compared += [
            both
            for both, close in zip(zip(found, expected, strict=True), other, strict=True)
            if texts(both[1]) == texts(close)
        ]
    assert len(compared) > 0.8 * len(SEEDS) * len(SOURCES)
    assert len({expected[0].text for _, expected in compared}) > 20
    for found, expected in compared:
        assert texts(found) == texts(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.score == pytest.approx(theirs.score, rel=TOLERANCE, abs=TOLERANCE)
            np.testing.assert_allclose(ours.attention, theirs.attention, atol=TOLERANCE)
