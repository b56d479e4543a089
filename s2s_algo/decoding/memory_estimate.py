"""How much memory a search will need, told from the shape of the model alone."""

from __future__ import annotations

import torch
from torch import Tensor

from s2s_algo.decoding.translator import _MOST_ROWS, _batches
from s2s_algo.model.attention import EncodedSource
from s2s_algo.model.config import ModelConfig
from s2s_algo.model.memory import LiveMemory, MemoryEstimate, MemoryItem, empty_model

_BYTES = 4

# Numbers per row and word: log-probabilities, costs and scores of the step before, while the decoder makes the next
# step; then also the new logits and their logarithms.
_SCORES_IN_STEP, _SCORES = 3, 5

# An encoder's memory grows with the source's length, and its loops take time: longer sources are calculated.
_LONGEST_ENCODED = 128


def estimate_serving(config: ModelConfig, source: int, target: int, beam_size: int) -> MemoryEstimate:
    """What the largest batch that is searched at once needs in float32.

    Args:
        config: The shape of the model.
        source: Source positions, all of them taken.
        target: Most target tokens, ``</s>`` included.
        beam_size: Hypotheses per sentence.
    """
    model = empty_model(config).eval()
    sentences = len(next(_batches(range(_MOST_ROWS), [source] * _MOST_ROWS, beam_size)))
    rows, vocabulary = sentences * beam_size, config.target_embedding.vocabulary_size

    def ids(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int64, device="meta")

    with torch.inference_mode(), torch.device("meta"):
        # (1) The encoder reads.
        length = min(source, _LONGEST_ENCODED)
        with LiveMemory() as live:
            model.encode(ids(sentences, length), ids(sentences))
        encoding = live.peak * source // length
        # (2) What the decoder keeps from step to step.
        with LiveMemory() as live:
            encoded = EncodedSource(torch.empty(sentences, source, config.encoder.output_size), ids(sentences))
            state, memory = model.decoder.start(encoded)
            state = state.select(ids(rows))
            held = live.peak = live.now
            # (3) One step, from which other hypotheses go on.
            _, state, attention = model.decoder.step(model.target_embedding(ids(rows)), state, memory)
            state = state.select(ids(rows))
            step = live.peak - held
    traced = target * attention.nbytes
    weights = _BYTES * sum(parameter.numel() for parameter in model.parameters())
    scores = _BYTES * rows * vocabulary
    items = (
        MemoryItem("weights", "weights", weights),
        MemoryItem("encoding", "numbers of the encoder, before the search", encoding),
        MemoryItem("state", "encoder states, attention keys, decoder states", held),
        MemoryItem("attention", "attention weights of all steps", traced),
        MemoryItem("step", "numbers of one step of the decoder", step),
        MemoryItem("logits", f"logits and scores, {_SCORES} x {rows:,} x {vocabulary:,}", _SCORES * scores),
    )
    task = (
        f"serving {sentences:,} sentences of {source:,} source and {target:,} target positions with beam {beam_size:,}"
    )
    searching = held + traced + max(step + _SCORES_IN_STEP * scores, _SCORES * scores)
    return MemoryEstimate(task, items, weights + max(encoding, searching))
