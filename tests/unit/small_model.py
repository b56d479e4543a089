"""Small models with random weights, and strategies that draw their shapes."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.model.config import (
    AttentionConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.seq2seq import Seq2Seq

SOURCE_SIZE, TARGET_SIZE = 13, 11

CELLS = ("lstm", "gru")
ATTENTIONS = ("mlp", "dot", "bilinear", "fixed")
STATE_INITS = ("last", "avg", "zero")


def small_config(
    *,
    cell: str = "lstm",
    encoder_layers: int = 1,
    decoder_layers: int = 1,
    encoder_hidden: int = 6,
    decoder_hidden: int = 6,
    attention: str = "mlp",
    attention_hidden: int = 5,
    upper: bool = True,
    state_init: str = "last",
    residual: bool = False,
    first_residual_layer: int = 2,
    hidden_dropout: float = 0.0,
    source_dropout: float = 0.0,
    target_dropout: float = 0.0,
) -> ModelConfig:
    """Differs in all sizes unless told otherwise, so that no two of them can be mistaken for each other."""
    layers: dict[str, Any] = {
        "cell_type": cell,
        "residual": residual,
        "first_residual_layer": first_residual_layer,
    }
    return ModelConfig(
        source_embedding=EmbeddingConfig(vocabulary_size=SOURCE_SIZE, size=4, dropout=source_dropout),
        target_embedding=EmbeddingConfig(vocabulary_size=TARGET_SIZE, size=3, dropout=target_dropout),
        encoder=RecurrentEncoderConfig(num_layers=encoder_layers, num_hidden=encoder_hidden, **layers),
        decoder=RecurrentDecoderConfig(
            num_layers=decoder_layers,
            num_hidden=decoder_hidden,
            attention=AttentionConfig(type=attention, num_hidden=attention_hidden),
            attention_in_upper_layers=upper,
            state_init=state_init,
            hidden_dropout=hidden_dropout,
            **layers,
        ),
    )


def small_model(config: ModelConfig | None = None, seed: int = 0, scale: float = 1.0) -> Seq2Seq:
    """A model in evaluation mode whose numbers, biases included, are drawn from U(-scale, scale)."""
    model = Seq2Seq(config or small_config())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-scale, scale, generator=generator)
    return model.eval()


def vocabulary(size: int) -> Vocabulary:
    """``<pad>``, ``<unk>``, ``<s>``, ``</s>``, then w4, w5 and so on."""
    return Vocabulary.from_tokens([*SPECIAL_TOKENS, *(f"w{number}" for number in range(4, size))])


def padded(sentences: list[list[int]], width: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Int64 [B, S] and [B]: sentences of ids with zeros behind them, and their lengths."""
    width = max(width, *map(len, sentences))
    rows = [sentence + [0] * (width - len(sentence)) for sentence in sentences]
    return torch.tensor(rows), torch.tensor([len(sentence) for sentence in sentences])


configs = st.builds(
    small_config,
    cell=st.sampled_from(CELLS),
    encoder_layers=st.integers(1, 3),
    decoder_layers=st.integers(1, 3),
    encoder_hidden=st.sampled_from([4, 6]),
    decoder_hidden=st.sampled_from([5, 6]),
    attention=st.sampled_from(ATTENTIONS),
    attention_hidden=st.sampled_from([3, 6]),
    upper=st.booleans(),
    state_init=st.sampled_from(STATE_INITS),
    residual=st.booleans(),
    first_residual_layer=st.integers(2, 3),
)
seeds = st.integers(0, 10**6)


def sentences_of(size: int, longest: int = 7, most: int = 5) -> st.SearchStrategy[list[list[int]]]:
    """Batches of sentences of the ids 1 to size - 1."""
    return st.lists(st.lists(st.integers(1, size - 1), min_size=1, max_size=longest), min_size=1, max_size=most)


source_batches = sentences_of(SOURCE_SIZE)
