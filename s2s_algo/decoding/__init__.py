"""Beam search and the translator: from source ids to translations."""
