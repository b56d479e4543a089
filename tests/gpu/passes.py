"""A forward and a backward pass of a small model on any device, and how far two of them are apart."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from s2s_algo.model.config import ModelConfig
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.loss import Totals, batch_loss
from s2s_algo.training.precision import Precision
from tests.unit.small_model import SOURCE_POSITIONS, SOURCE_SIZE, TARGET_POSITIONS, TARGET_SIZE, small_model
from tests.unit.training.test_loss import batch_of

# Wide enough that no kernel has only one block of numbers, and no multiple of any block's size.
WIDE = {
    "encoder_hidden": 98,
    "decoder_hidden": 75,
    "attention_hidden": 53,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "residual": True,
}
# Of the weights: smaller ones make every attention look everywhere, larger ones a model in which rounding errors grow.
_SCALE = 0.25


def random_pairs(count: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """Pairs of all lengths that small models know."""
    draw = random.Random(seed)
    return [
        (
            draw.choices(range(1, SOURCE_SIZE), k=draw.randint(1, SOURCE_POSITIONS)),
            draw.choices(range(1, TARGET_SIZE), k=draw.randint(0, TARGET_POSITIONS - 1)),
        )
        for _ in range(count)
    ]


BATCH = batch_of(random_pairs(33))


@dataclass(frozen=True)
class Passes:
    """What was computed, on the CPU.

    Attributes:
        log_probabilities: Of all words at all real target positions.
        loss: Of the batch.
        totals: Of the batch.
        gradients: By parameter.
    """

    log_probabilities: torch.Tensor
    loss: float
    totals: Totals
    gradients: dict[str, torch.Tensor]


def wide_model(config: ModelConfig, device: torch.device) -> Seq2Seq:
    """A model in training mode, with the same weights on every device."""
    return small_model(config, scale=_SCALE).to(device).train()


def passes(config: ModelConfig, device: torch.device, bfloat16: bool = False) -> Passes:
    """Both passes over `BATCH`."""
    model, batch = wide_model(config, device), BATCH.to(device)
    with Precision(device, bfloat16).context():
        answers = model(batch.source, batch.source_length, batch.target_in)[batch.target_label != 0]
        log_probabilities = model.output_layer(answers).float().log_softmax(-1)
        loss, totals = batch_loss(model, batch, label_smoothing=0.1)
    loss.backward()
    return Passes(
        log_probabilities.detach().cpu(),
        loss.item(),
        totals,
        {name: parameter.grad.cpu() for name, parameter in model.named_parameters()},
    )


def largest_share(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> tuple[float, str]:
    """The largest distance of two tensors of a name, as a share of the expected one's norm, and that name.

    Norms count as a millionth of the largest one at least, for the noise in a tensor that should be 0 tells nothing.
    """
    assert found.keys() == expected.keys()
    least = 1e-6 * max(float(tensor.norm()) for tensor in expected.values())
    return max(
        (float((found[name].cpu() - tensor).norm()) / max(float(tensor.norm()), least), name)
        for name, tensor in expected.items()
    )
