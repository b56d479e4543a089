"""The HTTP endpoint: formats, limits and errors around a translator."""
