"""``docker run IMAGE train``: exit codes, what is left behind, stops, and several containers as one job."""

import json
import re

import pytest
import torch

from s2s_algo.checkpoints.artifact import FILES, METRICS_FILE
from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.decoding.translator import Translator
from tests.contract.train.jobs import TINY, OptMl
from tests.image.engine import IMAGE, TRAIN_GRACE_SECONDS, run
from tests.image.folders import CAREFUL, mounts

pytestmark = pytest.mark.image

SHORT = {**TINY, "max_num_batches": "20", "checkpoint_frequency_num_batches": "10"}
# Nothing but a signal ends it.
ENDLESS = {**TINY, "checkpoint_threshold": "1000000", "checkpoint_frequency_num_batches": "20"}

# Far below the platform's 120 seconds, far above what a busy machine needs.
STOP_SECONDS = 30


def assert_is_whole(opt_ml):
    """There is a model that translates."""
    assert {path.name for path in opt_ml.model.iterdir()} == {*FILES, METRICS_FILE}
    translation = Translator.load(opt_ml.model).translate([[4, 5]])[0]
    assert translation.attention.shape == (len(translation.tokens), 2)


def assert_stopped(ended):
    assert ended.exit_code == 0, ended.log
    assert ended.seconds < STOP_SECONDS
    assert "Traceback" not in ended.log


def weights(opt_ml):
    return Translator.load(opt_ml.model).model.state_dict()


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("options", [[], CAREFUL], ids=["as the platform", "with next to no rights"])
def test_a_job_leaves_a_model(engine, opt_ml, options, processes):
    opt_ml.configure("hyperparameters.json", {**SHORT, "processes": processes})
    ended = engine.start(["train"], [*options, *mounts(opt_ml, checkpoints=True)]).wait()
    assert ended.exit_code == 0, ended.log
    assert "Traceback" not in ended.log
    assert "WARNING" not in re.sub(r".*plateau_reduce_lr_threshold.*", "", ended.log)
    assert_is_whole(opt_ml)
    assert not opt_ml.failure.exists()
    assert {path.name for path in (opt_ml.base / "output/data").iterdir()} == {"report.html", "metrics.jsonl"}
    assert CheckpointStore(opt_ml.checkpoints).newest()


def test_wrong_hyperparameters_end_with_2_and_are_all_named_in_the_failure_file(engine, opt_ml):
    opt_ml.configure("hyperparameters.json", {**TINY, "learning_rat": "0.1", "batch_size": "0"})
    ended = engine.start(["train"], [*CAREFUL, *mounts(opt_ml)]).wait()
    assert ended.exit_code == 2
    failure = opt_ml.failure.read_text()
    first, second, _ = failure.splitlines()
    assert first == "ClientError: 2 problems with the hyperparameters:"
    assert second.startswith("batch_size: '0' is not an integer from 1 to ")
    assert "Additional hyperparameters are not allowed ('learning_rat' was unexpected)" in failure
    assert failure in ended.log


def test_a_model_folder_that_is_not_the_user_s_is_told_before_training(engine, opt_ml):
    options = mounts(opt_ml)
    run("run", "--rm", *options, "--entrypoint", "chown", IMAGE, "0:0", "/opt/ml/model")
    opt_ml.model.chmod(0o755)
    ended = engine.start(["train"], [*CAREFUL, *options]).wait()
    assert ended.exit_code == 3
    assert opt_ml.failure.read_text() == (
        "InternalServerError: /opt/ml/model: the folder is not writable (Permission denied). Mount it writable for the "
        "container's user."
    )


@pytest.mark.parametrize("options", [[], CAREFUL], ids=["as the platform", "with next to no rights"])
def test_docker_stop_in_training_leaves_a_model_and_the_next_start_goes_on_from_there(engine, opt_ml, options):
    opt_ml.configure("hyperparameters.json", ENDLESS)
    options = [*options, *mounts(opt_ml, checkpoints=True)]
    job = engine.start(["train"], options)
    job.wait_for(r"Checkpoint \[2\]")
    stopped = job.stop(TRAIN_GRACE_SECONDS)
    assert_stopped(stopped)
    updates = int(re.search(r"Stopped by a signal after (\d+) updates\.", stopped.log)[1])
    assert_is_whole(opt_ml)
    assert CheckpointStore(opt_ml.checkpoints).newest() == updates

    opt_ml.configure("hyperparameters.json", {**ENDLESS, "max_num_batches": str(updates + 7)})
    resumed = engine.start(["train"], options).wait()
    assert resumed.exit_code == 0, resumed.log
    assert re.search(rf"Resuming from \S+: update {updates}, ", resumed.log)
    assert_is_whole(opt_ml)
    assert CheckpointStore(opt_ml.checkpoints).newest() == updates + 7


