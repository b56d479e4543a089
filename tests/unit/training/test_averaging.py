"""Averages of the checkpoints of real jobs, by the best, by the last, and what is refused."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from s2s_algo.checkpoints.artifact import METRICS_FILE, WEIGHTS_FILE, load_artifact, save_artifact
from s2s_algo.checkpoints.store import CheckpointStore, Snapshot
from s2s_algo.checkpoints.tensors import save_tensors
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.legacy.importer import import_model
from s2s_algo.model.memory import LiveMemory
from s2s_algo.training.averaging import average_checkpoints, fill_with_mean
from s2s_algo.training.stopping import StopRequested
from s2s_algo.training.trainer import train
from s2s_algo.training.validation import BleuSample
from serve.app import load_translator
from serve.settings import Settings
from tests.tiny_job import (
    SOURCE_VOCABULARY,
    TARGET_VOCABULARY,
    assemble_job,
    differing,
    script_validation,
    train_job,
)

SOCKEYE = Path(__file__).parents[2] / "golden" / "models" / "cnn_cnn_glu_1.10.5"

# A checkpoint after each of six updates, all of which are kept.
KEEP_ALL = '{"keep_last_n": 9}'
JOB = {
    "max_num_batches": "6",
    "learning_rate": "0.2",
    "checkpoint_frequency_num_batches": "1",
    "checkpoint_threshold": "99",
    "cleanup_old_models": KEEP_ALL,
}

# The best ones are 6, then 2 and 4, which are equal, 3, 1, 5.
PERPLEXITIES = [5.0, 3.0, 4.0, 3.0, 9.0, 2.0]
ACCURACIES = [0.2, 0.5, 0.4, 0.5, 0.1, 0.7]


def finished(folder, raw, **parts):
    """A job that was trained to its end and left its artifact beside its checkpoints."""
    assembled = train_job(folder, raw, **parts)
    save_artifact(assembled.artifact(), folder / "model")
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        script_validation(monkeypatch, PERPLEXITIES)
        return finished(tmp_path_factory.mktemp("job"), JOB)


@pytest.fixture
def job(shared, tmp_path):
    """The folder of a job, with checkpoints and model, to do with as one likes."""
    return shutil.copytree(shared, tmp_path / "job")


def store_of(job):
    return CheckpointStore(job / "checkpoints")


def average(job, choice, count):
    return average_checkpoints(job / "checkpoints", job / "model", choice, count)


def averaged(artifact):
    return [checkpoint["updates"] for checkpoint in artifact.training["average_of"]]


def refusal(job, choice="last", count=2):
    with pytest.raises(ClientError) as caught:
        average(job, choice, count)
    return str(caught.value)


def change(job, updates, weights=None, values=None):
    """Saves a checkpoint again, whole but with something else in it."""
    store = store_of(job)
    old = store.load(updates)
    tensors = {name: tensor.clone() for name, tensor in old.weights.items()}
    moments = {name: tensor.clone() for name, tensor in old.training.items()}
    store.save(updates, Snapshot(tensors | (weights or {}), moments, values or old.values))


def damage(job, updates, name="training.safetensors"):
    file = store_of(job).folder(updates) / name
    file.write_bytes(file.read_bytes()[:-1])


# The mean


def plain_mean(store, updates):
    """What numpy says."""
    weights = [store.load(number).weights for number in updates]
    return {
        name: torch.from_numpy(np.mean([one[name].numpy() for one in weights], axis=0, dtype=np.float64)).float()
        for name in weights[0]
    }


@pytest.mark.parametrize(("choice", "updates"), [("best", [2, 4, 6]), ("last", [4, 5, 6])])
def test_the_weights_are_the_arithmetic_mean(shared, choice, updates):
    artifact = average(shared, choice, 3)
    assert averaged(artifact) == updates
    expected = plain_mean(store_of(shared), updates)
    found = dict(artifact.model.named_parameters())
    assert differing(found, expected) == []
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert differing(found, store_of(shared).load(6).weights)


@pytest.mark.parametrize("choice", ["best", "last"])
def test_the_average_of_one_checkpoint_is_that_checkpoint(shared, choice):
    found = dict(average(shared, choice, 1).model.named_parameters())
    assert differing(found, store_of(shared).load(6).weights) == []


def files_of(folder, *values):
    for number, value in enumerate(values):
        save_tensors({"weight": torch.full((50, 40), value)}, folder / f"{number}")
    return [folder / f"{number}" for number in range(len(values))]


def test_the_sum_is_not_rounded_to_the_type_of_the_weights(tmp_path):
    model = torch.nn.Linear(40, 50, bias=False)
    fill_with_mean(model, files_of(tmp_path, 2.0**24, 1.0, 1.0))
    # In float32 the ones would be lost: 2 ** 24 + 1 is 2 ** 24.
    assert torch.equal(model.weight, torch.full((50, 40), 5592406.0))
    # Nor may the sum leave the range of float32.
    fill_with_mean(model, files_of(tmp_path, 3e38, 3e38))
    assert torch.equal(model.weight, torch.full((50, 40), 3e38))


def test_more_checkpoints_need_no_more_memory(tmp_path):
    model = torch.nn.Linear(40, 50, bias=False)
    peaks = []
    for count in (2, 9):
        files = files_of(tmp_path, *range(count))
        with LiveMemory() as memory:
            fill_with_mean(model, files)
        peaks.append(memory.peak)
    assert peaks[0] == peaks[1] > 0


# Which checkpoints


@pytest.mark.parametrize(
    ("metric", "script"),
    [("perplexity", PERPLEXITIES), ("accuracy", ACCURACIES), ("bleu", ACCURACIES)],
)
def test_the_best_are_those_on_the_optimised_metric_in_its_direction(tmp_path, monkeypatch, metric, script):
    # The metrics that are not optimised would choose otherwise.
    scripts = {"perplexity": PERPLEXITIES[::-1], "accuracy": ACCURACIES[::-1], "bleu": ACCURACIES[::-1], metric: script}
    bleu = iter(scripts["bleu"])
    monkeypatch.setattr(BleuSample, "score", lambda self, workers, watch: next(bleu))
    script_validation(monkeypatch, scripts["perplexity"], scripts["accuracy"])
    job = finished(tmp_path, JOB | {"optimized_metric": metric, "bleu_sample_size": "2"})
    chosen = [averaged(average(job, "best", count)) for count in range(1, 7)]
    # Of 2 and 4, which are equal, the earlier.
    assert chosen == [[6], [2, 6], [2, 4, 6], [2, 3, 4, 6], [1, 2, 3, 4, 6], [1, 2, 3, 4, 5, 6]]
    scores = [checkpoint["score"] for checkpoint in average(job, "best", 6).training["average_of"]]
    assert scores == pytest.approx(script)


def test_the_last_are_the_newest(shared):
    assert [averaged(average(shared, "last", count)) for count in (1, 2, 6)] == [[6], [5, 6], [1, 2, 3, 4, 5, 6]]


def test_what_was_saved_when_the_job_was_stopped_is_not_counted(tmp_path):
    raw = JOB | {"checkpoint_frequency_num_batches": "2"}
    jobs = []
    jobs.append(assemble_job(tmp_path, raw, stop_requested=lambda: jobs[0].state.updates == 5))
    with pytest.raises(StopRequested):
        train(jobs[0].job, jobs[0].state)
    assert store_of(tmp_path).stored() == [2, 4, 5]
    save_artifact(jobs[0].artifact(), tmp_path / "model")
    assert averaged(average(tmp_path, "last", 2)) == averaged(average(tmp_path, "best", 2)) == [2, 4]
    assert "of the 2 that the job has evaluated only 2 are there and whole" in refusal(tmp_path, "last", 3)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize(("choice", "left"), [("best", [2, 4]), ("last", [4, 5])])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(job, caplog, choice, left, name):
    damage(job, 6, name)
    assert averaged(average(job, choice, 2)) == left
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{store_of(job).folder(6)} is passed over: " in record.getMessage()


def test_a_damaged_checkpoint_before_the_newest_is_passed_over_with_a_warning(job, caplog):
    damage(job, 4)
    assert averaged(average(job, "last", 3)) == [3, 5, 6]
    assert averaged(average(job, "best", 3)) == [2, 3, 6]
    assert [record.getMessage() for record in caplog.records] == 2 * [
        f"Passed over: {store_of(job).folder(4)}: not a whole checkpoint: training.safetensors differs from its sum in "
        "manifest.json. Remove it; a job then goes on from another one."
    ]


def test_a_checkpoint_whose_weights_are_not_finite_is_passed_over_with_a_warning(job, caplog):
    bias = store_of(job).load(5).weights["output_layer.bias"].clone()
    bias[3] = float("nan")
    change(job, 5, {"output_layer.bias": bias})
    assert averaged(average(job, "last", 2)) == [4, 6]
    change(job, 4, {"output_layer.bias": torch.full_like(bias, float("-inf"))})
    assert averaged(average(job, "last", 2)) == [3, 6]
    assert [record.getMessage() for record in caplog.records] == [
        f"Passed over: {store_of(job).folder(number)}: not all numbers of output_layer.bias are finite"
        for number in (5, 5, 4)
    ]


@pytest.mark.parametrize(
    ("choice", "chosen", "warning"),
    [
        ("best", [4, 6], "Checkpoints of the job that are better than one of these but no longer stored: 1. "),
        ("last", [4, 6], "Checkpoints of the job that are newer than one of these but no longer stored: 1. "),
    ],
)
def test_a_warning_tells_that_others_would_have_been_chosen_if_they_were_still_stored(
    job, caplog, choice, chosen, warning
):
    store_of(job).retain([1, 3, 4, 6])
    assert averaged(average(job, choice, 2)) == chosen
    assert [record.getMessage() for record in caplog.records] == [
        f"{warning}The hyperparameter cleanup_old_models keeps more."
    ]


def test_nothing_is_said_of_removed_checkpoints_that_would_not_have_been_chosen(job, caplog):
    store_of(job).retain([2, 6])
    assert averaged(average(job, "last", 1)) == [6]
    assert averaged(average(job, "best", 2)) == [2, 6]
    assert caplog.records == []


@pytest.mark.parametrize("choice", ["best", "last"])
def test_too_few_checkpoints_are_an_error_that_tells_how_many_there_are_and_how_to_keep_more(job, choice):
    store_of(job).retain([2, 3, 6])
    damage(job, 3)
    assert refusal(job, choice, 3) == (
        f"{job}/checkpoints: the {choice} 3 checkpoints are asked for, but of the 6 that the job has evaluated only 2 "
        "are there and whole. Ask for fewer. The hyperparameter cleanup_old_models keeps more, such as "
        f'{{"keep_{choice}_n": 3}}; a job may also be resumed with it.'
    )


@pytest.mark.parametrize("choice", ["best", "last"])
def test_a_job_that_keeps_as_many_as_the_error_says_can_be_averaged(tmp_path, monkeypatch, choice):
    script_validation(monkeypatch, PERPLEXITIES)
    job = finished(tmp_path, JOB | {"cleanup_old_models": json.dumps({f"keep_{choice}_n": 5})})
    assert averaged(average(job, choice, 5)) == {"best": [1, 2, 3, 4, 6], "last": [2, 3, 4, 5, 6]}[choice]


@pytest.mark.parametrize("make", [lambda folder: None, Path.mkdir, lambda folder: folder.write_text("a file")])
def test_a_folder_without_checkpoints_is_an_error(job, make):
    shutil.rmtree(job / "checkpoints")
    make(job / "checkpoints")
    assert refusal(job) == (
        f"{job}/checkpoints: the folder holds no whole checkpoint. Give the checkpoint folder of the job, in which its "
        "folders checkpoint-… lie."
    )


# The artifact


def test_the_artifact_tells_of_what_it_is_the_average_and_has_no_score(shared):
    training = average(shared, "best", 2).training
    assert training["average_of"] == [
        {"checkpoint": 2, "updates": 2, "score": pytest.approx(3.0)},
        {"checkpoint": 6, "updates": 6, "score": pytest.approx(2.0)},
    ]
    assert training["optimized_metric"] == "perplexity"
    assert training["hyperparameters"] == load_artifact(shared / "model").training["hyperparameters"]
    assert training.keys() == {"average_of", "optimized_metric", "hyperparameters"}


def test_all_but_the_weights_is_that_of_the_model_and_the_history_that_of_the_job(shared, tmp_path):
    before, after = load_artifact(shared / "model"), average(shared, "last", 2)
    assert after.model.config == before.model.config
    assert (after.inference, after.source_vocabulary, after.target_vocabulary) == (
        before.inference,
        SOURCE_VOCABULARY,
        TARGET_VOCABULARY,
    )
    save_artifact(after, tmp_path)
    assert (tmp_path / METRICS_FILE).read_text() == (shared / "model" / METRICS_FILE).read_text()


SOURCES = [[4, 5, 6], [7], [11, 10, 9, 8, 4], [5] * 30]


def test_what_is_written_translates_as_the_average_and_the_server_accepts_it(shared, tmp_path):
    artifact = average(shared, "last", 3)
    expected = Translator.from_artifact(artifact, torch.device("cpu")).translate(SOURCES)
    assert any(translation.tokens for translation in expected)
    save_artifact(artifact, tmp_path)
    for loaded in (Translator.load(tmp_path), load_translator(tmp_path, Settings())):
        found = loaded.translate(SOURCES)
        assert [one.tokens for one in found] == [one.tokens for one in expected]
        assert [one.score for one in found] == pytest.approx([one.score for one in expected], rel=1e-5)
    before = Translator.load(shared / "model").translate(SOURCES)
    assert [one.score for one in before] != [one.score for one in expected]


def test_nothing_that_was_read_is_changed(shared):
    files = {path: path.read_bytes() for path in shared.rglob("*") if path.is_file()}
    average(shared, "best", 4)
    assert {path: path.read_bytes() for path in shared.rglob("*") if path.is_file()} == files


# What does not belong together


def refused(checkpoint, model, between):
    return (
        f"{checkpoint}: the checkpoint is not of the job that left the model in {model}: from the one to the other, "
        f"{between}. Give the checkpoint folder and the model of one job."
    )


@pytest.mark.parametrize(
    ("raw", "between"),
    [
        ({"seed": "14"}, "seed was 13 and is 14"),
        ({"rnn_num_hidden": "10", "batch_size": "5"}, "rnn_num_hidden was 8 and is 10; batch_size was 4 and is 5"),
    ],
)
def test_the_model_of_another_job_is_refused_with_what_differs(job, tmp_path, raw, between):
    # Of other limits, which do not make another job, nothing is said.
    other = finished(tmp_path / "other", JOB | {"max_num_batches": "1", "cleanup_old_models": "false"} | raw) / "model"
    with pytest.raises(ClientError) as caught:
        average_checkpoints(job / "checkpoints", other, "last", 2)
    assert str(caught.value) == refused(store_of(job).folder(6), other, between)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_model_with_other_words_is_refused(job, side):
    artifact = load_artifact(job / "model")
    size = len(getattr(artifact, f"{side}_vocabulary"))
    words = Vocabulary.from_tokens([*SPECIAL_TOKENS, *(f"word{number}" for number in range(4, size))])
    save_artifact(replace(artifact, **{f"{side}_vocabulary": words}), job / "model")
    assert refusal(job) == refused(store_of(job).folder(6), job / "model", f"the {side} vocabulary changed")


def test_limits_may_have_changed_since_a_checkpoint_was_saved(tmp_path):
    train_job(tmp_path, JOB)
    job = finished(tmp_path, JOB | {"max_num_batches": "8", "cleanup_old_models": '{"keep_last_n": 20}'})
    assert averaged(average(job, "last", 4)) == [5, 6, 7, 8]


def test_a_checkpoint_of_another_job_among_the_right_ones_is_refused(job):
    values = json.loads(json.dumps(store_of(job).load(5).values))
    values["identity"]["data"]["train channel"] = "other pairs"
    change(job, 5, values=values)
    assert refusal(job) == refused(store_of(job).folder(5), job / "model", "the train channel changed")


def test_the_history_of_another_job_is_refused_even_if_its_checkpoint_would_not_be_chosen(job):
    store_of(job).retain([2, 4, 5])
    values = json.loads(json.dumps(store_of(job).load(5).values))
    values["identity"]["hyperparameters"]["seed"] = 14
    change(job, 5, values=values)
    expected = refused(store_of(job).folder(5), job / "model", "seed was 14 and is 13")
    assert refusal(job, "best", 2) == expected


def test_weights_of_other_names_and_shapes_are_refused(job):
    change(job, 5, {"output_layer.bias": torch.zeros(3), "extra": torch.zeros(2)})
    assert refusal(job) == (
        f"{store_of(job).folder(5)}: the weights do not fit the model's configuration: extra is unknown; "
        "output_layer.bias is float32 [3] instead of float32 [10]. Keep the files of one training job together."
    )


def test_a_folder_without_a_model_is_an_error(job):
    (job / "model" / WEIGHTS_FILE).unlink()
    assert refusal(job) == f"{job}/model/{WEIGHTS_FILE}: the file is missing. Copy the whole folder again."
    shutil.rmtree(job / "model")
    assert refusal(job).startswith(f"{job}/model/config.json: the file is missing, so the folder holds no model.")


def test_a_model_that_no_training_job_of_ours_has_made_is_refused(job):
    save_artifact(import_model(SOCKEYE), job / "model")
    assert refusal(job) == (
        f"{job}/model: the model does not say which training job made it; an imported one cannot. Give the model that "
        "the job of these checkpoints has left."
    )


def without_history(values):
    del values["state"]["history"]


def without_identity(values):
    del values["identity"]


@pytest.mark.parametrize(
    ("number", "alter", "reason"),
    [
        (6, without_history, "counters are missing or unknown"),
        (6, without_identity, "'identity'"),
        (5, without_identity, "'identity'"),
    ],
)
def test_a_checkpoint_of_another_version_is_refused(job, number, alter, reason):
    values = json.loads(json.dumps(store_of(job).load(number).values))
    alter(values)
    change(job, number, values=values)
    assert refusal(job) == (
        f"{store_of(job).folder(number)}: the checkpoint is not one of this version ({reason}). Average with the "
        "version of s2s that trained."
    )


# What the documentation promises


def test_a_job_that_was_killed_leaves_its_artifact_when_it_is_started_again_without_more_updates(job):
    shutil.rmtree(job / "model")
    checkpoints = store_of(job).stored()
    finished(job, JOB | {"max_num_batches": "1"})
    assert store_of(job).stored() == checkpoints
    assert averaged(average(job, "last", 3)) == [4, 5, 6]
