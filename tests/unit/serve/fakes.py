"""A translator without a model, and an application on it."""

import io
import threading

import numpy as np

from s2s_algo.data.recordio import write_record
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.decoding.translation import Translation
from serve.app import create_app, serving_of
from serve.settings import Settings

VOCABULARY = Vocabulary.from_tokens(["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "Zürich"])


def translation_of(tokens):
    attention = np.eye(len(tokens), dtype=np.float32)[::-1]
    return Translation(tuple(VOCABULARY.encode_tokens(tokens)), tuple(tokens), 0.0, attention)


class FakeTranslator:
    """Reverses sentences.

    Attributes:
        calls: The sources of every call, the one that tries the model out included.
        gate: Holds every call while it is cleared.
        errors: Raised by the next calls, one each; ``None`` lets one call pass.
    """

    def __init__(self):
        self.source_vocabulary = VOCABULARY
        self.calls = []
        self.gate = threading.Event()
        self.gate.set()
        self.errors = []

    def translate(self, sources):
        self.calls.append([list(source) for source in sources])
        self.gate.wait(20)
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        return [translation_of(VOCABULARY.decode(source)[::-1]) for source in sources]


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
