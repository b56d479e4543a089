"""What a job that ends well leaves: an artifact that stands alone, and a log that people and programs can read."""

import json
import math
import random
import re
import stat
import subprocess
import sys

import pytest

from s2s_algo.training.metrics import METRICS, metric_definitions
from tests.contract.train.jobs import WORDS, OptMl, framed, random_pairs

# As the SageMaker SDK and a tuning job write them.
AS_THE_SDK_SENDS_THEM = {
    "rnn_num_hidden": "16",
    "num_embed_source": '"8"',
    "num_embed_target": '"8"',
    "rnn_cell_type": '"lstm"',
    "rnn_attention_in_upper_layers": "True",
    "bucketing_enabled": "True",
    "rnn_decoder_hidden_dropout": "0.1",
    "momentum": "None",
    "max_num_epochs": "None",
    "rnn_attention_num_hidden": "None",
    "batch_size": "8",
    "max_seq_len_source": "10",
    "max_seq_len_target": "10",
    "learning_rate": "1E-2",
    "checkpoint_frequency_num_batches": "15",
    "checkpoint_threshold": "3",
    "bleu_sample_size": "-1",
    "beam_size": "2",
    "_tuning_objective_metric": "validation:perplexity",
    "sagemaker_estimator_class_name": '"Estimator"',
    "sagemaker_job_name": '"seq2seq-2022-04-12-12-00-00-000"',
}

SOURCES = [source for source, _ in random_pairs(30, seed=4)]
# Targets that nobody can learn from the training pairs: validation gets better at first, then worse.
VALIDATION = [(source, random.Random(3).choices(range(4, 4 + WORDS), k=len(source))) for source in SOURCES]

# What the platform's built-in algorithms begin each line with.
PREFIX = r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) \d+\] \S"

NUMBER = r"\d+\.\d+"


@pytest.fixture(scope="module")
def opt_ml(tmp_path_factory):
    made = OptMl.ready(tmp_path_factory.mktemp("finished") / "ml", AS_THE_SDK_SENDS_THEM)
    made.put("validation/val.rec", framed(VALIDATION))
    made.configure("resourceconfig.json", {"current_host": "algo-7", "hosts": ["algo-7"], "topology": None})
    return made


@pytest.fixture(scope="module")
def job(jobs, opt_ml):
    ended = jobs.run(opt_ml)
    assert ended.exit_code == 0, ended.log
    return ended


@pytest.fixture(scope="module")
def history(job):
    """The entries of metrics.json."""
    return json.loads((job.opt_ml.model / "metrics.json").read_text())


@pytest.fixture(scope="module")
def training(job):
    """What config.json says about the training job."""
    return json.loads((job.opt_ml.model / "config.json").read_text())["training"]


def test_the_artifact_is_five_plain_files_readable_by_everyone_and_nothing_else_is_left(job, opt_ml):
    names = ("config.json", "metrics.json", "model.safetensors", "vocab.src.json", "vocab.trg.json")
    assert opt_ml.files() == {f"model/{name}" for name in names}
    for name in names:
        mode = (opt_ml.model / name).lstat().st_mode
        assert stat.S_ISREG(mode)
        assert stat.S_IMODE(mode) & 0o444 == 0o444, f"{name} has the mode {mode:o}"
    assert not list(opt_ml.scratch.iterdir())


def test_the_vocabularies_of_the_artifact_are_those_of_the_channel(job, opt_ml):
    for name in ("vocab.src.json", "vocab.trg.json"):
        given, kept = (opt_ml.base / folder / name for folder in ("input/data/vocab", "model"))
        assert json.loads(kept.read_text()) == json.loads(given.read_text())


def test_values_as_the_sdk_sends_them_arrive(training):
    values = training["hyperparameters"]
    assert values["rnn_cell_type"] == "lstm"
    assert values["rnn_attention_in_upper_layers"] is True
    assert values["bucketing_enabled"] is True
    assert values["num_embed_source"] == 8
    assert values["learning_rate"] == 0.01
    assert [values[name] for name in ("momentum", "max_num_epochs", "rnn_attention_num_hidden")] == [None] * 3
    assert "_tuning_objective_metric" not in values


