"""Trains, deploys, predicts and batch-transforms with the SageMaker Python SDK on one's own machine, without AWS.

    python -m venv sdk && sdk/bin/pip install 'sagemaker[local]<3'
    sdk/bin/python examples/sagemaker_local_mode.py --image s2s:cpu

It needs a container engine, `docker compose` (or docker-compose), and the image that `make image` builds; nothing else
of this repository, and no credentials. The task is to say letters backwards, so that anybody can judge the answers.
docs/sagemaker_sdk.md shows what it prints, and what changes for training jobs and endpoints of AWS.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Without this the SDK reports every call to a host outside. It must be there when the SDK is imported.
OFFLINE = """\
SchemaVersion: '1.0'
SageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}
"""
os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
if "SAGEMAKER_USER_CONFIG_OVERRIDE" not in os.environ:
    with tempfile.NamedTemporaryFile("w", prefix="sagemaker-", suffix=".yaml", delete=False) as _config:
        _config.write(OFFLINE)
    os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = _config.name

import boto3
from sagemaker.amazon.common import read_recordio
from sagemaker.amazon.record_pb2 import Record
from sagemaker.base_deserializers import SimpleBaseDeserializer
from sagemaker.base_serializers import SimpleBaseSerializer
from sagemaker.deserializers import JSONDeserializer, JSONLinesDeserializer
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession
from sagemaker.serializers import JSONLinesSerializer, JSONSerializer

RECORDIO = "application/x-recordio-protobuf"
REGION = "eu-central-1"  # of nothing; the SDK wants to hear one
ROLE = "arn:aws:iam::111111111111:role/nobody"

HYPERPARAMETERS = {
    "rnn_num_hidden": 64,
    "num_embed_source": 32,
    "num_embed_target": 32,
    "batch_size": 64,
    "bucket_width": 2,
    "max_seq_len_source": 10,
    "max_seq_len_target": 10,
    "learning_rate": 0.003,
    "checkpoint_frequency_num_batches": 100,
    "bleu_sample_size": 100,
}
SENTENCES = ["a b c d", "j i h", "f a c e b a d"]


class SequencesSerializer(SimpleBaseSerializer):
    """Source ids as RecordIO-protobuf: the SDK's own serializer writes features of another name."""

    def __init__(self) -> None:
        super().__init__(content_type=RECORDIO)

    def serialize(self, data: list[list[int]]) -> bytes:
        """Frames a record for each sequence of ids."""
        return b"".join(self._frame(ids) for ids in data)

    @staticmethod
    def _frame(ids: list[int]) -> bytes:
        record = Record()
        record.features["source"].int32_tensor.values.extend(ids)
        payload = record.SerializeToString()
        return struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)


