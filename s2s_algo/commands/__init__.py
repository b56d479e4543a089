"""The commands of ``s2s``, one a module; what they need of each other is in modules of its own."""
