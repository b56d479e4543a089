"""The loss as one operation, against its plain twin."""

import pytest
import torch
from torch import nn

from s2s_algo.training.output import ROWS, fused_cross_entropy, plain_cross_entropy


def scored(function, rows, vocabulary, smoothing=0.0, factor=1.0, scale=3.0):
    torch.manual_seed(rows)
    layer = nn.Linear(7, vocabulary)
    inputs = torch.randn(rows, 7).mul_(scale).requires_grad_()
    found = function(layer, inputs, torch.randint(vocabulary, (rows,)), smoothing)
    (found.loss * factor).backward()
    return found, [inputs.grad, layer.weight.grad, layer.bias.grad]


@pytest.mark.parametrize("factor", [1.0, 0.3])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("rows", [1, 33, ROWS, ROWS + 1, 3 * ROWS - 5])
@pytest.mark.parametrize("vocabulary", [4, 301])
def test_values_and_gradients_are_those_of_the_plain_loss(rows, vocabulary, smoothing, factor):
    found, gradients = scored(fused_cross_entropy, rows, vocabulary, smoothing, factor)
    expected, expected_gradients = scored(plain_cross_entropy, rows, vocabulary, smoothing, factor)
    torch.testing.assert_close(found.loss, expected.loss)
    torch.testing.assert_close(found.negative_log_likelihood, expected.negative_log_likelihood)
    assert found.correct == expected.correct
    for one, other in zip(gradients, expected_gradients, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_of_equal_logits_the_first_is_the_choice():
    layer = nn.Linear(3, 5)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    labels = torch.tensor([0, 0, 1, 4])
    assert fused_cross_entropy(layer, torch.randn(4, 3), labels, 0.0).correct == 2


def test_hopeless_labels_have_a_finite_loss():
    found, _ = scored(fused_cross_entropy, 40, 6, scale=3000.0)
    expected, _ = scored(plain_cross_entropy, 40, 6, scale=3000.0)
    assert found.loss > 500
    torch.testing.assert_close(found.loss, expected.loss)


def test_without_gradients_nothing_is_kept():
    layer = nn.Linear(3, 5)
    with torch.no_grad():
        found = fused_cross_entropy(layer, torch.randn(4, 3), torch.tensor([0, 0, 1, 4]), 0.0)
    assert not found.loss.requires_grad


def test_a_second_backward_pass_is_refused():
    layer = nn.Linear(3, 5)
    loss = fused_cross_entropy(layer, torch.randn(4, 3), torch.tensor([0, 0, 1, 4]), 0.0).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="a loss has one backward pass, which uses its gradients up"):
        loss.backward()
