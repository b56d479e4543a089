"""The endpoint under concurrent load, next to the same sentences offline and to a server that searches them one by one.

A real server process on the loopback interface with an untrained model, whose translations are all as long as they may
be. Clients keep their connection and send one sentence per request, the next one as soon as the last is answered. The
clients run in this process and take CPU time from the server; the shares of both are shown.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import platform
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks._configurations import SIZES
from benchmarks._server import Server, write_model
from benchmarks._synthetic import SOURCE_WORDS
from s2s_algo.decoding.translator import Translator

# Words of a sentence, at least and at most.
_LENGTHS = {"short": (3, 8), "long": (30, 60), "mixed": (3, 60)}

# Every client gets a thread and may wait, as long as it takes.
_ENVIRONMENT = {"S2S_SERVER_THREADS": "300", "S2S_DEADLINE_SECONDS": "0"}
_ONE_BY_ONE = {**_ENVIRONMENT, "S2S_MAX_BATCH_ROWS": "1"}

_TABLE = """\
| clients | requests/s | of offline | p50 ms | p95 ms | p99 ms | fill | server's CPU | client's CPU \
| one by one, requests/s | p50 ms | gain |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class _Latency:
    """How long a request took, or how long it had been waiting when its client gave up.

    Attributes:
        seconds: From the request to the end of its answer.
        is_over: Whether there was an answer.
    """

    seconds: float
    is_over: bool


@dataclass(frozen=True, slots=True)
class _Load:
    """What a load test measured.

    Attributes:
        speed: Requests answered per second.
        latencies: Of all requests but those answered before the measurement began, in ascending order.
        fill: Sentences that were searched together, on average over the steps of the decoder.
        server_cpu: The server's share of a core.
        client_cpu: The clients' share of a core.
    """

    speed: float
    latencies: Sequence[_Latency]
    fill: float
    server_cpu: float
    client_cpu: float

    def percentile(self, share: float) -> str:
        """A percentile of the latencies in milliseconds."""
        latency = self.latencies[int(share * (len(self.latencies) - 1))]
        return f"{'' if latency.is_over else '> '}{1000 * latency.seconds:.0f}"


@click.command()
@click.option("--configuration", type=click.Choice(list(SIZES)), default="small", show_default=True)
@click.option("--clients", default="1,8,32,128", show_default=True, help="Concurrent clients, with commas.")
@click.option("--lengths", default="short,long,mixed", show_default=True, help="Of the sources, with commas.")
@click.option("--seconds", default=15.0, show_default=True, help="Of each measurement, about.")
@click.option("--threads", default=1, show_default=True, help="Of each server process, and offline.")
@click.option("--workers", default=1, show_default=True, help="Server processes.")
def main(configuration: str, clients: str, lengths: str, seconds: float, threads: int, workers: int) -> None:
    """Prints a table per kind of sources."""
    torch.set_num_threads(threads)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}"
    )
    print(f"{configuration} model, beam 5, {workers} server processes with {threads} computing threads each, ", end="")
    print(f"{seconds:g} seconds per measurement")
    processes = {"SAGEMAKER_MODEL_SERVER_WORKERS": str(workers)}
    numbers = [int(number) for number in clients.split(",")]
    with tempfile.TemporaryDirectory(prefix="s2s-bench-") as name:
        base = Path(name)
        write_model(base, SIZES[configuration])
        translator = Translator.load(base / "model")
        for kind in lengths.split(","):
            sources = _sources(*_LENGTHS[kind])
            batched = _offline(translator, sources, seconds)
            print(f"\n{kind} sources: {_LENGTHS[kind][0]} to {_LENGTHS[kind][1]} words")
            print(f"offline: {batched:.1f} sentences/s in batches")
            with Server(base, threads, {**_ONE_BY_ONE, **processes}) as server:
                one_by_one = [_load(server, sources, number, seconds) for number in numbers]
            with Server(base, threads, {**_ENVIRONMENT, **processes}) as server:
                offline, served, more = (1000 * value for value in _alone(server, translator, sources, seconds))
                print(f"one alone, by turns: offline {offline:.1f} ms, served {served:.1f} ms; median of the ", end="")
                print(f"differences {more:+.1f} ms\n\n{_TABLE}")
                for number, other in zip(numbers, one_by_one, strict=True):
                    _row(number, _load(server, sources, number, seconds), other, batched)


