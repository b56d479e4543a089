"""The training loop and its verbs."""
