"""Models of the original software: read, checked and turned into our artifact."""