def test_a_job_that_was_stopped_and_one_that_was_not_end_with_the_same_weights(engine, tmp_path):
    alone, interrupted = (OptMl.ready(tmp_path / name / "ml", ENDLESS) for name in ("alone", "interrupted"))
    options = mounts(interrupted, checkpoints=True)
    job = engine.start(["train"], options)
    job.wait_for(r"Checkpoint \[1\]")
    stopped = job.stop(TRAIN_GRACE_SECONDS)
    assert_stopped(stopped)
    last = int(re.search(r"Stopped by a signal after (\d+) updates\.", stopped.log)[1]) + 30
    for opt_ml in (alone, interrupted):
        opt_ml.configure("hyperparameters.json", {**ENDLESS, "max_num_batches": str(last)})
    jobs = [engine.start(["train"], options), engine.start(["train"], mounts(alone, checkpoints=True))]
    assert [job.wait().exit_code for job in jobs] == [0, 0]
    first, second = weights(alone), weights(interrupted)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_docker_stop_while_torch_is_imported_ends_with_0_and_without_a_model(engine, opt_ml):
    opt_ml.configure("hyperparameters.json", ENDLESS)
    job = engine.start(["train"], mounts(opt_ml, checkpoints=True))
    job.wait_for("Final configuration")
    stopped = job.stop(TRAIN_GRACE_SECONDS)
    assert_stopped(stopped)
    assert stopped.messages[-1] == "Stopped by a signal before the first update: there is no model to save."
    assert not list(opt_ml.model.iterdir())


def test_docker_stop_at_once_is_heard(engine, opt_ml):
    opt_ml.configure("hyperparameters.json", ENDLESS)
    job = engine.start(["train"], mounts(opt_ml))
    assert_stopped(job.stop(TRAIN_GRACE_SECONDS))


def test_a_killed_container_is_followed_by_one_that_goes_on(engine, opt_ml):
    opt_ml.configure("hyperparameters.json", ENDLESS)
    options = mounts(opt_ml, checkpoints=True)
    job = engine.start(["train"], options)
    job.wait_for(r"Checkpoint \[2\]")
    run("kill", job.name)
    assert job.wait().exit_code == 137
    opt_ml.configure("hyperparameters.json", {**ENDLESS, "max_num_batches": "1"})
    resumed = engine.start(["train"], options).wait()
    assert resumed.exit_code == 0, resumed.log
    assert "Resuming from /opt/ml/checkpoints/checkpoint-" in resumed.log
    assert_is_whole(opt_ml)


HOSTS = ("algo-1", "algo-2")


def start_hosts(engine, network, folder, hyperparameters):
    """Two containers that know each other by name, each with a folder of its own."""
    made = []
    for host in HOSTS:
        opt_ml = OptMl.ready(folder / host / "ml", hyperparameters)
        resources = {"current_host": host, "hosts": list(HOSTS), "network_interface_name": "eth0"}
        opt_ml.configure("resourceconfig.json", resources)
        options = ["--network-alias", host, *CAREFUL, *mounts(opt_ml, checkpoints=True)]
        made.append((opt_ml, engine.start(["train"], options, network=network)))
    return made


def test_two_containers_train_one_model_together(engine, tmp_path):
    hosts = start_hosts(engine, engine.network(), tmp_path, {**SHORT, "optimizer_type": "sgd"})
    leader, other = (container.wait() for _, container in hosts)
    assert (leader.exit_code, other.exit_code) == (0, 0), leader.log + other.log
    assert "Training with 1 processes on each of 2 hosts" in leader.log
    assert_is_whole(hosts[0][0])
    assert not list(hosts[1][0].model.iterdir())

    one = OptMl.ready(tmp_path / "one" / "ml", {**SHORT, "optimizer_type": "sgd"})
    assert engine.start(["train"], mounts(one)).wait().exit_code == 0
    together, alone = (json.loads((opt_ml.model / "metrics.json").read_text()) for opt_ml in (hosts[0][0], one))
    for name in ("train_perplexity", "validation_perplexity"):
        assert [entry[name] for entry in together] == pytest.approx([entry[name] for entry in alone], rel=1e-4)


def test_docker_stop_of_one_of_two_containers_ends_both_with_a_model(engine, tmp_path):
    (leader, first), (_, second) = start_hosts(engine, engine.network(), tmp_path, ENDLESS)
    first.wait_for(r"Checkpoint \[2\]")
    assert_stopped(second.stop(TRAIN_GRACE_SECONDS))
    assert first.wait().exit_code == 0
    assert_is_whole(leader)
