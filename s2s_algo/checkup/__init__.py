"""Whether a machine has what training and serving need, and what to do where it has not."""
