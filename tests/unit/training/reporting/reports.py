"""What the tests of reports share: reading back what was written."""

import json
import struct

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from s2s_algo.training.reporting.points import CheckpointPoint, Example, TrainingPoint
from s2s_algo.training.reporting.reporter import Outputs


def outputs_in(folder):
    return Outputs(folder / "output/data", folder / "output/tensorboard", folder / "model")


def lines_of(outputs, kind=None):
    """The objects of metrics.jsonl."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = (outputs.data / "metrics.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    found = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    return [line for line in found if kind in (None, line["kind"])]


def page_of(outputs):
    return (outputs.data / "report.html").read_text(encoding="utf-8")


def events_of(folder):
    """The events of all files, with their check sums looked at; a restart forgets what came before."""
    events = []
    for file in sorted(folder.iterdir()):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            header, body = content[at : at + 8], content[at + 12 : at + 12 + size]
            sums = struct.unpack_from("<I", content, at + 8)[0], struct.unpack_from("<I", content, at + 12 + size)[0]
            assert sums == (masked_crc32c(header), masked_crc32c(body))
            at += 16 + size
            event = Event.FromString(body)
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                events = [kept for kept in events if kept.step < event.step]
            else:
                events.append(event)
    return events


def curves_of(folder):
    """The curves: a list of (step, value) for each tag."""
    curves = {}
    for event in events_of(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                curves.setdefault(value.tag, []).append((event.step, round(value.simple_value, 4)))
    return curves


def texts_of(folder):
    """The texts: a list of (step, text)."""
    return [
        (event.step, value.tensor.string_val[0].decode())
        for event in events_of(folder)
        for value in event.summary.value
        if value.tensor.string_val
    ]


def training_point(updates, **more):
    values = {
        "updates": updates,
        "epoch": 0,
        "seconds": updates / 10,
        "learning_rate": 0.1,
        "train_perplexity": 5.0,
        "train_accuracy": 0.5,
        "target_tokens_per_second": 1000.0,
        "time": 1e9 + updates,
    }
    return TrainingPoint(**{**values, **more})


def entry(number, updates, **more):
    values = {
        "checkpoint": number,
        "updates": updates,
        "epoch": 0,
        "seconds": updates / 10,
        "learning_rate": 0.1,
        "train_perplexity": 5.0,
        "train_accuracy": 0.5,
        "validation_perplexity": 6.0,
        "validation_accuracy": 0.25,
        "improved": True,
    }
    return {**values, **more}


def checkpoint_point(number, updates, translations=(), **more):
    examples = tuple(Example(f"source {i}", f"reference {i}", text) for i, text in enumerate(translations))
    return CheckpointPoint(entry(number, updates, **more), examples, 1e9 + updates)
