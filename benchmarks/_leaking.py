"""A server that keeps something of every request: what a soak test must be able to see."""

from __future__ import annotations

import os

from flask import Flask, Response

import container.serve

APPLICATION = f"{__name__}:application()"

# How much it keeps.
LEAK_BYTES = "S2S_BENCHMARK_LEAK_BYTES"


def application() -> Flask:
    """The real application with a leak."""
    app = container.serve.application()
    size, kept = int(os.environ[LEAK_BYTES]), []

    @app.after_request
    def keep(response: Response) -> Response:
        kept.append(bytearray(b"x") * size)
        return response

    return app