def test_names_that_the_platform_adds_are_ignored_with_a_line_in_the_log(job):
    assert (
        "ignored hyperparameters that the platform adds: '_tuning_objective_metric', "
        "'sagemaker_estimator_class_name', 'sagemaker_job_name'" in job.messages
    )


def test_every_line_of_the_log_begins_as_the_built_in_algorithms_lines_do(job):
    assert job.log.endswith("\n")
    assert [line for line in job.log.splitlines() if not re.match(PREFIX, line)] == []


def test_the_log_begins_and_ends_with_the_known_lines(job):
    assert job.messages[0] == "Docker entrypoint called with argument(s): train"
    final = next(message for message in job.messages if message.startswith("Final configuration: "))
    assert json.loads(final.removeprefix("Final configuration: "))["batch_size"] == 8
    assert job.messages[-1] == f"The model is in {job.opt_ml.model}"


@pytest.mark.parametrize(
    "line",
    [
        r"Training started\.",
        r"Early stopping by optimizing 'perplexity'",
        r"Vocabulary sizes: source=16 target=16",
        rf"Mean training target/source length ratio: {NUMBER} \(\+-{NUMBER}\)",
        r"Total # of parameters: \d+",
        rf"Epoch\[\d+\] Batch \[\d+\]\tSpeed: {NUMBER} samples/sec\tperplexity={NUMBER}",
        rf"Checkpoint \[\d+\]\tUpdates=\d+ Epoch=\d+ Samples=\d+ Time-cost={NUMBER}",
        rf"Checkpoint \[\d+\]\tTrain-perplexity={NUMBER}",
        rf"Checkpoint \[\d+\]\tTrain-accuracy={NUMBER}",
        rf"Checkpoint \[\d+\]\tValidation-perplexity={NUMBER}",
        rf"Checkpoint \[\d+\]\tValidation-accuracy={NUMBER}",
        rf"Checkpoint \[\d+\]\tValidation-bleu={NUMBER}",
        rf"Validation-perplexity improved to {NUMBER}\.",
        rf"Validation-perplexity has not improved, best so far: {NUMBER}",
        r"Model has not improved for \d+ checkpoints",
        r"Maximum number of not improved checkpoints \(3\) reached: 3",
        rf"Training finished\. Best checkpoint: \d+\. Best validation perplexity: {NUMBER}",
    ],
)
def test_the_lines_of_the_original_are_there(job, line):
    assert [message for message in job.messages if re.fullmatch(line, message)]


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
@pytest.mark.parametrize("tab", ["\t", "#011"], ids=["as printed", "as CloudWatch shows it"])
def test_the_published_regular_expressions_find_each_metric_at_each_checkpoint(job, history, metric, tab):
    found = [float(value) for value in re.findall(metric.regex, job.log.replace("\t", tab))]
    assert found == pytest.approx([entry[f"validation_{metric.name}"] for entry in history], abs=1e-6)
    older = rf"Checkpoint \[\d+\](?:\s+|#011)Validation-{metric.name}=(\S+)"
    assert [float(value) for value in re.findall(older, job.log.replace("\t", tab))] == found


@pytest.mark.parametrize("definition", metric_definitions(), ids=lambda definition: definition["Name"])
@pytest.mark.parametrize("tab", ["\t", "#011"], ids=["as printed", "as CloudWatch shows it"])
def test_every_metric_definition_finds_one_finite_number_at_each_checkpoint(job, history, definition, tab):
    channel, _, name = definition["Name"].partition(":")
    lines = job.log.replace("\t", tab).splitlines()
    found = [float(match[1]) for line in lines if (match := re.search(definition["Regex"], line))]
    assert found == pytest.approx([entry[f"{channel}_{name}"] for entry in history], abs=1e-6)
    assert all(map(math.isfinite, found))


