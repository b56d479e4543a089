"""How much memory a search will need, told from the shape of the model alone."""

from __future__ import annotations

import torch
from torch import Tensor

from s2s_algo.decoding.history import History
from s2s_algo.decoding.scheduler import batch_width, sentences_at_once
from s2s_algo.model.attention import EncodedSource
from s2s_algo.model.config import ModelConfig
from s2s_algo.model.memory import LiveMemory, MemoryEstimate, MemoryItem, empty_model

_BYTES = 4

# Numbers per row and word: logits, and once as many inside the sum of their exponentials.
_LOGITS = 2

# An encoder's memory grows with the source's length, and its loops take time: longer sources are calculated.
_LONGEST_ENCODED = 128


def estimate_serving(config: ModelConfig, source: int, target: int, beam_size: int) -> MemoryEstimate:
    """What the largest batch needs in float32, at the worst moment as its sentences enter, search and leave.

    Args:
        config: The shape of the model.
        source: Source positions, all of them taken.
        target: Most target tokens, ``</s>`` included.
        beam_size: Hypotheses per sentence.
    """
    model = empty_model(config).eval()
    width = batch_width(source)
    sentences = sentences_at_once(beam_size, width)
    rows, vocabulary = sentences * beam_size, config.target_embedding.vocabulary_size

    def ids(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int64, device="meta")

    with torch.inference_mode(), torch.device("meta"):
        # (1) The encoder reads.
        length = min(source, _LONGEST_ENCODED)
        with LiveMemory() as live:
            model.encode(ids(sentences, length), ids(sentences))
        encoding = live.peak * source // length
        # (2) What is reserved for the choices of all steps.
        with LiveMemory() as live:
            history = History(sentences, target, beam_size, width, torch.device("meta"))
            reserved = live.now
            del history
        # (3) What the decoder keeps from step to step.
        with LiveMemory() as live:
            encoded = EncodedSource(torch.empty(sentences, source, config.encoder.output_size), ids(sentences))
            state, memory = model.decoder.start(encoded)
            del encoded
            state = state.select(ids(rows))
            held = live.peak = live.now
            # (4) One step.
            answers = model.decoder.step(model.target_embedding(ids(rows)), state, memory)
            step, made = live.peak - held, live.now - held
            del answers
    weights = _BYTES * sum(parameter.numel() for parameter in model.parameters())
    logits = _BYTES * rows * vocabulary
    items = (
        MemoryItem("weights", "weights", weights),
        MemoryItem("encoding", "numbers of the encoder, before the search", encoding),
        MemoryItem("history", "choices and attention weights of all steps", reserved),
        MemoryItem("state", "encoder states, attention keys, decoder states", held),
        MemoryItem("copies", "their copies as sentences enter and leave", held),
        MemoryItem("step", "numbers of one step of the decoder", step),
        MemoryItem("logits", f"logits, {_LOGITS} x {rows:,} x {vocabulary:,}", _LOGITS * logits),
    )
    task = (
        f"serving {sentences:,} sentences of {source:,} source and {target:,} target positions with beam {beam_size:,}"
    )
    searching = held + max(step, made + _LOGITS * logits, made + logits + held)
    return MemoryEstimate(task, items, weights + reserved + max(encoding, searching))
