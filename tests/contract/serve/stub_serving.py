"""A server on a translator that does as it is told, for tests of the processes around it.

It reverses sentences. Some tokens make it slow or ill; environment variables do the same to its loading.
"""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from flask import Flask

from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translation import Translation
from s2s_algo.errors import ClientError
from serve.app import create_app
from serve.settings import Settings

VOCABULARY = Vocabulary.from_tokens(
    ["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "wait", "hang", "fail", "break", "exhaust"]
)


class StubTranslator:
    """Counts what it translates in the file that STUB_COUNT names."""

    def __init__(self) -> None:
        self.source_vocabulary = self.target_vocabulary = VOCABULARY
        self.options = SearchOptions()
        shape = SimpleNamespace(type="rnn", cell_type="lstm", num_layers=1, num_hidden=8)
        config = SimpleNamespace(encoder=shape, decoder=shape)
        self.model = SimpleNamespace(device="cpu", config=config)
        self.num_parameters = 0
        self.is_broken = False

    def stream(self):
        return StubStream(self)

    def translate_one(self, tokens: list[str]) -> Translation:
        if count := os.environ.get("STUB_COUNT"):
            with Path(count).open("a") as file:
                file.write(" ".join(tokens) + "\n")
        for token in tokens:
            if token == "wait":
                time.sleep(0.3)
            elif token == "hang":
                time.sleep(3600)
            elif token == "exhaust":
                import torch

                raise torch.OutOfMemoryError("CUDA out of memory")
            elif token == "break":
                self.is_broken = True
            if token == "fail" or self.is_broken:
                raise RuntimeError("a secret of the model")
        tokens = tokens[::-1]
        attention = np.eye(len(tokens), dtype=np.float32)[::-1]
        return Translation(tuple(VOCABULARY.encode_tokens(tokens)), tuple(tokens), 0.0, attention)


class StubStream:
    """One sentence a step."""

    def __init__(self, translator: StubTranslator) -> None:
        self.translator = translator
        self.submitted: dict[object, list[str]] = {}

    @property
    def is_idle(self) -> bool:
        return not self.submitted

    @property
    def waiting_rows(self) -> int:
        return 5 * len(self.submitted)

    @property
    def running(self) -> int:
        return 0

    def submit(self, source, options) -> object:
        ticket = object()
        self.submitted[ticket] = VOCABULARY.decode(source)
        return ticket

    def withdraw(self, tickets) -> None:
        for ticket in tickets:
            self.submitted.pop(ticket, None)

    def step(self):
        if not self.submitted:
            return []
        ticket, tokens = next(iter(self.submitted.items()))
        del self.submitted[ticket]
        try:
            return [(ticket, [self.translator.translate_one(tokens)])]
        except Exception as error:
            return [(ticket, error)]


def load() -> StubTranslator:
    if "STUB_TORCH" in os.environ:  # as the real one does; it takes a second or two
        import torch

        assert torch.__version__
    time.sleep(float(os.environ.get("STUB_LOAD_SECONDS", "0")))
    if disk := os.environ.get("STUB_DISK"):
        Path(disk).read_bytes()
    match os.environ.get("STUB_LOAD_ERROR", ""):
        case "client":
            raise ClientError("there is no model in the folder; train one", where="/opt/ml/model")
        case "bug":
            raise KeyError("weights")
        case "kill":
            os.kill(os.getpid(), 9)
    return StubTranslator()


def application() -> Flask:
    time.sleep(float(os.environ.get("STUB_START_SECONDS", "0")))
    return create_app(load, Settings.from_environment(os.environ))
