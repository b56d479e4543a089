"""How much memory training will need, told from the shape of the model alone."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from s2s_algo.model.config import ModelConfig
from s2s_algo.model.memory import LiveMemory, MemoryEstimate, MemoryItem, empty_model
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.optimizers import OptimizerConfig, build_optimizer
from s2s_algo.training.output import ROWS

_BYTES = 4

# There are the logits, which become the probabilities and their gradient, and what they are compared with.
_LOGITS = 2

# Parameters that the loops of recurrent layers lay out anew for each pass, by parts of their names.
_LAID_OUT = ("decoder.layers.", "decoder.hidden_layer.", "decoder.attention.query_layer.", ".weight_hh_l0")

# Lengths at which activations are measured. They grow linearly with each, so two lengths tell of all others.
_SHORT, _LONG = 2, 4


def estimate_training(
    config: ModelConfig, optimizer: OptimizerConfig, batch: int, source: int, target: int
) -> MemoryEstimate:
    """What one update needs in float32 on a CPU; a GPU needs the logits of all tokens at once, three times.

    Args:
        config: The shape of the model.
        optimizer: Its optimizer.
        batch: Sentence pairs.
        source: Source positions, all of them taken.
        target: Target positions, ``</s>`` included, all of them taken.
    """
    model = empty_model(config)
    weights = _BYTES * sum(parameter.numel() for parameter in model.parameters())
    with torch.device("meta"), LiveMemory() as live:
        updating = build_optimizer(model, optimizer)
        state = live.now
        # Without gradients the optimizer makes them: as many zeros.
        updating.step(1.0)
    temporary = live.peak - state - weights
    kept = activations(config, batch, source, target)
    loops = _BYTES * _loop_weights(model)
    tokens, vocabulary = min(batch * target, ROWS), config.target_embedding.vocabulary_size
    # The gradient of the output layer comes with the logits, before all others.
    logits = _BYTES * vocabulary * (_LOGITS * tokens + config.decoder.output_size + 1)
    items = (
        MemoryItem("weights", "weights", weights),
        MemoryItem("optimizer_state", f"optimizer state ({optimizer.type})", state),
        MemoryItem("gradients", "gradients", weights),
        MemoryItem("update", "numbers of the update itself", temporary),
        MemoryItem("activations", "activations kept for the backward pass", kept),
        MemoryItem("loops", "weights laid out for the loops of recurrent layers", loops),
        MemoryItem(
            "logits", f"logits, {_LOGITS} x {tokens:,} x {vocabulary:,}, and the output layer's gradient", logits
        ),
    )
    task = f"training with {batch:,} pairs of {source:,} source and {target:,} target positions"
    return MemoryEstimate(task, items, weights + state + max(kept + logits, kept + loops, weights + temporary))


def activations(config: ModelConfig, batch: int, source: int, target: int) -> int:
    """Bytes that a forward pass keeps for the backward pass, below the output layer."""
    # (1) What is kept is a + b·S + c·T + d·S·T: four measurements tell it.
    model = empty_model(_with_positions(config)).train()
    measured = {(s, t): _measure_activations(model, batch, s, t) for s in (_SHORT, _LONG) for t in (_SHORT, _LONG)}
    # (2) Linear in T at both source lengths, then linear in S.
    at_short, at_long = (_extend(measured[s, _SHORT], measured[s, _LONG], target) for s in (_SHORT, _LONG))
    return int(_extend(at_short, at_long, source))


def _extend(short: int | Fraction, long: int | Fraction, length: int) -> Fraction:
    """The value at a length of what grows linearly from ``short`` at 2 to ``long`` at 4; exact."""
    return short + Fraction(length - _SHORT, _LONG - _SHORT) * (long - short)


def _measure_activations(model: Seq2Seq, batch: int, source: int, target: int) -> int:
    """Bytes of all tensors that autograd saves, each counted once, however many operations need it."""
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage  # held, so that no other one comes to lie at its address
        return tensor

    def ids(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int64, device="meta")

    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model(ids(batch, source), ids(batch), ids(batch, target))
    return sum(storage.nbytes() for storage in saved.values())


def _with_positions(config: ModelConfig) -> ModelConfig:
    """The same model, with positions enough for the measurement."""
    parts: dict[str, Any] = {"encoder": config.encoder, "decoder": config.decoder}
    for name, part in parts.items():
        if part.type == "cnn":
            parts[name] = part.model_copy(update={"max_length": max(part.max_length, _LONG)})
    return config.model_copy(update=parts)


def _loop_weights(model: Seq2Seq) -> int:
    """Numbers of the weights that loops multiply with."""
    return sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if weight.dim() == 2 and any(part in name for part in _LAID_OUT)
    )
