"""Very many requests of all kinds to one server: are all answers right, and does its memory stay what it was?

A real server process with a tiny untrained model. Most requests are sentences in one of the three formats, whose
answers are compared with those of a decoding of their own; some are hostile and must be refused as the documentation
says.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks import _leaking
from benchmarks._exchange import Client, Exchange, Verdict, judge
from benchmarks._good_requests import good_requests, write_tiny_model
from benchmarks._hostile_requests import READ_TIMEOUT, hostile_requests
from benchmarks._server import APPLICATION, Server
from s2s_algo.decoding.translator import Translator

_SAMPLES = 200

# Bytes per request. oneDNN keeps what it has prepared for the last 1,024 shapes of matrices, some 25 MiB. Until it has
# met so many, memory grows ever more slowly: by about 100 bytes per request in the second half of 100,000.
_LIMIT = 250.0
_LEAK = 1_000
_MOST_KINDS_SHOWN = 20
# In which searches end that nobody waits for.
_REST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to the server.

    Attributes:
        requests: How many.
        hostile: Their share.
        clients: That send them, at the same time.
        kinds: Different good requests.
        stalled: Whether some clients wait until the server loses its patience with them.
        seed: Of the choice.
        shape_cache: Whether the server's oneDNN keeps what it has prepared for shapes of matrices. Without, memory
            comes to rest after some hundreds of requests.
    """

    requests: int = 100_000
    hostile: float = 0.05
    clients: int = 16
    kinds: int = 600
    stalled: bool = True
    seed: int = 0
    shape_cache: bool = True


