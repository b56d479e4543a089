"""From hyperparameters and channels to a job and its artifact."""

import logging

import pytest
import torch

from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.errors import ClientError
from s2s_algo.training.export import stored_artifact
from s2s_algo.training.state import TrainState
from tests.tiny_job import (
    SOURCE_VOCABULARY,
    TARGET_VOCABULARY,
    TRAIN,
    VALIDATION,
    assemble_job,
    differing,
    train_job,
    weights_of,
)
from tests.together import together


def tokens(pairs, side):
    return sum(len(pair[side]) for pair in pairs)


def test_the_log_tells_of_the_data_and_the_model(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    pairs = [*TRAIN, ([], [4]), ([4], [])]
    assembled = assemble_job(tmp_path, train_pairs=pairs)
    size = sum(weight.numel() for weight in weights_of(assembled).values())
    ratios = [(len(target) + 1) / len(source) for source, target in TRAIN]
    mean = sum(ratios) / len(ratios)
    deviation = (sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios)) ** 0.5
    assert caplog.messages == [
        f"Training on cpu with {torch.get_num_threads()} threads; processes: 1",
        "Vocabulary sizes: source=12 target=10",
        f"train channel: 14 pairs in 1 files, {tokens(TRAIN, 0)} source and {tokens(TRAIN, 1)} target tokens; "
        "2 records with an empty side skipped",
        f"validation channel: 7 pairs in 1 files, {tokens(VALIDATION, 0)} source and {tokens(VALIDATION, 1)} target "
        "tokens; 0 records with an empty side skipped",
        f"Mean training target/source length ratio: {mean:.2f} (+-{deviation:.2f})",
        f"Total # of parameters: {size}",
        "Early stopping by optimizing 'perplexity'",
    ]


def test_what_was_drawn_before_does_not_matter(tmp_path):
    torch.manual_seed(1)
    first = train_job(tmp_path / "a", {"embed_dropout_source": "0.5"})
    torch.manual_seed(2)
    torch.rand(7)
    second = train_job(tmp_path / "b", {"embed_dropout_source": "0.5"})
    assert differing(weights_of(first), weights_of(second)) == []


def test_a_new_job_stands_at_its_beginning_and_writes_nothing_there(tmp_path):
    assembled = assemble_job(tmp_path)
    assert assembled.state == TrainState()
    assert not list((tmp_path / "checkpoints").iterdir())


def test_pairs_that_cannot_be_read_stop_the_job(tmp_path):
    with pytest.raises(ClientError, match=r"validation channel, file validation\.rec, record 2: .* 99 .*vocabulary"):
        assemble_job(tmp_path, validation_pairs=[([4], [4]), ([4, 99], [5])])


def test_length_statistics_are_those_of_the_pairs_as_trained(tmp_path):
    pairs = [([4] * 4, [4] * 3), ([4] * 8, [4] * 40)]
    limits = assemble_job(
        tmp_path, {"max_seq_len_target": "7"}, train_pairs=pairs, validation_pairs=[([4], [4] * 90)]
    ).job.inference.limits
    assert (limits.ratio_mean, limits.ratio_std) == (1.0, 0.0)


def test_the_artifact_remembers_the_job(tmp_path):
    assembled = train_job(tmp_path, {"checkpoint_frequency_num_batches": "2", "max_num_batches": "5"})
    artifact, state = assembled.artifact(), assembled.state
    assert artifact.training == {
        "hyperparameters": assembled.hyperparameters.model_dump(mode="json"),
        "updates": 5,
        "epochs": 1,
        "best_checkpoint": state.best_checkpoint,
        "best_score": state.best_score,
        "optimized_metric": "perplexity",
    }
    assert artifact.metrics == state.history
    assert len(state.history) == 3
    assert (artifact.source_vocabulary, artifact.target_vocabulary) == (SOURCE_VOCABULARY, TARGET_VOCABULARY)
    assert artifact.inference == assembled.job.inference
    assert artifact.inference.beam_size == 2


def damage(assembled, updates):
    file = assembled.job.store.folder(updates) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def test_the_best_checkpoint_that_can_be_read_is_taken(tmp_path, caplog):
    raw = {"checkpoint_frequency_num_batches": "2", "max_num_batches": "6", "cleanup_old_models": "true"}
    assembled = train_job(tmp_path, raw)
    state, store = assembled.state, assembled.job.store
    by_score = sorted(state.history, key=lambda entry: entry["validation_perplexity"])
    damage(assembled, by_score[0]["updates"])
    artifact = assembled.artifact()
    second = by_score[1]
    expected = store.load(second["updates"]).weights
    assert differing(dict(artifact.model.named_parameters()), dict(expected)) == []
    told = artifact.training["best_checkpoint"], artifact.training["best_score"]
    assert told == (second["checkpoint"], second["validation_perplexity"])
    assert [message for message in caplog.messages if message.startswith("The best checkpoint cannot be read: ")]


def test_damaged_checkpoints_do_not_cost_the_model(tmp_path):
    assembled = train_job(tmp_path, {"checkpoint_frequency_num_batches": "2", "max_num_batches": "4"})
    weights = weights_of(assembled)
    for updates in assembled.job.store.stored():
        damage(assembled, updates)
    artifact = assembled.artifact()
    assert differing(dict(artifact.model.named_parameters()), weights) == []
    assert (artifact.training["best_checkpoint"], artifact.training["best_score"]) == (0, None)


def test_the_artifact_can_be_made_of_checkpoints_alone(tmp_path):
    raw = {"checkpoint_frequency_num_batches": "2", "max_num_batches": "5"}
    assembled = train_job(tmp_path, raw)
    expected = assembled.artifact()
    store, vocabularies = assembled.job.store, (SOURCE_VOCABULARY, TARGET_VOCABULARY)
    found = stored_artifact(store, assembled.hyperparameters, vocabularies, None)
    assert differing(dict(found.model.named_parameters()), dict(expected.model.named_parameters())) == []
    for name in ("inference", "source_vocabulary", "target_vocabulary", "training", "metrics"):
        assert getattr(found, name) == getattr(expected, name)
    assert stored_artifact(CheckpointStore(tmp_path / "none"), assembled.hyperparameters, vocabularies, None) is None
    other = assembled.hyperparameters.model_copy(update={"batch_size": 3})
    with pytest.raises(ClientError, match=r"the checkpoint belongs to another job: batch_size was \d+ and is 3"):
        stored_artifact(store, other, vocabularies, None)


@pytest.mark.parametrize("size", [2, 3])
def test_all_hosts_must_have_the_same_hyperparameters(tmp_path, size):
    def job(workers):
        rate = "0.5" if workers.rank else "0.25"
        with pytest.raises(ClientError) as error:
            assemble_job(tmp_path, {"learning_rate": rate}, workers=workers)
        return str(error.value)

    for message in together(size, job):
        assert message == "hyperparameters.json: not the same on all hosts: learning_rate; give each host the same file"
