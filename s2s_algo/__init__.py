"""Sequence-to-sequence models with attention: data, training, decoding, artifacts."""
