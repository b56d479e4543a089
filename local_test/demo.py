"""Learns to pronounce English words from a dictionary, then asks an endpoint for words it has never seen.

Everything goes through the container's own commands and formats, as it would at SageMaker. `make demo` runs it.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from local_test import local_container
from local_test.corpora import pronunciation_corpus, read_cmudict, spell
from local_test.heat_map import Panel, save_heat_map
from local_test.local_container import ContainerError
from local_test.make_channels import (
    CMUDICT_HYPERPARAMETERS,
    describe,
    lay_out_corpus,
    parse_settings,
    read_hyperparameters,
)
from local_test.predict import RequestError, predict_json
from local_test.scoring import Score, judge, score


@dataclass(frozen=True, slots=True)
class Architecture:
    """How the demo trains one architecture, and what it promises.

    Attributes:
        hyperparameters: The file with its hyperparameters.
        least_accuracy: Share of the unseen words that are right as a whole; with less the demo fails.
        most_phoneme_errors: Phoneme error rate; with more the demo fails.
    """

    hyperparameters: Path
    least_accuracy: float
    most_phoneme_errors: float


ARCHITECTURES = {
    "rnn": Architecture(CMUDICT_HYPERPARAMETERS, least_accuracy=0.60, most_phoneme_errors=0.11),
    "cnn": Architecture(
        CMUDICT_HYPERPARAMETERS.with_name("demo_hyperparameters_cnn.json"),
        least_accuracy=0.60,
        most_phoneme_errors=0.11,
    ),
}

WORDS_PER_REQUEST = 100
WORDS_SHOWN = 20
WORDS_DRAWN = 3

_HEADER = ("word", "predicted", "reference", "")


class Clock:
    """The time that each part of the demo took.

    Args:
        started: When the first part, the set-up, began; seconds since the epoch.
    """

    def __init__(self, started: float) -> None:
        self._started = started
        self._phases = {"set-up": time.time() - started}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announces a part and counts the time until it ends."""
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        yield
        self._phases[name] = time.monotonic() - began

    def report(self) -> str:
        """Returns the time of every part and of the whole."""
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self._phases.items())
        return f"{time.time() - self._started:.0f} s: {parts}"


def ask(url: str, words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the endpoint's prediction, with attention, for every word."""
    predictions: dict[str, dict[str, Any]] = {}
    for start in range(0, len(words), WORDS_PER_REQUEST):
        part = words[start : start + WORDS_PER_REQUEST]
        answer = predict_json(url, [spell(word) for word in part], attention=True)
        predictions.update(zip(part, answer, strict=True))
    return predictions


def format_words(words: Sequence[str], said: Mapping[str, str], accepted: Mapping[str, Sequence[str]]) -> str:
    """Returns a table of words with what the model says and the closest accepted pronunciation."""
    rows = []
    for word in words:
        verdict = judge(said[word], accepted[word])
        rows.append((word, said[word], verdict.reference, "✓" if verdict.right else "✗"))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, _HEADER, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (_HEADER, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def format_checkpoints(checkpoints: Sequence[Mapping[str, float]]) -> str:
    """Returns a line for each checkpoint with its validation metrics."""
    return "\n".join(
        f"checkpoint {number}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        for number, metrics in enumerate(checkpoints, start=1)
    )


def panels_of(words: Sequence[str], predictions: Mapping[str, Mapping[str, Any]]) -> list[Panel]:
    """Returns the attention of each word to its phonemes; words without any phoneme have none."""
    return [
        Panel(list(word), predictions[word]["target"].split(), predictions[word]["matrix"])
        for word in words
        if predictions[word]["target"]
    ]


def broken_promises(result: Score, promised: Architecture) -> list[str]:
    """Returns what is worse than promised, in words."""
    broken = []
    least, most = promised.least_accuracy, promised.most_phoneme_errors
    if result.accuracy < least:
        broken.append(f"{result.accuracy:.1%} of the words are right, promised are {least:.0%}")
    if result.phoneme_error_rate > most:
        broken.append(f"the phoneme error rate is {result.phoneme_error_rate:.1%}, promised are {most:.0%}")
    return broken


def run(folder: Path, hyperparameters: Mapping[str, str], clock: Clock) -> Score:
    """Runs the demo in a folder and prints what happens.

    Raises:
        ContainerError: Training or serving failed.
        RequestError: The endpoint refused to answer.
    """
    opt_ml = folder / "ml"
    with clock.phase("channels"):
        shutil.rmtree(opt_ml, ignore_errors=True)
        corpus = pronunciation_corpus(read_cmudict())
        print(describe(lay_out_corpus(opt_ml, corpus, hyperparameters)))
        print(f"{len(corpus.test)} words are kept for the test; none of them is in a channel")
    with clock.phase("training"):
        log = folder / "train.log"
        local_container.train(opt_ml, log)
    with clock.phase("serving"):
        with local_container.serve(opt_ml, folder / "serve.log") as url:
            print(f"the endpoint is ready at {url}")
            began = time.monotonic()
            predictions = ask(url, list(corpus.test))
            print(f"{len(predictions)} words in {time.monotonic() - began:.1f} s")
        print("the endpoint has stopped")

    said = {word: prediction["target"] for word, prediction in predictions.items()}
    result = score(said, corpus.test)
    # The test words come in the order of their hashes, so the first ones are a fair sample.
    shown = list(corpus.test)[:WORDS_SHOWN]
    print(f"\n== {len(shown)} of the {result.words} unseen words\n{format_words(shown, said, corpus.test)}")
    print("\n== validation during training")
    print(format_checkpoints(local_container.read_validation_metrics(log.read_text(encoding="utf-8").splitlines())))
    panels = panels_of(sorted(shown, key=len)[-WORDS_DRAWN:], predictions)
    picture = folder / "attention.png"
    if panels:
        save_heat_map(panels, picture)
    print("\n== result")
    print(f"unseen words right as a whole: {result.accuracy:.1%} ({result.right_words} of {result.words})")
    print(f"phoneme error rate: {result.phoneme_error_rate:.1%} ({result.phoneme_errors} of {result.phonemes})")
    print(f"attention heat map: {picture}" if panels else "no attention to draw: every target is empty")
    return result


def _leave(signal_number: int, _: object) -> NoReturn:
    """Turns a signal into an exception, so that what was started is stopped on the way out."""
    raise SystemExit(128 + signal_number)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Learns to pronounce English words and shows how well.")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="default: %(default)s")
    parser.add_argument(
        "--arch", choices=ARCHITECTURES, default="rnn", help="of encoder and decoder; default: %(default)s"
    )
    parser.add_argument("--hyperparameters", type=Path, metavar="FILE", help="default: those of the architecture")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="one hyperparameter; may be given repeatedly"
    )
    arguments = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ✓ shows a question mark
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)

    clock = Clock(float(os.environ.get("S2S_DEMO_STARTED", time.time())))
    architecture = ARCHITECTURES[arguments.arch]
    file = arguments.hyperparameters or architecture.hyperparameters
    hyperparameters = read_hyperparameters(file) | parse_settings(arguments.set)
    try:
        result = run(arguments.folder, hyperparameters, clock)
    except (ContainerError, RequestError) as error:
        raise SystemExit(f"demo: {error}") from None
    print(clock.report())
    broken = broken_promises(result, architecture)
    if broken:
        raise SystemExit(f"demo: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
