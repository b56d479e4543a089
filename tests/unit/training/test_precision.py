"""Mixed precision."""

import pytest
import torch

from s2s_algo.training import precision as precision_module
from s2s_algo.training.loss import batch_loss
from s2s_algo.training.precision import Precision
from tests.unit.small_model import small_model
from tests.unit.training.test_loss import BATCH

CPU = torch.device("cpu")


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", ["float32", "bfloat16", "auto"])
def test_auto_is_bfloat16_where_the_device_computes_with_it(monkeypatch, name, native):
    monkeypatch.setattr(precision_module, "_has_bfloat16", lambda device: native)
    expected = {"float32": False, "bfloat16": True, "auto": native}[name]
    assert Precision.choose(name, CPU) == Precision(CPU, expected)


def test_every_cpu_has_an_answer():
    assert Precision.choose("auto", CPU).bfloat16 in (True, False)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_products_take_the_precision_inside_alone(bfloat16):
    numbers = torch.rand(3, 3)
    with Precision(CPU, bfloat16).context():
        assert (numbers @ numbers).dtype == (torch.bfloat16 if bfloat16 else torch.float32)
    assert (numbers @ numbers).dtype == torch.float32


def test_weights_gradients_and_the_loss_stay_float32():
    models = small_model(), small_model()
    losses = []
    for model, bfloat16 in zip(models, (False, True), strict=True):
        with Precision(CPU, bfloat16).context():
            loss, _ = batch_loss(model, BATCH)
        loss.backward()
        losses.append(loss)
        assert loss.dtype == torch.float32
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        assert {weight.grad.dtype for weight in model.parameters()} == {torch.float32}
    assert losses[1] != losses[0]
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.01)
    gradients = [torch.cat([weight.grad.flatten() for weight in model.parameters()]) for model in models]
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