class SequencesDeserializer(SimpleBaseDeserializer):
    """Target ids of RecordIO-protobuf."""

    def __init__(self) -> None:
        super().__init__(accept=RECORDIO)

    def deserialize(self, stream: io.RawIOBase, content_type: str) -> list[list[int]]:
        """Reads the target of each record."""
        with stream:
            payloads = list(read_recordio(io.BytesIO(stream.read())))
        return [list(Record.FromString(payload).features["target"].int32_tensor.values) for payload in payloads]


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image", default="s2s:cpu", help="default: %(default)s")
    parser.add_argument("--hosts", type=int, default=1, help="containers that train together; default: %(default)s")
    parser.add_argument("--batches", type=int, default=300, help="updates of the training; default: %(default)s")
    parser.add_argument("--port", type=int, default=8080, help="of the endpoint; default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where everything is put; default: a new one under TMPDIR")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="s2s-sdk-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "none")  # boto3 wants some, and never uses them here
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    session = LocalSession(boto3.Session(region_name=REGION))
    local = {"local_code": True, "container_root": str(new(folder / "containers")), "serving_port": options.port}
    session.config = {"local": local}

    channels = prepare(options.image, new(folder / "data"))
    print(f"== training on {options.hosts} host(s)")
    estimator = Estimator(
        options.image,
        ROLE,
        instance_count=options.hosts,
        instance_type="local",
        hyperparameters={**HYPERPARAMETERS, "max_num_batches": options.batches},
        output_path=f"file://{new(folder / 'output')}",
        environment={"OMP_NUM_THREADS": "1"},  # a model as small as this gains nothing from more
        sagemaker_session=session,
    )
    estimator.fit({name: f"file://{path}" for name, path in channels.items()})

    print("== deploying")
    predictor = estimator.deploy(
        1, "local", serializer=JSONSerializer(), deserializer=JSONDeserializer(), endpoint_name="s2s-local"
    )
    try:
        wanted = {"attention_matrix": "true"}
        instances = [{"data": text, "configuration": wanted} for text in SENTENCES]
        predictions = predictor.predict({"instances": instances})["predictions"]
        for text, prediction in zip(SENTENCES, predictions, strict=True):
            print(f"json       {text!r} -> {prediction['target']!r}")
        print_attention(SENTENCES[0].split(), predictions[0])

        predictor.serializer, predictor.deserializer = JSONLinesSerializer(), JSONLinesDeserializer()
        for text, line in zip(SENTENCES, predictor.predict([{"source": text} for text in SENTENCES]), strict=True):
            print(f"jsonlines  {text!r} -> {line['target']!r}")

        predictor.serializer, predictor.deserializer = SequencesSerializer(), SequencesDeserializer()
        source, target = (json.loads((channels["vocab"] / f"vocab.{side}.json").read_text()) for side in ("src", "trg"))
        words = {id_: word for word, id_ in target.items()}
        sequences = [[source[token] for token in text.split()] for text in SENTENCES]
        for ids, answer in zip(sequences, predictor.predict(sequences), strict=True):
            print(f"recordio   {ids} -> {answer} = {' '.join(words[id_] for id_ in answer)!r}")
    finally:
        predictor.delete_endpoint()

    print("== batch transform")
    requests, answers = new(folder / "requests"), new(folder / "answers")
    lines = [json.dumps({"source": text}) for text in SENTENCES]
    (requests / "letters.jsonl").write_text("\n".join(lines) + "\n")
    transformer = estimator.transformer(
        1,
        "local",
        strategy="MultiRecord",
        assemble_with="Line",
        accept="application/jsonlines",
        output_path=f"file://{answers}",
    )
    # Local mode returns when all is done, and to wait would mean to look for the log at AWS.
    transformer.transform(f"file://{requests}", content_type="application/jsonlines", split_type="Line", wait=False)
    print((answers / "letters.jsonl.out").read_text().strip())
    print(f"== done; the model is {folder}/output/model.tar.gz")


def new(folder: Path) -> Path:
    """Makes a folder."""
    folder.mkdir()
    return folder


def prepare(image: str, folder: Path) -> dict[str, Path]:
    """Writes parallel text and lets the image make channels of it; returns their folders by name."""
    names = {split: [f"{split}.source", f"{split}.target"] for split in ("train", "validation")}
    for number, (split, (source, target)) in enumerate(names.items()):
        sources = list(letters(3600 if split == "train" else 400, seed=number))
        (folder / source).write_text("\n".join(sources) + "\n")
        (folder / target).write_text("\n".join(text[::-1] for text in sources) + "\n")
    subprocess.run(
        [
            *("docker", "run", "--rm", "--network", "none", "--volume", f"{folder}:/data", "--workdir", "/data"),
            *("--user", f"{os.getuid()}:{os.getgid()}", "--entrypoint", "s2s", image),
            *("prepare", *names["train"], *names["validation"], "--output", "channels", "--channels"),
        ],
        check=True,
    )
    return {name: folder / "channels" / name for name in ("train", "validation", "vocab")}


def letters(count: int, seed: int) -> Iterator[str]:
    """Sequences of three to eight letters, as tokens."""
    draw = random.Random(seed)
    return (" ".join(draw.choices("abcdefghij", k=draw.randint(3, 8))) for _ in range(count))


def print_attention(source: list[str], prediction: dict[str, object]) -> None:
    """Shows for each target token how much of each source token it was made of."""
    print("attention  " + "".join(f"{token:>6}" for token in source))
    for token, row in zip(prediction["target"].split(), prediction["matrix"], strict=True):
        print(f"{token:>9}  " + "".join(f"{weight:6.2f}" for weight in row))


if __name__ == "__main__":
    main()
