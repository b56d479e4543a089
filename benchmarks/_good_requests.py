"""Requests of all formats and options with the answers that they must have, from a decoding of their own."""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks._exchange import Client, Verdict
from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.data.pairs import encode_pair, parse_record, read_tokens
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed, write_record
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translation import Translation, replace_unknown
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.config import (
    AttentionConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from s2s_algo.model.seq2seq import Seq2Seq

JSON, LINES, RECORDS = "application/json", "application/jsonlines", "application/x-recordio-protobuf"

_WORDS = 50
_HIDDEN = 32
# A source that is longer is cut into pieces.
_LONGEST_SOURCE = 12

_OPTIONS: Sequence[Mapping[str, Any]] = (
    {},
    {},
    {},
    {},
    {"attention_matrix": "true"},
    {"n_best": 3, "scores": True},
    {"beam_size": "1"},
    {"beam_size": 8, "n_best": 2, "attention_matrix": True},
    {"max_output_length": 4, "scores": "true"},
    {"length_penalty_alpha": 0.5, "length_penalty_beta": 1},
    {"replace_unknown": "true"},
)
_OF_SEARCH = ("n_best", "beam_size", "max_output_length", "length_penalty_alpha", "length_penalty_beta")

# Of scores and attention weights, which depend in their last bits on who shares the batch.
_TOLERANCE = 1e-4

_MOST_ANSWERS_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A source and what has to become of it.

    Attributes:
        text: Its tokens.
        ids: Their ids.
        options: Its ``configuration``.
        answer: The answer in JSON.
        target: The ids of the best translation.
    """

    text: str
    ids: Sequence[int]
    options: Mapping[str, Any]
    answer: Mapping[str, Any]
    target: Sequence[int]


@dataclass(slots=True)
class GoodRequest:
    """A request whose answer is known.

    Attributes:
        name: For the report.
        body: What is sent.
        headers: With it.
        check: Tells what is wrong with the body of an answer; empty if nothing is.
    """

    name: str
    body: bytes
    headers: Mapping[str, str]
    check: Callable[[bytes], str]
    _right: set[bytes] = field(default_factory=set)  # answers that were checked

    def perform(self, client: Client) -> Verdict:
        """Sends it on the connection that the client keeps."""
        return self.judge(*client.request("POST", "/invocations", self.body, self.headers))

    def judge(self, status: int, answer: bytes) -> Verdict:
        """What to think of an answer."""
        if status != 200:
            return Verdict(status, f"status {status} in place of 200: {answer[:200]!r}")
        if answer in self._right:
            return Verdict(status)
        complaint = self.check(answer)
        if not complaint and len(self._right) < _MOST_ANSWERS_REMEMBERED:
            self._right.add(answer)
        return Verdict(status, complaint)

    def raw(self) -> bytes:
        """The same as bytes, for a connection that it has to itself."""
        lines = ["POST /invocations HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def write_tiny_model(base: Path) -> None:
    """Leaves a tiny model that is sure of itself, whatever it says, where a server looks for it."""
    torch.manual_seed(3)
    source, target = (
        Vocabulary.from_tokens([*SPECIAL_TOKENS, *(f"{letter}{number}" for number in range(_WORDS))]) for letter in "st"
    )
    config = ModelConfig(
        source_embedding=EmbeddingConfig(vocabulary_size=len(source), size=_HIDDEN),
        target_embedding=EmbeddingConfig(vocabulary_size=len(target), size=_HIDDEN),
        encoder=RecurrentEncoderConfig(cell_type="lstm", num_layers=1, num_hidden=_HIDDEN),
        decoder=RecurrentDecoderConfig(
            cell_type="lstm",
            num_layers=1,
            num_hidden=_HIDDEN,
            attention=AttentionConfig(type="mlp", num_hidden=_HIDDEN),
        ),
    )
    model = Seq2Seq(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
    limits = LengthLimits(
        max_input_length=_LONGEST_SOURCE, ratio_mean=0.9, ratio_std=0.1, max_output_length=_LONGEST_SOURCE
    )
    save_artifact(Artifact(model, InferenceConfig(beam_size=3, limits=limits), source, target), base / "model")


def good_requests(translator: Translator, number: int, seed: int = 7) -> list[GoodRequest]:
    """Draws requests; their sentences come again in several of them.

    Args:
        translator: Of the model that the server has.
        number: How many.
        seed: Of the drawing.
    """
    draw = random.Random(seed)
    sentences = _sentences(translator, draw, max(1, number // 2))
    makers = (_json, _json, _texts, _lines, _records, _records_for_lines)
    return [draw.choice(makers)(draw, sentences) for _ in range(number)]


# -- sentences -----------------------------------------------------------------------------------------------------


def _sentences(translator: Translator, draw: random.Random, number: int) -> list[_Sentence]:
    vocabulary = translator.source_vocabulary
    by_options: dict[int, list[tuple[str, list[int]]]] = {}
    for _ in range(number):
        length = draw.choice([*range(9), *range(1, 9), draw.randint(_LONGEST_SOURCE - 1, 4 * _LONGEST_SOURCE)])
        text = " ".join(f"s{draw.randrange(_WORDS)}" if draw.random() < 0.95 else "unknown" for _ in range(length))
        by_options.setdefault(draw.randrange(len(_OPTIONS)), []).append((text, list(vocabulary.encode(text))))
    found = []
    for which, group in by_options.items():
        wanted = {name: _OPTIONS[which][name] for name in _OF_SEARCH if name in _OPTIONS[which]}
        if "beam_size" in wanted:
            wanted["beam_size"] = int(wanted["beam_size"])
        options = SearchOptions(**{"beam_size": translator.options.beam_size, **wanted})
        together = translator.translate_n_best([ids for _, ids in group], options)
        for (text, ids), translations in zip(group, together, strict=True):
            [alone] = translator.translate_n_best([ids], options)
            # Two hypotheses may be so close that it is the rounding that decides.
            if [one.token_ids for one in alone] == [one.token_ids for one in translations]:
                answer = _answer(translator, text, translations, _OPTIONS[which])
                found.append(_Sentence(text, ids, _OPTIONS[which], answer, translations[0].token_ids))
    return found


def _answer(
    translator: Translator, text: str, translations: Sequence[Translation], options: Mapping[str, Any]
) -> dict[str, Any]:
    def on(name: str) -> bool:
        return str(options.get(name, "false")).lower() == "true"

    def one(translation: Translation) -> dict[str, Any]:
        if on("replace_unknown"):
            translation = replace_unknown(translation, text.split(), translator.target_vocabulary.unk_id)
        answer: dict[str, Any] = {"target": translation.text}
        if on("scores"):
            answer["score"] = translation.score
        if on("attention_matrix"):
            answer["matrix"] = translation.attention.tolist()
        return answer

    answer = one(translations[0])
    if "n_best" in options:
        answer["n_best"] = [one(translation) for translation in translations]
    return answer


# -- requests ------------------------------------------------------------------------------------------------------


def _several(draw: random.Random, sentences: Sequence[_Sentence]) -> list[_Sentence]:
    return draw.choices(sentences, k=draw.choice([*[1] * 12, 2, 3, 4, 12]))


def _json(draw: random.Random, sentences: Sequence[_Sentence]) -> GoodRequest:
    chosen = _several(draw, sentences)
    instances = [{"data": one.text, **({"configuration": one.options} if one.options else {})} for one in chosen]
    expected = {"predictions": [one.answer for one in chosen]}
    body = json.dumps({"instances": instances}).encode()
    return GoodRequest("json", body, {"Content-Type": JSON}, lambda answer: _compare_json(answer, expected))


def _texts(draw: random.Random, sentences: Sequence[_Sentence]) -> GoodRequest:
    chosen = _several(draw, [one for one in sentences if not one.options])
    expected = [one.answer for one in chosen]
    body = json.dumps([one.text for one in chosen]).encode()
    return GoodRequest("texts", body, {"Content-Type": JSON}, lambda answer: _compare_json(answer, expected))


def _lines(draw: random.Random, sentences: Sequence[_Sentence]) -> GoodRequest:
    chosen = _several(draw, sentences)
    lines = [json.dumps({"source": one.text, "configuration": one.options}) for one in chosen]
    return GoodRequest("lines", "\n".join(lines).encode(), {"Content-Type": LINES}, _compare_lines(chosen))


def _records(draw: random.Random, sentences: Sequence[_Sentence]) -> GoodRequest:
    chosen = _several(draw, sentences)
    expected = [list(one.target) for one in chosen]

    def check(answer: bytes) -> str:
        found = [read_tokens(parse_record(payload), "target") for payload in split_framed(answer)]
        return "" if found == expected else f"another translation: {found} in place of {expected}"

    return GoodRequest("records", _frames(chosen), {"Content-Type": RECORDS}, check)


def _records_for_lines(draw: random.Random, sentences: Sequence[_Sentence]) -> GoodRequest:
    # An unknown token that comes as an id has lost its text, which the answer may hold.
    chosen = _several(draw, [one for one in sentences if "unknown" not in one.text])
    headers = {"Content-Type": RECORDS, "Accept": LINES}
    return GoodRequest("records for lines", _frames(chosen), headers, _compare_lines(chosen))


def _frames(sentences: Sequence[_Sentence]) -> bytes:
    stream = io.BytesIO()
    for one in sentences:
        record = Record.FromString(encode_pair(one.ids, []))
        if one.options:
            record.configuration = json.dumps(dict(one.options))
        write_record(stream, record.SerializeToString(deterministic=True))
    return stream.getvalue()


def _compare_lines(sentences: Sequence[_Sentence]) -> Callable[[bytes], str]:
    expected = [one.answer for one in sentences]

    def check(answer: bytes) -> str:
        return _compare([json.loads(line) for line in answer.split(b"\n")], expected)

    return check


def _compare_json(answer: bytes, expected: object) -> str:
    return _compare(json.loads(answer), expected)


def _compare(found: object, expected: object) -> str:
    return "" if _agree(found, expected) else f"another translation: {found!r:.300} in place of {expected!r:.300}"


def _agree(found: object, expected: object) -> bool:
    if isinstance(expected, Mapping):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(_agree(found[key], value) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(_agree, found, expected))
    if isinstance(expected, float):
        return isinstance(found, (int, float)) and math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return found == expected
