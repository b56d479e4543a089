"""Initial weights."""

import math

import pytest
import torch

from s2s_algo.model.initialization import Initialization, initialize, is_recurrent, is_weight
from s2s_algo.model.seq2seq import Seq2Seq
from tests.unit.small_model import CELLS, small_config

XAVIER = Initialization("xavier", 2.34, "in")


def weights(seed=13, initialization=XAVIER, **options):
    model = Seq2Seq(small_config(**options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    initialize(model, initialization, seed)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_seed_gives_the_same_weights():
    assert equal(weights(13), weights(13))


def test_another_seed_changes_every_weight():
    one, other = weights(13), weights(14)
    for name in one:
        assert torch.equal(one[name], other[name]) == (not is_weight(name)), name


def test_the_global_random_state_is_neither_read_nor_changed():
    torch.manual_seed(1)
    one = weights(13)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    model = Seq2Seq(small_config())
    torch.set_rng_state(before)
    initialize(model, XAVIER, 13)
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(one, dict(model.named_parameters()))


def test_every_parameter_is_set():
    assert all(values.isfinite().all() for values in weights(cell="gru", decoder_layers=2, attention="dot").values())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("type_", ["xavier", "uniform"])
def test_recurrent_matrices_are_orthogonal_as_a_whole_whatever_the_type(cell, type_):
    drawn = weights(initialization=Initialization(type_, 0.1, "avg"), cell=cell, encoder_layers=2)
    recurrent = [values for name, values in drawn.items() if is_recurrent(name)]
    assert len(recurrent) == 4
    gates = {"lstm": 4, "gru": 3}[cell]
    for values in recurrent:
        assert values.shape[0] == gates * values.shape[1]
        torch.testing.assert_close(values.T @ values, torch.eye(values.shape[1]) * 1.414**2, atol=1e-5, rtol=0)


def test_biases_are_zero_the_forget_gate_included():
    biases = {name: values for name, values in weights().items() if not is_weight(name)}
    assert any("bias_ih" in name for name in biases)
    assert not any(values.any() for values in biases.values())


@pytest.mark.parametrize(
    ("shape", "factor_type", "bound"),
    [
        ((1000, 64), "in", 0.19121),
        ((1000, 64), "out", 0.04837),
        ((1000, 64), "avg", 0.06632),
        ((64, 32, 3), "in", 0.15612),
        ((64, 32, 3), "out", 0.11040),
    ],
)
def test_xavier_bounds(shape, factor_type, bound):
    assert Initialization("xavier", 2.34, factor_type).bound(torch.Size(shape)) == pytest.approx(bound, abs=5e-6)


@pytest.mark.parametrize("factor_type", ["in", "out", "avg"])
def test_the_uniform_bound_is_the_scale_for_every_shape(factor_type):
    uniform = Initialization("uniform", 0.07, factor_type)
    assert {uniform.bound(torch.Size(shape)) for shape in ((3, 4), (100, 2), (5, 6, 7))} == {0.07}


@pytest.mark.parametrize(
    "initialization", [XAVIER, Initialization("xavier", 1.0, "out"), Initialization("uniform", 0.04, "in")]
)
def test_weights_are_spread_evenly_up_to_their_bound(initialization):
    model = torch.nn.Linear(100, 200)
    initialize(model, initialization, 13)
    bound = initialization.bound(model.weight.shape)
    values = model.weight.detach().flatten() / bound
    assert values.abs().max() <= 1
    # The greatest distance between 20,000 sorted numbers and the even spread: Kolmogorov's bound at one in 1e6.
    even = torch.linspace(-1, 1, len(values))
    assert (values.sort().values - even).abs().max() / 2 < 2.7 / math.sqrt(len(values))


@pytest.mark.parametrize(
    ("name", "weight", "recurrent"),
    [
        ("encoder.forward_layer.weight_ih_l0", True, False),
        ("encoder.forward_layer.weight_hh_l0", True, True),
        ("encoder.forward_layer.bias_hh_l0", False, False),
        ("decoder.layers.0.weight_hh", True, True),
        ("decoder.layers.0.bias_ih", False, False),
        ("source_embedding.weight", True, False),
        ("output_layer.bias", False, False),
        ("weights.bias", False, False),
    ],
)
def test_parameters_are_told_apart_by_the_end_of_their_name(name, weight, recurrent):
    assert (is_weight(name), is_recurrent(name)) == (weight, recurrent)
