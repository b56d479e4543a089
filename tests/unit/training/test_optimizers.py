"""Optimizers: the original's formulas, its two-step numbers, and their state."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from s2s_algo.errors import ClientError
from s2s_algo.training.optimizers import OptimizerConfig, build_optimizer
from tests.unit.small_model import small_config, small_model

CONFIGS = [
    OptimizerConfig("sgd", weight_decay=0.05, clip_gradient=1.0),
    OptimizerConfig("sgd", weight_decay=0.05, momentum=0.9, clip_gradient=1.0),
    OptimizerConfig("adam", weight_decay=0.05, clip_gradient=1.0),
    OptimizerConfig("rmsprop", weight_decay=0.05, clip_gradient=1.0),
]


@pytest.fixture(params=CONFIGS, ids=["sgd", "momentum", "adam", "rmsprop"])
def config(request):
    return request.param


class Toy(nn.Module):
    """One weight and one bias of four numbers each."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0]))
        self.bias = nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0]))


def update(model, optimizer, gradient, learning_rate=0.1):
    for parameter in model.parameters():
        parameter.grad = torch.tensor(gradient, dtype=parameter.dtype)
    optimizer.step(learning_rate)


# Two steps of the original with learning rate 0.1, decay 0.05, clip 1, and the gradients halved before.
GOLDEN = [
    [1.0501, -1.89055, 0.3505125, 2.8705725],
    [1.0321, -1.79155, 0.2582625, 2.8575225],
    [0.953313, -1.833367, 0.307697, 2.816745],
    [0.989445, -1.689042, 0.046000, 2.370495],
]


@pytest.mark.parametrize(("config", "expected"), list(zip(CONFIGS, GOLDEN, strict=True)))
def test_two_steps_give_the_numbers_of_the_original(config, expected):
    model = Toy().double()
    optimizer = build_optimizer(model, config)
    update(model, optimizer, [0.15, -1.25, 2.0, -0.005])
    update(model, optimizer, [-0.75, 0.1, 0.45, 3.5])
    # The golden numbers are float32.
    np.testing.assert_allclose(model.weight.detach(), expected, atol=2e-6, rtol=0)
    assert optimizer.updates == 2


def plain(config, decayed, w, gradients, rates):
    """The formulas in plain numpy, for any number of steps."""
    c = config.clip_gradient or math.inf
    wd = config.weight_decay if decayed else 0.0
    m = v = np.zeros_like(w)
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        if config.type == "sgd":
            m = config.momentum * m - lr * wd * w - lr * g.clip(-c, c)
            w = w + m
            continue
        g = (g + wd * w).clip(-c, c)
        if config.type == "adam":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w = w - lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
        else:
            v = 0.9 * v + 0.1 * g * g
            w = w - lr * g / np.sqrt(v + 1e-8)
    return w


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-7])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_many_steps_equal_the_plain_formulas(config, size, clip, decay):
    # The smallest gradients show where epsilon is; the changing rate, what the momentum holds.
    config = OptimizerConfig(config.type, decay, config.momentum, clip)
    random = np.random.default_rng(13)
    gradients, rates = size * random.standard_normal((8, 4)), 0.1 * random.random(8)
    start = np.array([1.0, -2.0, 0.5, 3.0])
    model = Toy().double()
    optimizer = build_optimizer(model, config)
    for gradient, rate in zip(gradients, rates, strict=True):
        update(model, optimizer, gradient, rate)
    for parameter, decayed in ((model.weight, True), (model.bias, False)):
        expected = plain(config, decayed, start, gradients, rates)
        np.testing.assert_allclose(parameter.detach().numpy() - start, expected - start, rtol=1e-7)


def test_decay_spares_biases_and_touches_every_weight_of_a_model(config):
    model = small_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.1)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == ("bias" in name), name


def test_a_parameter_without_gradient_is_updated_as_with_a_gradient_of_zero(config):
    models = Toy(), Toy()
    optimizers = [build_optimizer(model, config) for model in models]
    for gradient in ([0.5, 0.5, -0.5, 2.0], None):
        for model, optimizer, without in zip(models, optimizers, (False, True), strict=True):
            for parameter in model.parameters():
                parameter.grad = torch.tensor(gradient or [0.0] * 4)
            if without and not gradient:
                model.weight.grad = None
            optimizer.step(0.1)
    for ours, expected in zip(models[1].parameters(), models[0].parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_a_step_uses_the_gradients_up(config):
    model = Toy()
    optimizer = build_optimizer(model, config)
    update(model, optimizer, [1.0, 2.0, 3.0, 4.0])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_resumed_run_equals_an_uninterrupted_one(config):
    gradients = torch.randn(6, 4, generator=torch.Generator().manual_seed(13)).tolist()
    straight, broken = Toy(), Toy()
    optimizer = build_optimizer(straight, config)
    for gradient in gradients:
        update(straight, optimizer, gradient)

    first = build_optimizer(broken, config)
    for gradient in gradients[:3]:
        update(broken, first, gradient)
    saved = {key: value.clone() for key, value in first.state().items()}
    update(broken, first, [9.0] * 4)  # what happened after the checkpoint is lost

    resumed = Toy()
    half_way = Toy()
    again = build_optimizer(half_way, config)
    for gradient in gradients[:3]:
        update(half_way, again, gradient)
    resumed.load_state_dict(half_way.state_dict())
    second = build_optimizer(resumed, config)
    second.load_state(saved, updates=3)
    assert second.updates == 3
    for gradient in gradients[3:]:
        update(resumed, second, gradient)
    for ours, expected in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_loading_copies_the_state(config):
    optimizer, other = (build_optimizer(Toy(), config) for _ in range(2))
    saved = {key: torch.ones_like(value) for key, value in other.state().items()}
    optimizer.load_state(saved, updates=1)
    for value in saved.values():
        value.zero_()
    assert all((value == 1).all() for value in optimizer.state().values())


def test_the_state_names_each_average_of_each_parameter():
    kinds = {"sgd": set(), "momentum": {"momentum"}, "adam": {"mean", "variance"}, "rmsprop": {"variance"}}
    for (_, expected), config in zip(kinds.items(), CONFIGS, strict=True):
        state = build_optimizer(Toy(), config).state()
        assert state.keys() == {f"{kind}/{name}" for kind in expected for name in ("weight", "bias")}
        assert not any(value.any() for value in state.values())


def test_the_state_of_another_optimizer_is_refused_with_a_way_out():
    adam = build_optimizer(Toy(), CONFIGS[2])
    for other in (CONFIGS[0], CONFIGS[1], CONFIGS[3]):
        with pytest.raises(ClientError) as caught:
            adam.load_state(build_optimizer(Toy(), other).state(), updates=5)
        assert str(caught.value) == (
            "The optimizer state does not fit adam on this model. "
            "Resume with the hyperparameters of the first run, or empty the checkpoint folder."
        )
    assert adam.updates == 0


def test_the_state_of_another_model_is_refused():
    adam = build_optimizer(small_model(), CONFIGS[2])
    other = build_optimizer(small_model(small_config(encoder_hidden=4)), CONFIGS[2])
    assert adam.state().keys() == other.state().keys()
    with pytest.raises(ClientError, match="does not fit adam on this model"):
        adam.load_state(other.state(), updates=5)