def test_the_report_is_there(job, history):
    data, events = (job.opt_ml.base / "output" / name for name in ("data", "tensorboard"))
    assert sorted(path.name for path in data.iterdir()) == ["metrics.jsonl", "report.html"]
    assert len(list(events.iterdir())) == 1
    lines = [json.loads(line) for line in (data / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    checkpoints = [line for line in lines if line["kind"] == "checkpoint"]
    assert [{name: line[name] for name in history[0]} for line in checkpoints] == history
    page = (data / "report.html").read_text(encoding="utf-8")
    assert "Maximum number of not improved checkpoints (3) reached: 3" in page
    assert str(job.opt_ml.model) in page


def test_metric_lines_name_the_host(job):
    assert len(job.found(r"#quality_metric: host=algo-7, epoch=\d+, validation bleu <score>=0\.")) > 1


def test_the_log_says_which_bleu_it_is(job, history):
    signature = r"BLEU on 30 sentences, scale 0 to 1, signature nrefs:1\|.*\|tok:none\|smooth:floor\[0\.01\]\|version:"
    assert len(job.found(signature)) == len(history)


def test_no_number_of_the_log_or_the_metrics_is_infinite_or_not_a_number(job, history):
    assert not job.found(r"(?i)\b(nan|inf|infinity)\b")
    assert all(math.isfinite(value) for entry in history for value in entry.values())


def test_the_history_tells_every_checkpoint_with_its_counts_and_scores(history):
    assert [entry["checkpoint"] for entry in history] == list(range(1, len(history) + 1))
    assert [entry["updates"] for entry in history] == [15 * entry["checkpoint"] for entry in history]
    assert {entry["learning_rate"] for entry in history} == {0.01}
    assert all(entry["seconds"] > 0 for entry in history)


def test_patience_ends_the_job_after_three_checkpoints_without_improvement(history, training):
    assert [entry["improved"] for entry in history][-4:] == [True, False, False, False]
    assert training["best_checkpoint"] == len(history) - 3
    assert training["updates"] == 15 * len(history)


EVALUATE = """
import json, math, sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("container", "serve", "flask", "gunicorn", "click", "werkzeug"):
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Forbidden())
from pathlib import Path
import sacrebleu, torch
from s2s_algo.decoding.translator import Translator
from s2s_algo.loading import load_model

given = json.load(sys.stdin)
translator = Translator.load(Path(given["model"]))
model, words = load_model(Path(given["model"])).model.eval(), translator.target_vocabulary.tokens
loss = correct = tokens = 0
with torch.no_grad():
    for source, target in given["pairs"]:
        labels = torch.tensor([*target, words.index("</s>")])
        target_in = torch.tensor([[words.index("<s>"), *target]])
        logits = model.output_layer(model(torch.tensor([source]), torch.tensor([len(source)]), target_in))[0]
        loss -= logits.log_softmax(-1).gather(-1, labels[:, None]).double().sum().item()
        correct += (logits.argmax(-1) == labels).sum().item()
        tokens += len(labels)
hypotheses = [translation.text for translation in translator.translate([source for source, _ in given["pairs"]])]
references = [" ".join(words[token] for token in target) for _, target in given["pairs"]]
bleu = sacrebleu.corpus_bleu(
    hypotheses, [references], smooth_method="floor", smooth_value=0.01, tokenize="none", use_effective_order=True
)
print(json.dumps({"perplexity": math.exp(loss / tokens), "accuracy": correct / tokens, "bleu": bleu.score / 100}))
"""


def test_the_artifact_loads_without_the_container_and_has_the_scores_of_the_best_checkpoint_not_of_the_last(
    job, history, training
):
    evaluated = subprocess.run(
        [sys.executable, "-c", EVALUATE],
        input=json.dumps({"model": str(job.opt_ml.model), "pairs": VALIDATION}),
        env=job.opt_ml.environment(),
        cwd=job.opt_ml.base,
        capture_output=True,
        text=True,
    )
    assert evaluated.returncode == 0, evaluated.stderr
    best, last = history[training["best_checkpoint"] - 1], history[-1]
    for name, value in json.loads(evaluated.stdout).items():
        assert value == pytest.approx(best[f"validation_{name}"], rel=1e-5), name
        assert value != pytest.approx(last[f"validation_{name}"], rel=1e-3), name
