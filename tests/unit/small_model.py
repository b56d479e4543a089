"""Small models with random weights, and strategies that draw their shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st

from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.model.attention import EncodedSource
from s2s_algo.model.config import (
    AttentionConfig,
    ConvolutionalDecoderConfig,
    ConvolutionalEncoderConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.seq2seq import Seq2Seq

SOURCE_SIZE, TARGET_SIZE = 13, 11

# What convolutional parts have learned; more than any test needs.
SOURCE_POSITIONS, TARGET_POSITIONS = 15, 27

ARCHITECTURES = ("rnn", "cnn")
CELLS = ("lstm", "gru")
ATTENTIONS = ("mlp", "dot", "bilinear", "fixed")
STATE_INITS = ("last", "avg", "zero")
ACTIVATIONS = ("glu", "relu", "softrelu", "sigmoid", "tanh")


def small_config(
    *,
    encoder: str = "rnn",
    decoder: str = "rnn",
    encoder_layers: int = 1,
    decoder_layers: int = 1,
    encoder_hidden: int = 6,
    decoder_hidden: int = 6,
    encoder_dropout: float = 0.0,
    hidden_dropout: float = 0.0,
    source_dropout: float = 0.0,
    target_dropout: float = 0.0,
    cell: str = "lstm",
    attention: str = "mlp",
    attention_hidden: int = 5,
    upper: bool = True,
    state_init: str = "last",
    residual: bool = False,
    first_residual_layer: int = 2,
    encoder_kernel: int = 3,
    decoder_kernel: int = 2,
    encoder_activation: str = "glu",
    decoder_activation: str = "glu",
) -> ModelConfig:
    """Differs in all sizes unless told otherwise, so that no two of them can be mistaken for each other.

    What only recurrent or only convolutional parts know is ignored by others. ``hidden_dropout`` is that of the
    decoder; ``encoder_dropout`` is that of a convolutional encoder.
    """
    recurrent: dict[str, Any] = {
        "cell_type": cell,
        "residual": residual,
        "first_residual_layer": first_residual_layer,
    }
    encoders = {
        "rnn": lambda: RecurrentEncoderConfig(num_layers=encoder_layers, num_hidden=encoder_hidden, **recurrent),
        "cnn": lambda: ConvolutionalEncoderConfig(
            num_layers=encoder_layers,
            num_hidden=encoder_hidden,
            kernel_width=encoder_kernel,
            activation=encoder_activation,
            max_length=SOURCE_POSITIONS,
            hidden_dropout=encoder_dropout,
        ),
    }
    decoders = {
        "rnn": lambda: RecurrentDecoderConfig(
            num_layers=decoder_layers,
            num_hidden=decoder_hidden,
            attention=AttentionConfig(type=attention, num_hidden=attention_hidden),
            attention_in_upper_layers=upper,
            state_init=state_init,
            hidden_dropout=hidden_dropout,
            **recurrent,
        ),
        "cnn": lambda: ConvolutionalDecoderConfig(
            num_layers=decoder_layers,
            num_hidden=decoder_hidden,
            kernel_width=decoder_kernel,
            activation=decoder_activation,
            max_length=TARGET_POSITIONS,
            hidden_dropout=hidden_dropout,
        ),
    }
    return ModelConfig(
        source_embedding=EmbeddingConfig(vocabulary_size=SOURCE_SIZE, size=4, dropout=source_dropout),
        target_embedding=EmbeddingConfig(vocabulary_size=TARGET_SIZE, size=3, dropout=target_dropout),
        encoder=encoders[encoder](),
        decoder=decoders[decoder](),
    )


def small_model(config: ModelConfig | None = None, seed: int = 0, scale: float = 1.0) -> Seq2Seq:
    """A model in evaluation mode whose numbers, biases included, are drawn from U(-scale, scale).

    Kernels have smaller ones, or else their many products make every attention look at one word alone.
    """
    model = Seq2Seq(config or small_config())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            bound = scale / math.sqrt(parameter[0].numel()) if parameter.dim() == 3 else scale
            parameter.uniform_(-bound, bound, generator=generator)
    return model.eval()


def step_by_step(model: Seq2Seq, encoded: EncodedSource, embedded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The answers [B, T, H] and the attention weights [B, T, S] of one step of a search after the other.

    Args:
        model: Whose decoder is used.
        encoded: Of B sentences.
        embedded: [B, T, E], the embeddings of the target tokens.
    """
    state, memory = model.decoder.start(encoded)
    answers, attention = [], []
    for step in embedded.unbind(1):
        answer, state, weights = model.decoder.step(step, state, memory)
        answers.append(answer)
        attention.append(weights)
    return torch.stack(answers, 1), torch.stack(attention, 1)


def vocabulary(size: int) -> Vocabulary:
    """``<pad>``, ``<unk>``, ``<s>``, ``</s>``, then w4, w5 and so on."""
    return Vocabulary.from_tokens([*SPECIAL_TOKENS, *(f"w{number}" for number in range(4, size))])


def padded(sentences: list[list[int]], width: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Int64 [B, S] and [B]: sentences of ids with zeros behind them, and their lengths."""
    width = max(width, *map(len, sentences))
    rows = [sentence + [0] * (width - len(sentence)) for sentence in sentences]
    return torch.tensor(rows), torch.tensor([len(sentence) for sentence in sentences])


def configs_of(
    encoders: Sequence[str] = ARCHITECTURES, decoders: Sequence[str] = ARCHITECTURES
) -> st.SearchStrategy[ModelConfig]:
    """Configurations with such encoders and decoders; their widths are sometimes equal."""
    return st.builds(
        small_config,
        encoder=st.sampled_from(encoders),
        decoder=st.sampled_from(decoders),
        encoder_layers=st.integers(1, 3),
        decoder_layers=st.integers(1, 3),
        encoder_hidden=st.sampled_from([4, 6]),
        decoder_hidden=st.sampled_from([5, 6]),
        cell=st.sampled_from(CELLS),
        attention=st.sampled_from(ATTENTIONS),
        attention_hidden=st.sampled_from([3, 6]),
        upper=st.booleans(),
        state_init=st.sampled_from(STATE_INITS),
        residual=st.booleans(),
        first_residual_layer=st.integers(2, 3),
        encoder_kernel=st.sampled_from([1, 3, 5]),
        decoder_kernel=st.integers(1, 5),
        encoder_activation=st.sampled_from(ACTIVATIONS),
        decoder_activation=st.sampled_from(ACTIVATIONS),
    )


configs = configs_of()
seeds = st.integers(0, 10**6)


def sentences_of(size: int, longest: int = 7, most: int = 5) -> st.SearchStrategy[list[list[int]]]:
    """Batches of sentences of the ids 1 to size - 1."""
    return st.lists(st.lists(st.integers(1, size - 1), min_size=1, max_size=longest), min_size=1, max_size=most)


source_batches = sentences_of(SOURCE_SIZE)


@st.composite
def parallel(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Sources, and as many targets, of random lengths."""
    sources = draw(source_batches)
    target = st.lists(st.integers(1, TARGET_SIZE - 1), min_size=1, max_size=6)
    return sources, draw(st.lists(target, min_size=len(sources), max_size=len(sources)))
