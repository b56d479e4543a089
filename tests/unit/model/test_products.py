"""Products of rows with weights."""

import time

import pytest
import torch

from s2s_algo.model.products import Weight, linear, once


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 32, 45])
def test_products_are_those_of_torch_also_of_columns_and_transposes(rows, dtype):
    whole, bias = torch.randn(24, 40), torch.randn(24)
    tolerance = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.3, "rtol": 0.05}
    inputs, outputs = torch.randn(rows, 16), torch.randn(rows, 24)
    some = whole[:, :16]
    torch.testing.assert_close(once(inputs, some, bias, dtype), inputs @ some.t() + bias, **tolerance)
    torch.testing.assert_close(once(outputs, some.t(), None, dtype), outputs @ some, **tolerance)
    torch.testing.assert_close(Weight(whole, dtype).back(outputs), outputs @ whole, **tolerance)


def test_columns_of_a_matrix_take_no_longer_than_a_matrix_of_their_own():
    """oneDNN would take a thousand times as long."""
    rows, whole = torch.randn(256, 256), torch.randn(1024, 384)

    def seconds(weight):
        times = []
        for _ in range(3):
            began = time.thread_time()
            once(rows, weight, None, torch.float32)
            times.append(time.thread_time() - began)
        return min(times)

    assert seconds(whole[:, :256]) < 20 * seconds(whole[:, :256].contiguous())


@pytest.mark.parametrize("shape", [(3, 5, 24), (1, 1, 24), (100, 24)])
@pytest.mark.parametrize("outputs", [1, 40])
def test_a_linear_layer_of_sequences_is_as_torchs_own(shape, outputs):
    torch.manual_seed(5)
    tensors = [torch.randn(*size, requires_grad=True) for size in (shape, (outputs, 24), (outputs,))]
    upstream = torch.randn(*shape[:-1], outputs)
    found = []
    for layer in (linear, torch.nn.functional.linear):
        value = layer(*tensors)
        found.append([value, *torch.autograd.grad(value, tensors, upstream)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_mixed_precision_leaves_linear_layers_to_torch():
    inputs, weight, bias = torch.randn(4, 24), torch.randn(8, 24), torch.randn(8)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(inputs, weight, bias).dtype == torch.bfloat16
