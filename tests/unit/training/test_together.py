"""Whole jobs of several processes learn what a job of one does."""

import math

import pytest

from s2s_algo.errors import ClientError
from s2s_algo.training import trainer
from s2s_algo.training.loss import batch_loss
from s2s_algo.training.trainer import train
from tests.tiny_job import assemble_job, draw_pairs, train_job, weights_of
from tests.together import together

# Each target is copied, so that a little can be learnt.
PAIRS = {
    name: [(target, target) for _, target in draw_pairs(count, seed=seed, longest=6)]
    for name, count, seed in (("train_pairs", 23, 3), ("validation_pairs", 7, 4))
}
UPDATES = 50

# A checkpoint after every update tells the loss of each. No dropout: its masks depend on the number of processes.
JOB = {
    "max_seq_len_source": "6",
    "max_seq_len_target": "6",
    "bucket_width": "3",
    "bleu_sample_size": "-1",
    "learning_rate": "0.03",
    "max_num_batches": str(UPDATES),
    "checkpoint_frequency_num_batches": "1",
    "checkpoint_threshold": "1000",
}
TOLERANCE = 1e-4  # of losses in float32, which another number of processes adds up in another order


def result(assembled):
    """What a job has learnt."""
    state = assembled.state
    losses = {
        name: [math.log(entry[f"{name}_perplexity"]) for entry in state.history] for name in ("train", "validation")
    }
    scores = {f"validation_{name}": [e[f"validation_{name}"] for e in state.history] for name in ("accuracy", "bleu")}
    job = assembled.job
    translations = [translation.text for translation in job.bleu.translator.translate(job.bleu.sources)]
    counters = {"updates": state.updates, "epoch": state.epoch, "samples": state.samples, "best": state.best_updates}
    weights = {name: weight.numpy() for name, weight in weights_of(assembled).items()}
    return {"losses": losses, "scores": scores, "counters": counters, "strings": translations, "weights": weights}


def several(folder, size, raw=JOB, pairs=PAIRS):
    """The same job by several processes; all of them must have learnt the same bits."""

    def work(workers):
        return result(train_job(folder, raw, workers=workers, **pairs))

    leader, *others = together(size, work)
    for other in others:
        assert {**other, "weights": None} == {**leader, "weights": None}
        assert all((other["weights"][name] == weight).all() for name, weight in leader["weights"].items())
    return leader


def assert_equal(found, expected):
    assert found["counters"] == expected["counters"]
    for name, losses in expected["losses"].items():
        assert found["losses"][name] == pytest.approx(losses, abs=TOLERANCE)
    assert found["scores"]["validation_bleu"] == pytest.approx(expected["scores"]["validation_bleu"], abs=TOLERANCE)
    assert found["strings"] == expected["strings"]


KINDS = {
    "rnn, adam": {},
    "cnn, sgd, smoothed labels": {
        "encoder_type": "cnn",
        "decoder_type": "cnn",
        "cnn_num_hidden": "8",
        "optimizer_type": "sgd",
        "learning_rate": "0.3",
        "momentum": "0.9",
        "label_smoothing": "0.1",
    },
    "token batches, rmsprop": {"max_batch_tokens": "20", "optimizer_type": "rmsprop", "learning_rate": "0.005"},
}


@pytest.fixture(scope="module", params=KINDS)
def setting(request, tmp_path_factory):
    """Hyperparameters, and what one process learns with them."""
    raw = JOB | KINDS[request.param]
    return raw, result(train_job(tmp_path_factory.mktemp("alone"), raw, **PAIRS))


@pytest.mark.parametrize("size", [2, 4])
def test_several_processes_learn_what_one_does(setting, tmp_path, size, capsys):
    raw, alone = setting
    assert len(set(alone["strings"])) > 2
    found = several(tmp_path, size, raw)
    assert_equal(found, alone)
    losses = zip(found["losses"]["train"], alone["losses"]["train"], strict=True)
    deviation = max(abs(one - other) for one, other in losses)
    with capsys.disabled():
        print(f"\n{size} processes: largest deviation of the loss over {UPDATES} updates {deviation:.1e}")


def test_batches_of_fewer_pairs_than_processes_are_divided_too(tmp_path):
    raw = JOB | {"batch_size": "2", "max_num_batches": "20"}
    alone = result(train_job(tmp_path / "alone", raw, **PAIRS))
    (tmp_path / "four").mkdir()
    assert_equal(several(tmp_path / "four", 4, raw), alone)


def test_a_job_goes_on_with_another_number_of_processes(tmp_path):
    for name in ("alone", "changing"):
        (tmp_path / name).mkdir()
    alone = result(train_job(tmp_path / "alone", JOB, **PAIRS))
    for size, updates in ((2, 11), (1, 17), (4, UPDATES)):
        found = several(tmp_path / "changing", size, JOB | {"max_num_batches": str(updates), "processes": str(size)})
        assert found["counters"]["updates"] == updates
    assert_equal(found, alone)


