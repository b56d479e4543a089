"""Raw text there and back: ``s2s prepare`` cuts it, ``train`` learns it, ``translate`` and ``serve`` answer in it."""

import gzip
import itertools
import json
import os
import subprocess
import sys

import pytest
import requests

from s2s_algo.data.segmentation import Subwords
from tests.contract.serve.conftest import Server
from tests.contract.test_round_trip import SERVE
from tests.contract.train.jobs import OptMl, runner

# Words of several pieces, with marks that stick to them.
ENGLISH = {"house": "Haus", "tree": "Baum", "river": "Fluß", "bridge": "Brücke", "garden": "Garten", "night": "Nacht"}
RAW = [
    (f"Look, {one} and {other}{mark}", f"Sieh, {ENGLISH[one]} und {ENGLISH[other]}{mark}")
    for one, other in itertools.product(ENGLISH, repeat=2)
    for mark in ".!?"
]
JOB = {
    "rnn_num_hidden": "48",
    "num_embed_source": "24",
    "num_embed_target": "24",
    "batch_size": "16",
    "max_seq_len_source": "40",
    "max_seq_len_target": "40",
    "learning_rate": "0.01",
    "max_num_batches": "240",
    "checkpoint_frequency_num_batches": "120",
    "optimized_metric": "bleu",
    "beam_size": "2",
}
SUBWORD_FILES = ("spm.src.model", "spm.trg.model")


def s2s(*arguments, text=""):
    """Runs the command as a user does."""
    command = [sys.executable, "-c", "from s2s_algo.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a job, prepared from a packed TSV and from two texts, and what the command said."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "train.tsv.gz").write_bytes(gzip.compress("".join(f"{en}\t{de}\n" for en, de in RAW).encode()))
    for side, name in enumerate(("val.en", "val.de")):
        (folder / name).write_text("".join(f"{pair[side]}\n" for pair in RAW[::9]), encoding="utf-8")
    opt_ml = OptMl(folder / "ml")
    opt_ml.configure("hyperparameters.json", JOB)
    output = ("-o", opt_ml.base / "input" / "data", "--channels")
    subwords = ("--subwords-source", 40, "--subwords-target", 45, "--subword-type", "bpe")
    report = s2s(
        "prepare", folder / "val.en", folder / "val.de", "--train", folder / "train.tsv.gz", *output, *subwords
    )
    return opt_ml, report


@pytest.fixture(scope="module")
def job(prepared):
    """The job, done."""
    with runner() as jobs:
        done = jobs.run(prepared[0])
    assert done.exit_code == 0, done.log
    return done


def test_the_report_tells_of_pairs_and_pieces(prepared):
    _, report = prepared
    assert f"train: {len(RAW)} pairs written; skipped: 0 with an empty side\n" in report
    assert "0.00% and 0.00% of them <unk>\nsource vocabulary: 44 entries, of 40 pieces\n" in report
    assert "target vocabulary: 49 entries, of 45 pieces\n" in report


def test_bleu_is_of_text_and_chrf_is_logged(job):
    signatures = job.found(r"BLEU on \d+ sentences, scale 0 to 1, signature (\S+)")
    assert signatures
    assert all("tok:13a" in signature for signature in signatures)
    scores = job.found(r"chrF on the same, scale 0 to 100: ([\d.]+), signature nrefs:1")
    assert len(scores) == len(signatures)
    assert float(scores[-1]) > 90


def test_the_artifact_has_the_models(job):
    for name in SUBWORD_FILES:
        given = job.opt_ml.base / "input" / "data" / "vocab" / name
        assert (job.opt_ml.model / name).read_bytes() == given.read_bytes()


@pytest.fixture(scope="module")
def translations(job):
    """What the command makes of raw text."""
    text = "".join(f"{source}\n" for source, _ in RAW)
    return s2s("translate", "--model", job.opt_ml.model, text=text).splitlines()


def test_raw_text_is_translated_to_raw_text(translations):
    right = sum(found == target for found, (_, target) in zip(translations, RAW, strict=True))
    assert right > 0.9 * len(RAW), translations[:10]


def test_the_endpoint_takes_and_gives_raw_text(job, translations, tmp_path):
    server = Server(tmp_path / "serve.log", {"SAGEMAKER_BASE_DIR": str(job.opt_ml.base)}, SERVE)
    try:
        server.wait_for_ping(200)
        options = {"tokens": "true", "attention_matrix": "true"}
        body = {"instances": [{"data": source, "configuration": options} for source, _ in RAW[:20]]}
        predictions = requests.post(f"{server.url}/invocations", json=body, timeout=60).json()["predictions"]
        lines = "".join(json.dumps({"data": source}) + "\n" for source, _ in RAW[:20])
        headers = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
        streamed = requests.post(f"{server.url}/invocations", data=lines, headers=headers, timeout=60).text
    finally:
        server.terminate()
    assert [prediction["target"] for prediction in predictions] == translations[:20]
    assert [json.loads(line)["target"] for line in streamed.splitlines()] == translations[:20]
    source, target = (Subwords.load(job.opt_ml.model / name) for name in SUBWORD_FILES)
    for (text, _), prediction in zip(RAW, predictions, strict=False):
        assert prediction["source_tokens"] == source.split(text)
        assert target.join(prediction["target_tokens"]) == prediction["target"]
        assert len(prediction["matrix"]) == len(prediction["target_tokens"])


def test_other_subwords_cannot_go_on_from_the_model(job, tmp_path):
    opt_ml = OptMl(tmp_path / "ml")
    opt_ml.configure("hyperparameters.json", JOB)
    data = job.opt_ml.base / "input" / "data"
    for name in ("train/train.rec", "validation/val.rec", *(f"vocab/vocab.{side}.json" for side in ("src", "trg"))):
        opt_ml.put(name, (data / name).read_bytes())
    for file in job.opt_ml.model.iterdir():
        opt_ml.put(f"model/{file.name}", file.read_bytes())
    with runner() as jobs:
        done = jobs.run(opt_ml)
    assert done.exit_code == 2, done.log
    for name in SUBWORD_FILES:
        assert f"the model has a {name}, but the vocab channel has none; copy it there from the model" in done.failure
