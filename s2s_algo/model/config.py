"""The shape of a model: everything needed to build it empty, stored as ``model`` in the artifact's config.json."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

CellType = Literal["lstm", "gru"]
AttentionType = Literal["mlp", "dot", "bilinear", "fixed"]
StateInit = Literal["last", "avg", "zero"]
ActivationType = Literal["glu", "relu", "softrelu", "sigmoid", "tanh"]

_Size = Annotated[int, Field(ge=1, le=65_536)]
_Layers = Annotated[int, Field(ge=1, le=100)]
_Probability = Annotated[float, Field(ge=0, le=1)]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class EmbeddingConfig(_Config):
    """A table of V rows of E numbers."""

    vocabulary_size: Annotated[int, Field(ge=4, lt=2**31)]
    size: _Size
    dropout: _Probability = 0.0


class RecurrentEncoderConfig(_Config):
    """One bi-directional layer of H/2 units per direction, then ``num_layers - 1`` forward layers of H units."""

    type: Literal["rnn"] = "rnn"
    cell_type: CellType
    num_layers: _Layers
    num_hidden: Annotated[_Size, Field(multiple_of=2)]
    residual: bool = False
    first_residual_layer: Annotated[int, Field(ge=1)] = 2

    @property
    def output_size(self) -> int:
        """Numbers per source position that the decoder sees."""
        return self.num_hidden


class _ConvolutionalConfig(_Config):
    """Blocks of one convolution each over embeddings and learned positions.

    Attributes:
        kernel_width: Tokens that one convolution sees.
        max_length: Positions that were learned; no longer sequence can be read.
        hidden_dropout: Of what each block reads.
    """

    type: Literal["cnn"] = "cnn"
    num_layers: _Layers
    num_hidden: _Size
    kernel_width: Annotated[int, Field(ge=1, lt=2**31)]
    activation: ActivationType
    max_length: Annotated[int, Field(ge=1, lt=2**31)]
    hidden_dropout: _Probability = 0.0

    @property
    def output_size(self) -> int:
        """Numbers per position that the next part of the model sees."""
        return self.num_hidden


class ConvolutionalEncoderConfig(_ConvolutionalConfig):
    """A convolution sees a token and as many neighbours on one side as on the other."""

    @field_validator("kernel_width")
    @classmethod
    def _is_odd(cls, width: int) -> int:
        if width % 2 == 0:
            raise ValueError("must be odd, for the kernel is centred on its token")
        return width


class AttentionConfig(_Config):
    """How a decoder state scores the source positions; ``num_hidden`` is used by mlp and dot alone."""

    type: AttentionType
    num_hidden: _Size


class RecurrentDecoderConfig(_Config):
    """A stack of cells with attention and input feeding."""

    type: Literal["rnn"] = "rnn"
    cell_type: CellType
    num_layers: _Layers
    num_hidden: _Size
    attention: AttentionConfig
    attention_in_upper_layers: bool = True
    state_init: StateInit = "last"
    residual: bool = False
    first_residual_layer: Annotated[int, Field(ge=1)] = 2
    hidden_dropout: _Probability = 0.0

    @property
    def output_size(self) -> int:
        """Numbers per target position that the output layer sees."""
        return self.num_hidden

    @property
    def feeds_upper_layers(self) -> bool:
        """Whether layer 1 asks the attention and the layers above read its answer; needs a layer above."""
        return self.attention_in_upper_layers and self.num_layers > 1


class ConvolutionalDecoderConfig(_ConvolutionalConfig):
    """A convolution sees a token and those before it; each block asks the attention."""


class ModelConfig(_Config):
    """A whole encoder-decoder; every mix of encoder and decoder fits together."""

    source_embedding: EmbeddingConfig
    target_embedding: EmbeddingConfig
    encoder: Annotated[RecurrentEncoderConfig | ConvolutionalEncoderConfig, Field(discriminator="type")]
    decoder: Annotated[RecurrentDecoderConfig | ConvolutionalDecoderConfig, Field(discriminator="type")]
