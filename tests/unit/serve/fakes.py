"""A translator without a model, and an application on it."""

import io
import threading
import time
from types import SimpleNamespace

import numpy as np

from s2s_algo.data.recordio import write_record
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translation import Translation
from serve.app import create_app, serving_of
from serve.settings import Settings

VOCABULARY = Vocabulary.from_tokens(["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "Zürich"])


def translation_of(tokens, score=0.0):
    attention = np.eye(len(tokens), dtype=np.float32)[::-1]
    return Translation(tuple(VOCABULARY.encode_tokens(tokens)), tuple(tokens), float(score), attention)


class FakeTranslator:
    """Reverses sentences.

    Attributes:
        calls: The sources of every step, the one that tries the model out included.
        options_of_calls: Their options.
        gate: Holds every step while it is cleared.
        errors: Outcomes of the next steps, one each; ``None`` lets one pass.
        most: Sentences in a step.
    """

    def __init__(self):
        self.source_vocabulary = self.target_vocabulary = VOCABULARY
        self.options = SearchOptions(beam_size=3)
        self.model = SimpleNamespace(device="cpu")
        self.calls = []
        self.options_of_calls = []
        self.gate = threading.Event()
        self.gate.set()
        self.errors = []
        self.most = 64

    def stream(self):
        return FakeStream(self)


class SlowGate:
    """In place of a gate: each step takes some time."""

    def wait(self, _timeout):
        time.sleep(0.01)

    def set(self):
        """It is never closed."""


class FakeStream:
    """Answers at each step the sources that came first."""

    def __init__(self, translator):
        self.translator = translator
        self.submitted = {}

    @property
    def is_idle(self):
        return not self.submitted

    @property
    def waiting_rows(self):
        return sum(options.beam_size for _, options in self.submitted.values())

    @property
    def running(self):
        return 0

    def submit(self, source, options):
        ticket = object()
        self.submitted[ticket] = (list(source), options)
        return ticket

    def withdraw(self, tickets):
        for ticket in tickets:
            self.submitted.pop(ticket, None)

    def step(self):
        translator = self.translator
        taken = list(self.submitted.items())[: translator.most]
        for ticket, _ in taken:
            del self.submitted[ticket]
        if not taken:
            return []
        translator.calls.append([source for _, (source, _) in taken])
        translator.options_of_calls.append([options for _, (_, options) in taken])
        translator.gate.wait(20)
        if translator.errors and (error := translator.errors.pop(0)) is not None:
            return [(ticket, error) for ticket, _ in taken]
        return [
            (ticket, [translation_of(VOCABULARY.decode(source)[::-1], rank) for rank in range(options.n_best)])
            for ticket, (source, options) in taken
        ]


def frame(payload):
    stream = io.BytesIO()
    write_record(stream, payload)
    return stream.getvalue()


def started_app(settings=None, translator=None):
    app = create_app(lambda: translator or FakeTranslator(), settings or Settings(port=1))
    ready = threading.Event()
    serving_of(app).service.start(on_ready=ready.set, on_load_failure=print)
    assert ready.wait(10)
    return app
