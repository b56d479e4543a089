"""Configuration of gunicorn, which reads the names in lower case of this module.

Torch must never be loaded in the master: its threads do not survive a fork. So nothing is preloaded, and what this
module imports is as light as itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gunicorn.errors import HaltServer

from serve.settings import Settings

_settings = Settings.from_environment(os.environ)
_memory_disk = Path("/dev/shm")  # noqa: S108  the heartbeat file must not wait for a slow disk

bind = (
    f"[{_settings.address}]:{_settings.port}" if ":" in _settings.address else f"{_settings.address}:{_settings.port}"
)
workers = _settings.workers
worker_class = "serve.worker.ServingWorker"
threads = _settings.threads
preload_app = False
worker_tmp_dir = str(_memory_disk) if os.access(_memory_disk, os.W_OK) else None

# The heartbeat does not depend on requests or on loading; this long without it means that the process hangs.
timeout = max(60, _settings.server_timeout)
graceful_timeout = _settings.graceful_timeout
# Longer than the idle time of common proxies, so that none of them sends a request into a closing connection.
keepalive = 75

limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190

accesslog = None  # the application writes a line per request with an id
control_socket_disable = True


def child_exit(server: Any, worker: Any) -> None:
    """Ends the server, in the master, if a process ended because the model cannot be served."""
    code = worker.failure_code.get()
    is_stopping = not server.LISTENERS
    if code and not is_stopping:
        raise HaltServer("the model cannot be served", code)
