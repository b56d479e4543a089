"""The whole model: embeddings, encoder, decoder and output layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from s2s_algo.model.attention import EncodedSource
from s2s_algo.model.config import ModelConfig
from s2s_algo.model.decoder import Decoder
from s2s_algo.model.decoder_convolutional import ConvolutionalDecoder
from s2s_algo.model.decoder_recurrent import RecurrentDecoder
from s2s_algo.model.embeddings import Embedding
from s2s_algo.model.encoder_convolutional import ConvolutionalEncoder
from s2s_algo.model.encoder_recurrent import RecurrentEncoder


class Seq2Seq(nn.Module):
    """An encoder-decoder with attention. Built with uninitialised weights: initialise or load them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.source_embedding = Embedding(config.source_embedding)
        self.target_embedding = Embedding(config.target_embedding)
        self.encoder = _build_encoder(config)
        self.decoder = _build_decoder(config)
        self.output_layer = nn.Linear(config.decoder.output_size, config.target_embedding.vocabulary_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.source_embedding.weight.device

    def encode(self, source: Tensor, length: Tensor) -> EncodedSource:
        """Encodes.

        Args:
            source: int64 [B, S], padded with 0.
            length: int64 [B], at least 1.
        """
        return self.encoder(self.source_embedding(source), length)

    def forward(
        self, source: Tensor, source_length: Tensor, target_in: Tensor, target_length: Tensor | None = None
    ) -> Tensor:
        """What the output layer sees at every target position, given the tokens before it.

        The output layer is left to the caller, who knows which positions are not padding.

        Args:
            source: int64 [B, S], padded with 0.
            source_length: int64 [B], at least 1.
            target_in: int64 [B, T], ``<s>`` and the target tokens, padded with 0.
            target_length: int64 [B], how many of these count, at least 1; ``None`` for all. What is given for others
                may be anything.

        Returns:
            float [B, T, H].
        """
        encoded = self.encode(source, source_length)
        return self.decoder(self.target_embedding(target_in), encoded, target_length)


def _build_encoder(config: ModelConfig) -> RecurrentEncoder | ConvolutionalEncoder:
    input_size = config.source_embedding.size
    if config.encoder.type == "rnn":
        return RecurrentEncoder(config.encoder, input_size)
    return ConvolutionalEncoder(config.encoder, input_size)


def _build_decoder(config: ModelConfig) -> Decoder[Any]:
    input_size, source_size = config.target_embedding.size, config.encoder.output_size
    if config.decoder.type == "rnn":
        return RecurrentDecoder(config.decoder, input_size, source_size)
    return ConvolutionalDecoder(config.decoder, input_size, source_size)