def test_equal_jobs_give_equal_bits_with_dropout_too(tmp_path):
    raw = JOB | {"rnn_decoder_hidden_dropout": "0.5", "embed_dropout_source": "0.3", "max_num_batches": "8"}
    found = []
    # The second one is interrupted.
    for name, stops in (("whole", [8]), ("resumed", [3, 8])):
        (tmp_path / name).mkdir()
        for updates in stops:
            last = several(tmp_path / name, 3, raw | {"max_num_batches": str(updates)})
        found.append(last)
    assert found[0]["losses"] == found[1]["losses"]
    assert all((found[1]["weights"][name] == weight).all() for name, weight in found[0]["weights"].items())


def test_workers_drop_different_numbers(tmp_path):
    # Both workers have the same pair.
    pairs = {"train_pairs": [([4, 5, 6], [4, 5])] * 2, "validation_pairs": [([4], [4])]}
    raw = {"max_num_batches": "1", "batch_size": "2", "embed_dropout_source": "0.5"}

    def work(workers):
        assembled = assemble_job(tmp_path, raw, workers=workers, **pairs)
        own = []

        def spy(model, batch, smoothing):
            loss, totals = batch_loss(model, batch, smoothing)
            own.append(loss.item())
            return loss, totals

        trainer.batch_loss, trainer.try_largest_batch = spy, lambda job: None
        train(assembled.job, assembled.state)
        return own

    one, other = together(2, work)
    assert len(one) == len(other) == 1
    assert one != other


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_loss_that_is_not_finite_in_one_process_is_so_in_all(tmp_path, goes_on):
    raw = JOB | {"max_num_batches": "5", "stop_on_nonfinite_train_score": "false" if goes_on else "true"}

    def work(workers):
        assembled = assemble_job(tmp_path, raw, workers=workers, **PAIRS)
        calls = iter(range(1, 100))

        def breaking(model, batch, smoothing):
            loss, totals = batch_loss(model, batch, smoothing)
            return (loss * math.nan, totals) if next(calls) == 2 and workers.rank == 1 else (loss, totals)

        trainer.batch_loss, trainer.try_largest_batch = breaking, lambda job: None
        try:
            train(assembled.job, assembled.state)
        except ClientError as error:
            return str(error), assembled.state.updates
        return (
            assembled.state.skipped,
            assembled.state.updates,
            [e["train_perplexity"] for e in assembled.state.history],
        )

    here, there = together(2, work)
    if goes_on:
        assert here == there
        assert here[:2] == (1, 5)
        assert all(map(math.isfinite, here[2]))
    else:
        assert (here[1], there[1]) == (1, 1)
        assert "update 2 is" in here[0]
        assert there[0].startswith("the loss of update 2 is nan; ")


# Machines with pairs of their own


def shards(folder, size, raw, parts, local_size=1):
    """A job of which each machine has its own pairs."""

    def work(workers):
        own = parts[workers.rank // local_size]
        here = folder / f"machine {workers.rank // local_size}"
        pairs = {"train_pairs": own[0], "validation_pairs": own[1]}
        return result(train_job(here, raw, workers=workers, sharded=True, **pairs))

    found = together(size, work, local_size)
    assert all(other["losses"] == found[0]["losses"] for other in found)
    return found[0]


def test_machines_with_pairs_of_their_own_learn_what_one_process_does_from_all(tmp_path):
    train_pairs, validation_pairs = PAIRS["train_pairs"][:22], PAIRS["validation_pairs"]
    # Every epoch is one batch, so it does not matter who has which pairs.
    raw = JOB | {"batch_size": "22", "bucketing_enabled": "false", "max_num_batches": "20", "bleu_sample_size": "-1"}
    alone = result(train_job(tmp_path / "alone", raw, train_pairs=train_pairs, validation_pairs=validation_pairs))
    parts = [(train_pairs[:11], validation_pairs[:2]), (train_pairs[11:], validation_pairs[2:])]
    for local_size in (1, 2):
        folder = tmp_path / str(local_size)
        folder.mkdir()
        found = shards(folder, 2 * local_size, raw, parts, local_size)
        assert sorted(found.pop("strings")) == sorted(alone["strings"])
        assert_equal({**found, "strings": []}, {**alone, "strings": []})


def test_a_machine_with_fewer_pairs_goes_on_with_empty_batches(tmp_path):
    parts = [(PAIRS["train_pairs"][:3], [([4], [4])]), (PAIRS["train_pairs"][3:], PAIRS["validation_pairs"])]
    raw = {name: value for name, value in JOB.items() if name != "checkpoint_frequency_num_batches"}
    raw |= {"batch_size": "4", "bucketing_enabled": "false", "max_num_batches": "-1", "num_epochs": "3"}
    found = shards(tmp_path, 2, raw | {"save_interval": "1"}, parts)
    # Two pairs of a batch come from each machine: two batches here, ten there.
    assert found["counters"] == {"updates": 30, "epoch": 3, "samples": 3 * 23, "best": found["counters"]["best"]}
    assert len(found["losses"]["train"]) == 3
