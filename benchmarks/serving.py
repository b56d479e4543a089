"""The endpoint under concurrent load, next to the same sentences offline.

A real server process on the loopback interface with an untrained model, whose translations are all as long as they may
be. Clients keep their connection and send one sentence per request, the next one as soon as the last is answered. The
clients run in this process and take CPU time from the server; their share is shown.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks._synthetic import SOURCE_WORDS, vocabularies, write_channels
from s2s_algo.checkpoints.artifact import save_artifact
from s2s_algo.decoding.translator import Translator
from s2s_algo.hyperparameters import validate
from s2s_algo.training.assembly import assemble

_CONFIGURATIONS = {
    "tiny": {"rnn_num_hidden": "32", "num_embed_source": "32", "num_embed_target": "32"},
    "small": {"rnn_num_hidden": "512", "num_embed_source": "256", "num_embed_target": "256"},
    "default": {},
}
# Words of a sentence, at least and at most.
_LENGTHS = {"short": (3, 8), "long": (30, 60), "mixed": (3, 60)}


@dataclass(frozen=True, slots=True)
class _Load:
    """What a load test measured.

    Attributes:
        seconds: From the first request to the last answer.
        latencies: Seconds of each request.
        client_cpu: CPU seconds of this process.
    """

    seconds: float
    latencies: Sequence[float]
    client_cpu: float


@click.command()
@click.option("--configuration", type=click.Choice(list(_CONFIGURATIONS)), default="small", show_default=True)
@click.option("--clients", default="1,8,32,128", show_default=True, help="Concurrent clients, with commas.")
@click.option("--lengths", default="short,long,mixed", show_default=True, help="Of the sources, with commas.")
@click.option("--seconds", default=20.0, show_default=True, help="Of each measurement, about.")
@click.option("--threads", default=1, show_default=True, help="Of the server, and offline.")
def main(configuration: str, clients: str, lengths: str, seconds: float, threads: int) -> None:
    """Prints a table per kind of sources."""
    with tempfile.TemporaryDirectory(prefix="s2s-bench-") as name:
        base = Path(name)
        _write_model(base, _CONFIGURATIONS[configuration])
        torch.set_num_threads(threads)
        translator = Translator.load(base / "model")
        with _server(base, threads) as port:
            for kind in lengths.split(","):
                sources = _sources(*_LENGTHS[kind])
                batched, alone = _offline(translator, sources, seconds)
                print(f"\n{kind} sources, {configuration} model, {threads} threads")
                print(f"offline: {batched:.1f} sentences/s in batches, {1000 * alone:.1f} ms for one alone")
                print("| clients | sentences/s | of offline | p50 ms | p95 ms | p99 ms | client's share of a core |")
                print("|---|---|---|---|---|---|---|")
                for number in map(int, clients.split(",")):
                    _row(number, _load(port, sources, number, seconds), batched)


def _write_model(base: Path, hyperparameters: dict[str, str]) -> None:
    folder = base / "job"
    folder.mkdir()
    assembled = assemble(
        validate(hyperparameters).hyperparameters,
        write_channels(folder, 500),
        vocabularies(),
        scratch=folder / "corpus",
        checkpoints=folder / "checkpoints",
        host="benchmark",
        stop_requested=lambda: False,
    )
    save_artifact(assembled.artifact(), base / "model")


def _sources(shortest: int, longest: int) -> list[str]:
    random = np.random.default_rng(1)
    return [
        " ".join(f"w{word}" for word in random.integers(0, SOURCE_WORDS, random.integers(shortest, longest + 1)))
        for _ in range(256)
    ]


def _offline(translator: Translator, sources: Sequence[str], seconds: float) -> tuple[float, float]:
    """Sentences per second in batches, and seconds for a sentence alone (the median)."""
    ids = [translator.source_vocabulary.encode(source) for source in sources]
    translator.translate(ids[:8])
    began, done = time.perf_counter(), 0
    while not done or time.perf_counter() - began < seconds / 2:
        translator.translate(ids)
        done += len(ids)
    batched = done / (time.perf_counter() - began)
    alone = []
    began = time.perf_counter()
    for source in ids:
        start = time.perf_counter()
        translator.translate([source])
        alone.append(time.perf_counter() - start)
        if time.perf_counter() - began > seconds / 2:
            break
    return batched, statistics.median(alone)


@contextmanager
def _server(base: Path, threads: int) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "S2S_BIND_ADDRESS": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "S2S_SERVER_THREADS": "300",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "WARNING",
        "OMP_NUM_THREADS": str(threads),
    }
    server = subprocess.Popen([sys.executable, "-m", "container.entrypoint", "serve"], env=environment)
    try:
        while not _is_ready(port):
            if server.poll() is not None:
                raise click.ClickException(f"the server ended with exit code {server.returncode}")
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _load(port: int, sources: Sequence[str], clients: int, seconds: float) -> _Load:
    latencies: queue.SimpleQueue[float] = queue.SimpleQueue()
    end = time.perf_counter() + seconds
    bodies = [json.dumps({"instances": [{"data": source}]}) for source in sources]

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        position = number
        while time.perf_counter() < end:
            start = time.perf_counter()
            body = bodies[position % len(bodies)]
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise click.ClickException(text.decode())
            latencies.put(time.perf_counter() - start)
            position += clients
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken, used = time.perf_counter() - began, time.process_time() - cpu
    return _Load(taken, sorted(latencies.get() for _ in range(latencies.qsize())), used)


def _row(clients: int, load: _Load, batched: float) -> None:
    speed = len(load.latencies) / load.seconds
    p50, p95, p99 = (1000 * load.latencies[int(share * (len(load.latencies) - 1))] for share in (0.5, 0.95, 0.99))
    share = load.client_cpu / load.seconds
    print(
        f"| {clients} | {speed:.1f} | {speed / batched:.0%} | {p50:.0f} | {p95:.0f} | {p99:.0f} | {share:.0%} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
