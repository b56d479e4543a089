"""Weights and state on disk: written once, verified when read."""
