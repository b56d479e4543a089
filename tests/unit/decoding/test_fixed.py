"""Layers that cannot learn, against those of a model under training."""

import copy

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from s2s_algo.decoding import fixed
from s2s_algo.decoding.fixed import FixedLinear, fix_weights, padded_rows
from s2s_algo.errors import ClientError
from s2s_algo.model.attention import MLPAttention
from s2s_algo.model.convolution import Convolution
from s2s_algo.model.recurrent import RecurrentCell
from tests.unit.decoding.searching import assert_equal, search, searching_model
from tests.unit.small_model import configs, padded, parallel, seeds, small_config, small_model, step_by_step

PRECISIONS = ("float32", "bfloat16", "int8")
# Largest share of the outputs' size that a rounded model may be wrong by.
ROUGHLY = {"bfloat16": 0.05, "int8": 0.2}

# What is replaced.
FIXED = (nn.Linear, nn.LSTM, nn.GRU, RecurrentCell, Convolution, MLPAttention)


def fixed_copy(model, precision):
    other = copy.deepcopy(model).eval()
    fix_weights(other, precision)
    return other


def outputs(model, pairs):
    (source, source_length), (target, _) = (padded(side) for side in pairs)
    with torch.inference_mode():
        encoded = model.encode(source, source_length)
        answers, attention = step_by_step(model, encoded, model.target_embedding(target))
        return model.output_layer(answers), attention


@settings(max_examples=60, deadline=None)
@given(config=configs, seed=seeds, pairs=parallel())
def test_a_fixed_model_answers_as_its_twin(config, seed, pairs):
    model = small_model(config, seed)
    for ours, theirs in zip(outputs(fixed_copy(model, "float32"), pairs), outputs(model, pairs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ROUGHLY)
@settings(max_examples=30, deadline=None)
@given(config=configs, seed=seeds, pairs=parallel())
def test_a_rounded_model_answers_roughly_as_its_twin(precision, config, seed, pairs):
    model = small_model(config, seed, scale=0.5)
    (ours, _), (theirs, _) = outputs(fixed_copy(model, precision), pairs), outputs(model, pairs)
    assert (ours - theirs).norm() < ROUGHLY[precision] * theirs.norm()


def wide_linear(bias=True):
    torch.manual_seed(0)
    layer = nn.Linear(256, 96, bias=bias)
    return layer, torch.randn(7, 3, 256)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_error_is_that_of_the_rounding_and_nothing_else(precision, bias):
    layer, inputs = wide_linear(bias)
    weight = layer.weight.detach()
    model = nn.Sequential(copy.deepcopy(layer))
    make = fixed._choose(torch.device("cpu"), precision)
    fixed._replace_layers(model, make)
    assert isinstance(model[0], FixedLinear)
    with torch.inference_mode():
        found = model(inputs)
    if precision == "bfloat16":
        weight, inputs = weight.bfloat16().float(), inputs.bfloat16().float()
    elif precision == "int8":
        scales = weight.abs().amax(1, keepdim=True) / 127
        weight = (weight / scales).round() * scales
        step = 2 * inputs.abs().amax(-1, keepdim=True) / (255 if torch.cpu._is_vnni_supported() else 127)
        inputs = (inputs / step).round() * step
    expected = nn.functional.linear(inputs, weight, layer.bias)
    assert (found.shape, found.dtype) == ((7, 3, 96), torch.float32)
    # The result in bfloat16 is rounded once more; int8 may round a half to the other side.
    tolerance = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.03}[precision]
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_do_not_depend_on_how_many_there_are(precision):
    model = nn.Sequential(nn.Linear(256, 96))
    fixed._replace_layers(model, fixed._choose(torch.device("cpu"), precision))
    many = torch.randn(400, 256) * torch.rand(400, 1)  # of different sizes
    with torch.inference_mode():
        for number in (0, 1, 2, 7, 8, 9, 33, 65, 100, 321, 400):
            alone = torch.cat([torch.empty(0, 96), *(model(row[None]) for row in many[:number])])
            tolerance = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0}[precision]
            torch.testing.assert_close(model(many[:number]), alone, rtol=0, atol=tolerance)


def test_onednn_meets_few_numbers_of_rows():
    padded_to = {number: padded_rows(number) for number in range(1, 321)}
    assert sorted(set(padded_to.values())) == [1, *range(8, 65, 8), *range(80, 129, 16), *range(160, 321, 32)]
    assert all(number <= rows for number, rows in padded_to.items())
    assert max(rows / number for number, rows in padded_to.items() if number > 32) <= 1.25


@pytest.mark.filterwarnings("error")
def test_int8_weights_without_any_value_are_no_problem():
    model = nn.Sequential(nn.Linear(8, 4))
    nn.init.zeros_(model[0].weight)
    expected = model[0].bias.detach().clone()
    fixed._replace_layers(model, fixed._choose(torch.device("cpu"), "int8"))
    assert torch.equal(model(torch.randn(2, 8)), expected.expand(2, 4))


@pytest.mark.parametrize("architecture", ["rnn", "cnn"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_large_product_is_fixed_and_float32_weights_are_gone(precision, architecture):
    model = fixed_copy(small_model(small_config(encoder=architecture, decoder=architecture)), precision)
    left = [module for module in model.modules() if isinstance(module, FIXED)]
    assert not left
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert "output_layer" not in names


def test_a_machine_without_onednn_keeps_the_layers_or_rounds_in_plain_torch(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    model = small_model().eval()
    kept = fixed_copy(model, "float32")
    assert isinstance(kept.output_layer, nn.Linear)
    rounded = fixed_copy(model, "bfloat16")
    assert isinstance(rounded.output_layer, FixedLinear)
    pairs = [[4, 5, 6]], [[4, 5]]
    expected, _ = outputs(model, pairs)
    assert (outputs(rounded, pairs)[0] - expected).norm() < ROUGHLY["bfloat16"] * expected.norm()


def test_int8_is_refused_where_it_cannot_be(monkeypatch):
    with pytest.raises(ClientError) as error:
        fixed._choose(torch.device("cuda:0"), "int8")
    assert str(error.value) == "int8 is for CPUs, and the model is on cuda:0. Choose float32 or bfloat16."
    monkeypatch.setattr(torch.backends.quantized, "engine", "qnnpack", raising=False)
    with pytest.raises(ClientError) as error:
        fixed._choose(torch.device("cpu"), "int8")
    assert str(error.value) == "this machine cannot multiply int8. Choose float32 or bfloat16."


def test_a_gpu_keeps_float32_layers_and_rounds_to_bfloat16():
    assert fixed._choose(torch.device("cuda"), "float32") is None
    assert fixed._choose(torch.device("cuda"), "bfloat16").keywords["dtype"] == torch.bfloat16


@pytest.mark.parametrize("architecture", ["rnn", "cnn"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_search_with_a_fixed_model_finds_what_its_twin_finds(architecture, cell):
    """Hypotheses end at different steps, and those that go on are a part of the rows."""
    config = small_config(encoder=architecture, decoder=architecture, cell=cell)
    model = searching_model(config, eos_bias=2.0).eval()
    sources, limits = [[5, 6, 7, 8], [9], [4, 4, 12, 11, 10, 1]], [14, 9, 12]
    expected = search(model, sources, limits, 4, n_best=4)
    assert len({len(hypothesis.token_ids) for found in expected for hypothesis in found}) > 2
    for ours, others in zip(search(fixed_copy(model, "float32"), sources, limits, 4, n_best=4), expected, strict=True):
        for one, other in zip(ours, others, strict=True):
            assert_equal(one, other)
