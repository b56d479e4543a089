"""The models that are measured, by what differs from the defaults."""

from __future__ import annotations

SIZES = {
    "tiny": {"rnn_num_hidden": "32", "num_embed_source": "32", "num_embed_target": "32"},
    "small": {"rnn_num_hidden": "512", "num_embed_source": "256", "num_embed_target": "256"},
    "default": {},
}

# In which the field compares such models.
COMPARED = {
    "A": SIZES["small"],
    "B": SIZES["default"],
    "C": {
        "encoder_type": "cnn",
        "decoder_type": "cnn",
        "cnn_num_hidden": "512",
        "num_embed_source": "256",
        "num_embed_target": "256",
        "cnn_kernel_width_encoder": "3",
        "cnn_kernel_width_decoder": "5",
        "num_layers_encoder": "3",
        "num_layers_decoder": "3",
        "cnn_activation_type": "glu",
    },
}
