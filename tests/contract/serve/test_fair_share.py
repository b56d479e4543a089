import os
import signal
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


def connections_of(pid, port):
    """Connections to a port that a process has accepted."""
    established = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if local.endswith(f":{port:04X}") and state == "01":
            established.add(f"socket:[{inode}]")
    held = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held += str(file.readlink()) in established
        except FileNotFoundError:  # closed meanwhile
            continue
    return held


def start_with(start_server, processes):
    """Returns a server all of whose processes take connections."""
    server = start_server(SAGEMAKER_MODEL_SERVER_WORKERS=str(processes))
    server.wait_for_models(processes)
    time.sleep(1.5)  # the last one looks once a second whether it may take connections
    return server


@contextmanager
def suspended(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("processes", [2, 3])
def test_kept_connections_are_spread_evenly_over_the_processes(start_server, processes):
    server = start_with(start_server, processes)
    limit = time.monotonic() + 30
    with ExitStack() as stack:
        for _ in range(12 * processes):
            stack.enter_context(server.connect())
            time.sleep(0.01)
        while sum(held := [connections_of(pid, server.port) for pid in server.workers()]) < 12 * processes:
            assert time.monotonic() < limit, held
            time.sleep(0.05)
    # Two that look at the same time may both be the one with the fewest.
    assert max(held) - min(held) <= 2 * (processes - 1), held


def test_a_process_that_is_stuck_does_not_keep_others_from_taking_connections(start_server):
    server = start_with(start_server, 2)
    stuck, _ = server.workers()
    with suspended(stuck):
        started = time.monotonic()
        kept = [server.connect() for _ in range(10)]
        for _ in range(10):
            assert server.translate("a b").status_code == 200
        assert time.monotonic() - started < 5
        for connection in kept:
            connection.close()
