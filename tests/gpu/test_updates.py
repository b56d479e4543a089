"""Several updates of each optimizer give the weights that they give on the CPU."""

import math

import pytest
import torch

from s2s_algo.training.loss import batch_loss
from s2s_algo.training.optimizers import OptimizerConfig, build_optimizer
from tests.gpu.passes import BATCH, WIDE, largest_share, wide_model
from tests.tiny_job import copies
from tests.unit.small_model import small_config

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
UPDATES = 5
OPTIMIZERS = {
    "sgd": (OptimizerConfig("sgd", weight_decay=0.01, clip_gradient=0.01), 0.5),
    "momentum": (OptimizerConfig("sgd", weight_decay=0.01, momentum=0.9, clip_gradient=0.01), 0.2),
    "adam": (OptimizerConfig("adam", weight_decay=0.001, clip_gradient=0.01), 0.001),
    "rmsprop": (OptimizerConfig("rmsprop", weight_decay=0.001, clip_gradient=0.01), 0.001),
}
# Of the way that a weight has gone. Adam and RMSProp divide a gradient by its own size, however small it is.
TOLERANCE = 1e-2


def updated(name, device):
    """The way of each weight, and the moments."""
    config, rate = OPTIMIZERS[name]
    model, batch = wide_model(small_config(**WIDE), device), BATCH.to(device)
    before = copies(dict(model.named_parameters()))
    optimizer = build_optimizer(model, config)
    for _ in range(UPDATES):
        loss, _ = batch_loss(model, batch)
        loss.backward()
        assert optimizer.has_finite_gradients()
        optimizer.step(rate)
    ways = {weight: parameter.detach() - before[weight] for weight, parameter in model.named_parameters()}
    return ways, optimizer.state()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_several_updates_change_weights_and_moments_as_on_the_cpu(device, name):
    expected_ways, expected_moments = updated(name, CPU)
    ways, moments = updated(name, device)
    assert {tensor.device.type for tensor in [*ways.values(), *moments.values()]} == {device.type}
    share, parameter = largest_share(ways, expected_ways)
    assert share < TOLERANCE, parameter
    if moments:
        share, parameter = largest_share(moments, expected_moments)
        assert share < TOLERANCE, parameter


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["output_layer.weight", "source_embedding.weight", "decoder.layers.1.bias_hh"])
def test_a_gradient_that_is_not_finite_is_seen(device, wrong, name):
    model = wide_model(small_config(**WIDE), device)
    optimizer = build_optimizer(model, OptimizerConfig("sgd"))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e30)
    assert optimizer.has_finite_gradients()
    dict(model.named_parameters())[name].grad.view(-1)[-1] = wrong
    assert not optimizer.has_finite_gradients()
