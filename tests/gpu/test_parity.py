"""Forward and backward passes give what they give on the CPU."""

import pytest
import torch

from tests.gpu.passes import WIDE, largest_share, passes
from tests.unit.small_model import ACTIVATIONS, ATTENTIONS, STATE_INITS, small_config

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
MIXES = {
    f"{encoder} encoder, {decoder} decoder, {cell}": {"encoder": encoder, "decoder": decoder, "cell": cell}
    for encoder in ("rnn", "cnn")
    for decoder in ("rnn", "cnn")
    for cell in ("lstm", "gru")
    if "rnn" in (encoder, decoder) or cell == "lstm"
}
PARTS = {
    **{f"attention {name}": {"attention": name} for name in ATTENTIONS},
    **{f"state init {name}": {"state_init": name} for name in STATE_INITS},
    **{
        f"activation {name}": {
            "encoder": "cnn",
            "decoder": "cnn",
            "encoder_activation": name,
            "decoder_activation": name,
        }
        for name in ACTIVATIONS
    },
    "no attention in upper layers": {"upper": False},
}

# In float32, both devices round sums of the same products in another order.
TOLERANCE = 1e-4
# With TF32, factors have 11 significant bits in place of 24.
TF32_LOSS, TF32_LOG_PROBABILITY, TF32_GRADIENT = 1e-3, 0.05, 0.05
# With bfloat16 they have 8, and so have results.
BFLOAT16_LOSS, BFLOAT16_LOG_PROBABILITY, BFLOAT16_GRADIENT = 0.005, 0.3, 0.1


def largest_difference(found, expected):
    return float((found.log_probabilities - expected.log_probabilities).abs().max())


@pytest.mark.parametrize("name", MIXES | PARTS)
def test_float32_gives_the_numbers_of_the_cpu(device, name):
    config = small_config(**WIDE | (MIXES | PARTS)[name])
    expected, found = passes(config, CPU), passes(config, device)
    assert largest_difference(found, expected) < TOLERANCE
    assert found.loss == pytest.approx(expected.loss, abs=TOLERANCE)
    assert found.totals.tokens == expected.totals.tokens
    assert found.totals.perplexity == pytest.approx(expected.totals.perplexity, rel=TOLERANCE)
    share, parameter = largest_share(found.gradients, expected.gradients)
    assert share < TOLERANCE, parameter


@pytest.mark.parametrize("name", MIXES)
def test_tf32_stays_near_float32(device, name):
    config = small_config(**WIDE | MIXES[name])
    expected = passes(config, device)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    found = passes(config, device)
    assert largest_difference(found, expected) < TF32_LOG_PROBABILITY
    assert found.loss == pytest.approx(expected.loss, rel=TF32_LOSS)
    share, parameter = largest_share(found.gradients, expected.gradients)
    assert share < TF32_GRADIENT, parameter


@pytest.mark.parametrize("name", MIXES)
def test_mixed_precision_stays_near_float32(device, name):
    config = small_config(**WIDE | MIXES[name])
    expected, found = passes(config, CPU), passes(config, device, bfloat16=True)
    assert found.loss != expected.loss
    assert found.loss == pytest.approx(expected.loss, rel=BFLOAT16_LOSS)
    assert largest_difference(found, expected) < BFLOAT16_LOG_PROBABILITY
    assert {gradient.dtype for gradient in found.gradients.values()} == {torch.float32}
    whole = [torch.cat([gradient.flatten() for gradient in p.gradients.values()]) for p in (expected, found)]
    assert (whole[1] - whole[0]).norm() < BFLOAT16_GRADIENT * whole[0].norm()
