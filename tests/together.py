"""Training processes that are forks of this one: to start them anew, torch would have to be imported in each."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from s2s_algo.training.workers import Workers, joined


def together(size: int, work: Callable[[Workers], Any], local_size: int | None = None) -> list[Any]:
    """Runs work in so many processes.

    Args:
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

    def run(rank: int, told: Connection) -> None:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size)}
        with joined(rank, size, rank % local_size, local_size) as workers:
            result = work(workers)
        told.send(result)

    fork = multiprocessing.get_context("fork")
    children = []
    for rank in range(size):
        here, there = fork.Pipe(duplex=False)
        process = fork.Process(target=run, args=(rank, there))
        process.start()
        there.close()
        children.append((process, here))
    results = [_received(here) for _, here in children]
    for process, _ in children:
        process.join()
    return results


def _received(here: Connection) -> Any:
    try:
        return here.recv()
    except EOFError:
        return None
