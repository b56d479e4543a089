"""Makes what a version promises to read for ever: small models, a job with its checkpoint, and what comes of them.

    python -m tests.frozen.make FOLDER

It is run once for a version, or when the format of models gets a new number; what is there is never made again.

    FOLDER/models/NAME      what jobs left in /opt/ml/model
    FOLDER/job              the /opt/ml of a job with one checkpoint
    FOLDER/expected.json    the translations of the models, and the perplexities of the job that goes on
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from sentencepiece import SentencePieceTrainer

from s2s_algo.decoding.translator import Translator
from tests.contract.train.jobs import OptMl

FIRST_END, LAST_END = 40, 50  # updates of the job, and of the one that goes on from its checkpoint

WORDS = {"house": "haus", "tree": "baum", "river": "fluss", "bridge": "brücke", "garden": "garten", "night": "nacht"}
PAIRS = [
    (f"the {one} and the {other} {mark}", f"{WORDS[other]} und {WORDS[one]} {mark}")
    for one, other in itertools.product(WORDS, repeat=2)
    for mark in ".?"
]
# Seen and unseen, unknown words, one that is cut into pieces, and nothing.
SOURCES = [
    "the house and the tree .",
    "the night and the river ?",
    "bridge garden .",
    "the moon and the tree .",
    "the tree and the night . the garden and the river ? the house and the bridge .",
    "",
]

COMMON = {
    "batch_size": "12",
    "max_seq_len_source": "12",
    "max_seq_len_target": "12",
    "learning_rate": "0.02",
    "num_embed_source": "8",
    "num_embed_target": "8",
    "beam_size": "3",
    "max_num_batches": "200",
    "checkpoint_frequency_num_batches": "200",
}
RECURRENT = {**COMMON, "rnn_num_hidden": "12", "rnn_attention_num_hidden": "8"}
CONVOLUTIONAL = {
    **COMMON,
    "encoder_type": "cnn",
    "decoder_type": "cnn",
    "num_layers_encoder": "2",
    "num_layers_decoder": "2",
    "cnn_num_hidden": "8",
    "length_penalty_alpha": "0.8",
    "length_penalty_beta": "0.1",
}
SUBWORDS = {**RECURRENT, "max_seq_len_source": "30", "max_seq_len_target": "30", "rnn_cell_type": "gru"}
RESUMED = {
    **RECURRENT,
    "rnn_decoder_hidden_dropout": "0.2",
    "optimized_metric": "bleu",
    "max_num_batches": str(FIRST_END),
    "checkpoint_frequency_num_batches": str(FIRST_END),
}


def translations(model: Path, texts: Sequence[str]) -> list[dict[str, object]]:
    """What a model makes of texts: the two best translations of each, with their scores."""
    translator = Translator.load(model, torch.device("cpu"))
    options = replace(translator.options, n_best=2)
    sources = [translator.source_vocabulary.encode(text) for text in texts]
    found = translator.translate_n_best(sources, options)
    return [
        {"source": text, "n_best": [{"text": one.text, "score": one.score} for one in best]}
        for text, best in zip(texts, found, strict=True)
    ]


def train(opt_ml: OptMl) -> str:
    """Runs a job to its end and returns its log."""
    command = [sys.executable, "-m", "container.entrypoint", "train"]
    done = subprocess.run(command, env=opt_ml.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def perplexities(opt_ml: OptMl) -> list[list[float]]:
    """The updates of each checkpoint of a job, and the perplexity there."""
    entries = json.loads((opt_ml.model / "metrics.json").read_text(encoding="utf-8"))
    return [[entry["updates"], entry["validation_perplexity"]] for entry in entries]


def going_on(job: Path, folder: Path, end: int) -> OptMl:
    """A copy of a job in another folder, with a later end."""
    opt_ml = OptMl(Path(shutil.copytree(job, folder)))
    own = json.loads((job / "input" / "config" / "hyperparameters.json").read_text(encoding="utf-8"))
    opt_ml.configure("hyperparameters.json", {**own, "max_num_batches": str(end)})
    return opt_ml


def _prepared(base: Path, hyperparameters: dict[str, str], *options: str | Path) -> OptMl:
    opt_ml = OptMl(base)
    opt_ml.configure("hyperparameters.json", hyperparameters)
    texts = []
    for name, pairs in (("train", PAIRS), ("val", PAIRS[::5])):
        for side, language in enumerate(("en", "de")):
            texts.append(base / f"{name}.{language}")
            texts[-1].write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
    output = ("--output", base / "input" / "data", "--channels")
    subprocess.run([sys.executable, "-m", "s2s_algo.cli", "prepare", *texts, *output, *options], check=True)
    for text in texts:
        text.unlink()
    return opt_ml


def _pieces(sentences: list[str], path: Path) -> Path:
    """A model of SentencePiece without rules of normalisation, which would be a quarter of a megabyte."""
    with path.open("wb") as stream:
        SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=stream,
            vocab_size=40,
            hard_vocab_limit=False,
            normalization_rule_name="identity",
            minloglevel=2,
        )
    return path


def make(folder: Path) -> None:
    """Makes everything."""
    expected: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        english = _pieces([source for source, _ in PAIRS], scratch / "english")
        german = _pieces([target for _, target in PAIRS], scratch / "german")
        pieces = ("--subword-model-source", english, "--subword-model-target", german)
        for name, hyperparameters, options in (
            ("recurrent", RECURRENT, ()),
            ("convolutional", CONVOLUTIONAL, ()),
            ("subwords", SUBWORDS, pieces),
        ):
            opt_ml = _prepared(scratch / name, hyperparameters, *options)
            train(opt_ml)
            shutil.copytree(opt_ml.model, folder / "models" / name)
            expected[name] = translations(folder / "models" / name, SOURCES)
        job = _prepared(scratch / "job", RESUMED)
        job.checkpoints.mkdir()
        train(job)
        for part in ("input", "checkpoints"):
            ignored = shutil.ignore_patterns("lock*")
            shutil.copytree(job.base / part, folder / "job" / part, ignore=ignored)
        resumed = going_on(folder / "job", scratch / "resumed", LAST_END)
        train(resumed)
        expected["perplexities"] = perplexities(resumed)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
