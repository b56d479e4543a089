"""Convolutions, their activations, and what they read."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from s2s_algo.model.config import ConvolutionalDecoderConfig
from s2s_algo.model.convolution import Convolution, ConvolutionalStack, cut_windows
from tests import plain_convolution as plain
from tests.unit.small_model import ACTIVATIONS

HIDDEN = 4


def normal(*shape, seed=2):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def randomised(module, seed=1):
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed + number))
    return module.double()


def convolution(activation="tanh", width=3, hidden=HIDDEN):
    return randomised(Convolution(hidden, width, activation))


def stack(width=3, positions=7, layers=2, input_size=5, activation="tanh"):
    config = ConvolutionalDecoderConfig(
        num_layers=layers, num_hidden=HIDDEN, kernel_width=width, activation=activation, max_length=positions
    )
    return randomised(ConvolutionalStack(config, input_size))


# Windows


@given(batch=st.integers(1, 3), length=st.integers(1, 6), before=st.integers(0, 4), after=st.integers(0, 4))
def test_a_window_holds_the_neighbours_of_its_position_and_zeros_beyond_the_ends(batch, length, before, after):
    inputs = normal(batch, length, 2)
    windows = cut_windows(inputs, before, after)
    assert windows.shape == (batch, length, 2, before + 1 + after)
    for row in range(batch):
        for position in range(length):
            for number, neighbour in enumerate(range(position - before, position + after + 1)):
                there = 0 <= neighbour < length
                expected = inputs[row, neighbour] if there else torch.zeros_like(inputs[row, 0])
                assert torch.equal(windows[row, position, :, number], expected)


# One convolution


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("width", [1, 2, 3, 5])
@torch.no_grad()
def test_a_convolution_is_the_sum_over_its_kernel_and_the_bias_and_then_the_activation(activation, width):
    ours, window = convolution(activation, width), normal(HIDDEN, width)
    total = ours.bias.numpy().copy()
    for number in range(width):
        total += ours.weight[:, :, number].numpy() @ window[:, number].numpy()
    np.testing.assert_allclose(ours(window).numpy(), plain.ACTIVATIONS[activation](total))


@settings(deadline=None)
@given(
    width=st.integers(1, 6),
    length=st.integers(1, 7),
    hidden=st.integers(1, 5),
    after=st.integers(0, 5),
    activation=st.sampled_from(ACTIVATIONS),
)
@torch.no_grad()
def test_over_windows_it_is_the_plain_convolution_and_that_of_torch(width, length, hidden, after, activation):
    after = min(after, width - 1)
    before = width - 1 - after
    ours, inputs = convolution(activation, width, hidden), normal(2, length, hidden)
    found = ours(cut_windows(inputs, before, after))
    assert found.shape == (2, length, hidden)
    weight, bias = ours.weight.numpy(), ours.bias.numpy()
    for row in range(2):
        totals = plain.convolve(weight, bias, list(inputs[row].numpy()), -before)
        np.testing.assert_allclose(found[row].numpy(), [plain.ACTIVATIONS[activation](total) for total in totals])
    theirs = functional.conv1d(functional.pad(inputs.transpose(1, 2), (before, after)), ours.weight, ours.bias)
    activated = [plain.ACTIVATIONS[activation](theirs[0, :, position].numpy()) for position in range(length)]
    np.testing.assert_allclose(found[0].numpy(), activated)


def test_the_second_half_of_glu_is_the_gate():
    ours = convolution("glu", 1, 2)
    with torch.no_grad():
        ours.weight.zero_()
        ours.bias.copy_(torch.tensor([3.0, -5.0, 100.0, -100.0]))
    torch.testing.assert_close(ours(normal(2, 1)), torch.tensor([3.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", [0.0, 0.0, 2.0]),
        ("softrelu", [0.1269280, 0.6931472, 2.1269280]),
        ("sigmoid", [0.1192029, 0.5, 0.8807971]),
        ("tanh", [-0.9640276, 0.0, 0.9640276]),
    ],
)
def test_activations_of_known_numbers(activation, expected):
    ours = convolution(activation, 1, 3)
    with torch.no_grad():
        ours.weight.zero_()
        ours.bias.copy_(torch.tensor([-2.0, 0.0, 2.0]))
    torch.testing.assert_close(ours(normal(3, 1)), torch.tensor(expected, dtype=torch.float64), atol=1e-7, rtol=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_large_numbers_overflow_in_no_activation(activation, size):
    ours = convolution(activation).float()
    window = torch.full((HIDDEN, 3), size, requires_grad=True)
    outputs = ours(window)
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert window.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in ours.parameters())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_glu_alone_has_twice_as_many_outputs_before_it(activation):
    shapes = {name: tuple(parameter.shape) for name, parameter in convolution(activation, 5).named_parameters()}
    outputs = 2 * HIDDEN if activation == "glu" else HIDDEN
    assert shapes == {"weight": (outputs, HIDDEN, 5), "bias": (outputs,)}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_those_of_numbers_nudged(activation):
    ours = convolution(activation)
    window = normal(3, HIDDEN, 3).requires_grad_()

    def outputs(window, weight, bias):
        return torch.func.functional_call(ours, {"weight": weight, "bias": bias}, window)

    assert torch.autograd.gradcheck(outputs, (window, ours.weight, ours.bias))


# What blocks have in common


@pytest.mark.parametrize("length", [1, 4, 7])
@torch.no_grad()
def test_the_first_block_reads_embeddings_with_positions_counted_from_zero(length):
    ours, embedded = stack(), normal(2, length, 5)
    found = ours.read(embedded)
    assert found.shape == (2, length, HIDDEN)
    for row in range(2):
        for position in range(length):
            expected = ours.input_layer.weight @ (embedded[row, position] + ours.positions.weight[position])
            torch.testing.assert_close(found[row, position], expected)


def test_a_stack_has_a_position_table_an_input_layer_without_bias_and_a_convolution_per_block():
    shapes = {name: tuple(parameter.shape) for name, parameter in stack(2, 9, 3, activation="glu").named_parameters()}
    convolutions = {
        f"convolutions.{n}.{part}": shape
        for n in range(3)
        for part, shape in [("weight", (2 * HIDDEN, HIDDEN, 2)), ("bias", (2 * HIDDEN,))]
    }
    assert shapes == {"positions.weight": (9, 5), "input_layer.weight": (HIDDEN, 5)} | convolutions


def test_more_tokens_than_positions_are_an_error_and_never_silently_read():
    with pytest.raises(RuntimeError):
        stack(positions=3).read(normal(1, 4, 5))
