"""Training processes that are forks of this one: to start them anew, torch would have to be imported in each."""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2s_algo.training.workers import Workers, joined


def together(folder: Path, size: int, work: Callable[[Workers], Any], local_size: int | None = None) -> list[Any]:
    """Runs work in so many processes.

    Args:
        folder: For what they return.
        size: How many.
        work: What each does.
        local_size: How many are on a machine, as far as they know; by default all.

    Returns:
        What work returned in each, by rank; None where it failed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    local_size = local_size or size
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
                os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size)}
                with joined(rank, size, rank % local_size, local_size) as workers:
                    result = work(workers)
                (folder / str(rank)).write_bytes(pickle.dumps(result))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return [pickle.loads((folder / str(rank)).read_bytes()) if code == 0 else None for rank, code in enumerate(codes)]
