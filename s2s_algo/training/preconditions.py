"""What must hold before a job is put together, beyond its hyperparameters alone. Imports no torch."""

from __future__ import annotations

from s2s_algo.decoding.options import SearchOptions
from s2s_algo.hyperparameters import Hyperparameters


def check_beam(hyperparameters: Hyperparameters, target_vocabulary_size: int) -> None:
    """Raises a ClientError if the vocabulary has too few entries for the beam."""
    SearchOptions(beam_size=hyperparameters.beam_size).check(target_vocabulary_size)