class Outcome:
    """What has happened so far; for several threads.

    Attributes:
        statuses: How often each came.
        wrong: How often each kind of request went in another way than it should.
        complaints: The first of each kind.
        memory: Exchanges that were over, and MiB that the server held, again and again.
    """

    def __init__(self, plan: Plan, resident: Callable[[], float], show: Callable[[str], None]) -> None:
        self._plan = plan
        self._resident = resident
        self._show = show
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self.seconds = 0.0
        self.done = 0
        self.statuses: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()
        self.complaints: dict[str, str] = {}
        self.memory: list[tuple[int, float]] = []

    def add(self, name: str, verdict: Verdict) -> None:
        """Counts an exchange."""
        with self._lock:
            self.done += 1
            self.statuses[verdict.status] += 1
            if verdict.complaint:
                self.wrong[name] += 1
                self.complaints.setdefault(name, verdict.complaint)
            if self.done % max(1, self._plan.requests // _SAMPLES) == 0:
                self.memory.append((self.done, self._resident()))
            self.seconds = time.monotonic() - self._began
            if self.done % max(1, self._plan.requests // 10) == 0:
                speed = self.done / self.seconds
                self._show(f"{self.done:8} requests, {speed:6.0f}/s, {self._resident():6.1f} MiB")

    def growth(self) -> float:
        """The slope of the memory over the second half, in bytes per request."""
        late = [point for point in self.memory if point[0] > self._plan.requests / 2]
        requests, sizes = np.array(late).T
        return float(np.polyfit(requests, sizes, 1)[0]) * (1 << 20)


class Soak:
    """A model and what is asked of it.

    Args:
        base: An empty folder.
        plan: What is done.
    """

    def __init__(self, base: Path, plan: Plan) -> None:
        self._base = base
        self._plan = plan
        write_tiny_model(base)
        self._good = good_requests(Translator.load(base / "model"), plan.kinds)
        self._hostile = hostile_requests(self._good, plan.stalled)

    def run(self, leak: int = 0, show: Callable[[str], None] = print) -> Outcome:
        """Does it to a server of its own.

        Args:
            leak: Bytes that the server keeps of every request; 0 for the real server.
            show: Told how it goes.
        """
        plan = self._plan
        environment = {"S2S_READ_TIMEOUT_SECONDS": str(READ_TIMEOUT), _leaking.LEAK_BYTES: str(leak)}
        if not plan.shape_cache:
            environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "0"
        application = _leaking.APPLICATION if leak else APPLICATION
        with Server(self._base, 1, environment, application, self._base / "log") as server:
            outcome = Outcome(plan, server.resident, show)
            cpu = server.cpu_seconds(), time.process_time()
            _run_threads(plan.clients, lambda number: self._client(number, server, outcome))
            shares = [used / outcome.seconds for used in (server.cpu_seconds() - cpu[0], time.process_time() - cpu[1])]
            for complaint in _complaints_at_rest(server, self._base / "log"):
                outcome.add("at rest", Verdict(0, complaint))
            numbers = server.metrics()
        fill = numbers["s2s_step_sentences_sum"] / max(1, numbers["s2s_step_sentences_count"])
        show(f"CPU: server {shares[0]:.0%} of a core, clients {shares[1]:.0%}; {fill:.1f} sentences searched together")
        return outcome

    def _client(self, number: int, server: Server, outcome: Outcome) -> None:
        plan = self._plan
        draw = random.Random(plan.seed * plan.clients + number)
        client = Client(server.port)
        for _ in range(number, plan.requests, plan.clients):
            exchange = self._choice(draw)
            try:
                verdict = exchange.perform(client)
            except OSError as error:
                verdict = Verdict(0, repr(error))
            outcome.add(exchange.name, verdict)
            if verdict.complaint and not server.is_alive():
                outcome.add("server", Verdict(0, "it has ended"))
                break
        client.close()

    def _choice(self, draw: random.Random) -> Exchange:
        luck = draw.random()
        if luck < self._plan.hostile:
            return draw.choice(self._hostile)
        if luck < self._plan.hostile + _ROUTINE_SHARE:
            return draw.choice(_ROUTINE)
        return draw.choice(self._good)


def _complaints_at_rest(server: Server, log: Path) -> Iterator[str]:
    """What is wrong with a server to which nobody speaks any more."""
    patience = time.monotonic() + _REST_SECONDS
    while any(busy := _busy(server.metrics())) and time.monotonic() < patience:
        time.sleep(0.1)
    if any(busy):
        yield f"requests in flight, waiting requests and waiting tokens are {busy}"
    text = log.read_text(errors="replace")
    for trouble in ("Traceback", "internal error"):
        if trouble in text:
            start = text.index(trouble)
            yield f"the log has {text[start : start + 1000]!r}"


def _busy(numbers: Mapping[str, float]) -> tuple[float, float, float]:
    in_flight = numbers["s2s_requests_in_flight"] - 1  # the question itself
    return in_flight, numbers["s2s_waiting_requests"], numbers["s2s_waiting_source_tokens"]


@dataclass(frozen=True, slots=True)
class _Get:
    """What platforms ask for again and again."""

    name: str

    def perform(self, client: Client) -> Verdict:
        return judge(client.request("GET", self.name, b"", {})[0], frozenset({200}))


_ROUTINE: Sequence[Exchange] = [_Get("/ping"), _Get("/ping"), _Get("/metrics"), _Get("/execution-parameters")]
_ROUTINE_SHARE = 0.02


def _run_threads(number: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(which,)) for which in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


_USUAL = Plan()


@click.command()
@click.option("--requests", default=_USUAL.requests, show_default=True)
@click.option("--clients", default=_USUAL.clients, show_default=True, help="At the same time.")
@click.option("--hostile", default=_USUAL.hostile, show_default=True, help="Share of the requests.")
@click.option("--seed", default=_USUAL.seed, show_default=True, help="Of the choice of requests.")
@click.option("--leak", is_flag=True, help=f"Run a server that keeps {_LEAK:,} bytes of every request; must fail.")
@click.option("--limit", default=_LIMIT, show_default=True, help="Bytes per request by which the memory may grow.")
def main(requests: int, clients: int, hostile: float, seed: int, leak: bool, limit: float) -> None:
    """Prints what came back and how the memory went; fails if anything was wrong."""
    torch.set_num_threads(1)
    plan = Plan(requests, hostile, clients, seed=seed)
    with tempfile.TemporaryDirectory(prefix="s2s-soak-") as name:
        outcome = Soak(Path(name), plan).run(_LEAK if leak else 0)
    print(f"{outcome.done} requests in {outcome.seconds:.0f} s; statuses: {dict(sorted(outcome.statuses.items()))}")
    print(f"wrong: {sum(outcome.wrong.values())}")
    for kind, number in outcome.wrong.most_common(_MOST_KINDS_SHOWN):
        print(f"  {number} x {kind}: {outcome.complaints[kind]}")
    growth = outcome.growth()
    print(f"memory over the second half: {growth:+.0f} bytes per request; at most {limit:.0f} are allowed")
    if outcome.wrong or growth > limit:
        raise click.ClickException("the server did not do as it should")


if __name__ == "__main__":
    main()