def _sources(shortest: int, longest: int) -> list[str]:
    random = np.random.default_rng(1)
    return [
        " ".join(f"w{word}" for word in random.integers(0, SOURCE_WORDS, random.integers(shortest, longest + 1)))
        for _ in range(256)
    ]


def _offline(translator: Translator, sources: Sequence[str], seconds: float) -> float:
    """Sentences per second in batches."""
    ids = [translator.source_vocabulary.encode(source) for source in sources]
    translator.translate(ids[:8])
    began, done = time.perf_counter(), 0
    while not done or time.perf_counter() - began < seconds / 2:
        translator.translate(ids)
        done += len(ids)
    return done / (time.perf_counter() - began)


def _alone(
    server: Server, translator: Translator, sources: Sequence[str], seconds: float
) -> tuple[float, float, float]:
    """Medians of the seconds that one sentence takes offline, of those it takes one client, and of the differences.

    By turns, for the speed of a machine may change from one minute to the next by more than what is looked for.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def serve(source: str) -> None:
        body = json.dumps({"instances": [{"data": source}]})
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        connection.getresponse().read()

    def decode(source: str) -> None:
        translator.translate([translator.source_vocabulary.encode(source)])

    times: dict[Callable[[str], None], list[float]] = {decode: [], serve: []}
    began = time.perf_counter()
    for number, source in enumerate(itertools.cycle(sources)):
        for task in (decode, serve) if number % 2 else (serve, decode):
            start = time.perf_counter()
            task(source)
            times[task].append(time.perf_counter() - start)
        if time.perf_counter() - began > seconds:
            break
    connection.close()
    differences = [served - offline for offline, served in zip(*times.values(), strict=True)]
    return statistics.median(times[decode]), statistics.median(times[serve]), statistics.median(differences)


def _load(server: Server, sources: Sequence[str], clients: int, seconds: float) -> _Load:
    """Sends requests for half as long, then counts what is answered, and waits as long again for what is missing."""
    latencies: queue.SimpleQueue[_Latency] = queue.SimpleQueue()
    bodies = [json.dumps({"instances": [{"data": source}]}) for source in sources]
    answered_in_time: queue.SimpleQueue[None] = queue.SimpleQueue()
    refusals: queue.SimpleQueue[str] = queue.SimpleQueue()
    # At first nothing is answered, and in the end much is half done: what is counted lies between.
    begin = time.perf_counter() + seconds / 2
    end, patience = begin + seconds, begin + 2 * seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        position = number
        while (start := time.perf_counter()) < end:
            connection.timeout = patience - start
            if connection.sock:
                connection.sock.settimeout(connection.timeout)
            try:
                connection.request(
                    "POST", "/invocations", bodies[position % len(bodies)], {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                text = answer.read()
            except TimeoutError:
                latencies.put(_Latency(time.perf_counter() - start, False))
                break
            if answer.status != 200:
                refusals.put(text.decode())
                break
            now = time.perf_counter()
            if now >= begin:
                latencies.put(_Latency(now - start, True))
            if begin <= now < end:
                answered_in_time.put(None)
            position += clients
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, begin - time.perf_counter()))
    before, server_cpu, client_cpu = server.metrics(), server.cpu_seconds(), time.process_time()
    time.sleep(max(0.0, end - time.perf_counter()))
    after, taken = server.metrics(), time.perf_counter() - begin
    server_cpu, client_cpu = server.cpu_seconds() - server_cpu, time.process_time() - client_cpu
    for thread in threads:
        thread.join()
    if not refusals.empty():
        raise click.ClickException(refusals.get())
    steps, sentences = (after[name] - before[name] for name in ("s2s_step_sentences_count", "s2s_step_sentences_sum"))
    found = sorted((latencies.get() for _ in range(latencies.qsize())), key=lambda latency: latency.seconds)
    return _Load(
        answered_in_time.qsize() / seconds, found, sentences / max(1, steps), server_cpu / taken, client_cpu / taken
    )


def _row(clients: int, load: _Load, one_by_one: _Load, batched: float) -> None:
    percentiles = " | ".join(load.percentile(share) for share in (0.5, 0.95, 0.99))
    gain = f"{load.speed / one_by_one.speed:.1f}" if one_by_one.speed else "-"
    print(
        f"| {clients} | {load.speed:.1f} | {load.speed / batched:.0%} | {percentiles} | {load.fill:.1f} "
        f"| {load.server_cpu:.0%} | {load.client_cpu:.0%} | {one_by_one.speed:.1f} | {one_by_one.percentile(0.5)} "
        f"| {gain} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
