"""Configuration of gunicorn, which reads the names in lower case of this module.

Torch must never be loaded in the master: its threads do not survive a fork. So nothing is preloaded, and what this
module imports is as light as itself.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from gunicorn.errors import HaltServer

from serve.connections import most_connections
from serve.fair_share import Place
from serve.metrics import forget_process, remove_folder
from serve.settings import Settings, memory_disk

_settings = Settings.from_environment(os.environ)

bind = _settings.socket_address
workers = _settings.workers
worker_class = "serve.worker.ServingWorker"
threads = _settings.threads
worker_connections = most_connections(_settings.threads)
preload_app = False
worker_tmp_dir = memory_disk()  # for the heartbeat file

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


def when_ready(server: Any) -> None:
    """Lets the signal in that ends the server, in the master, which listens from now on.

    The image blocks it before it starts Python: whatever process 1 neither handles nor blocks is lost.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def pre_fork(server: Any, worker: Any) -> None:
    """Gives a process its place among the others, in the master."""
    worker.place = Place([other.place for other in server.WORKERS.values()])


def child_exit(server: Any, worker: Any) -> None:
    """Ends the server, in the master, if a process ended because the model cannot be served, and none serves it."""
    if _settings.metrics_folder is not None:
        forget_process(_settings.metrics_folder, worker.pid)
    worker.place.leave()
    code = worker.failure_code.get()
    is_stopping = not server.LISTENERS
    others_serve = any(other.failure_code.get() == 0 for other in server.WORKERS.values())
    if code and not is_stopping and not others_serve:
        raise HaltServer("the model cannot be served", code)


def on_exit(server: Any) -> None:
    """Tidies up, in the master, when all processes have ended."""
    if _settings.metrics_folder is not None:
        remove_folder(_settings.metrics_folder)
