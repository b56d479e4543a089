"""Two containers on a network of their own train one model together: namespaces of this machine stand for hosts."""

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.contract.train.jobs import TINY, ColdJob, OptMl, framed, random_pairs

HOSTS = ("algo-1", "algo-2")
PAIRS = random_pairs(24, seed=1)
VALIDATION = random_pairs(13, seed=2)
TOLERANCE = 1e-4  # of losses in float32

# A checkpoint after every update tells the loss of each. All pairs form one batch, so each host's batches and those of
# one process over all pairs are the same whoever has which.
JOB = {
    **TINY,
    "learning_rate": "0.01",
    "batch_size": str(len(PAIRS)),
    "bucketing_enabled": "false",
    "bleu_sample_size": "-1",
    "max_num_batches": "15",
    "checkpoint_frequency_num_batches": "1",
    "checkpoint_threshold": "1000",
}
ENDLESS = {**TINY, "checkpoint_threshold": "1000000", "checkpoint_frequency_num_batches": "20"}


@dataclass(frozen=True)
class Host:
    """A machine.

    Attributes:
        opt_ml: Its folder.
        place: The command that runs another one there.
    """

    opt_ml: OptMl
    place: list[str]


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def _network(folder) -> Iterator[list[list[str]]]:
    """Two namespaces that are joined by a cable and know each other by name."""
    names = [f"s2s-{os.getpid()}-{host}" for host in HOSTS]
    hosts = folder / "hosts"
    addresses = [f"10.77.0.{number}" for number in (1, 2)]
    hosts.write_text("127.0.0.1 localhost\n" + "".join(map("{} {}\n".format, addresses, HOSTS)))
    with ExitStack() as cleanup:
        try:
            for name in names:
                _ip("netns", "add", name)
                cleanup.callback(_ip, "netns", "delete", name)
            _ip("link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
            for name, address in zip(names, addresses, strict=True):
                _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
                for link in ("lo", "eth0"):
                    _ip("-n", name, "link", "set", link, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"this user may not make a network: {getattr(error, 'stderr', None) or error}")
        # The names are known inside alone: the command has a namespace of mounts too.
        script = f'mount --bind {hosts} /etc/hosts && exec "$@"'
        yield [["ip", "netns", "exec", name, "sh", "-c", script, "sh"] for name in names]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with _network(tmp_path_factory.mktemp("network")) as places:
        yield places


@pytest.fixture
def hosts(network, tmp_path) -> list[Host]:
    """Both machines, each with all pairs."""
    made = []
    for name, place in zip(HOSTS, network, strict=True):
        opt_ml = prepared(tmp_path / name / "ml", JOB)
        resources = {"current_host": name, "hosts": list(HOSTS), "network_interface_name": "eth0"}
        opt_ml.configure("resourceconfig.json", resources)
        opt_ml.checkpoints.mkdir()
        made.append(Host(opt_ml, place))
    return made


def prepared(base, hyperparameters, train=PAIRS, validation=VALIDATION):
    opt_ml = OptMl.ready(base, hyperparameters)
    opt_ml.put("train/train.rec", framed(train))
    opt_ml.put("validation/val.rec", framed(validation))
    return opt_ml


def configure(hosts, hyperparameters):
    for host in hosts:
        host.opt_ml.configure("hyperparameters.json", hyperparameters)


def shard(hosts, channel, parts):
    """Gives each machine files of its own."""
    file = {"train": "train/train.rec", "validation": "validation/val.rec"}[channel]
    for host, part in zip(hosts, parts, strict=True):
        host.opt_ml.put(file, framed(part))
        path = host.opt_ml.base / "input/config/inputdataconfig.json"
        channels = {name: {"TrainingInputMode": "File"} for name in ("train", "validation", "vocab")}
        channels = json.loads(path.read_text()) if path.exists() else channels
        channels[channel]["S3DistributionType"] = "ShardedByS3Key"
        host.opt_ml.configure("inputdataconfig.json", channels)


def start(jobs, hosts) -> list[ColdJob]:
    return [jobs.start_cold(host.opt_ml, place=host.place) for host in hosts]


def run(jobs, hosts):
    """Runs a job on both machines to its end, which must be a good one; returns what the leader says."""
    leader, other = (job.wait() for job in start(jobs, hosts))
    assert (leader.exit_code, other.exit_code) == (0, 0), leader.log + other.log
    assert "The model is in" not in other.log
    assert other.opt_ml.files() == set() or not list(other.opt_ml.model.iterdir())
    for job in (leader, other):
        assert not list(job.opt_ml.scratch.iterdir())
    return leader


def curve(job, score):
    return [math.log(entry[score]) for entry in json.loads((job.opt_ml.model / "metrics.json").read_text())]


def assert_equal_curves(together, alone):
    for score in ("train_perplexity", "validation_perplexity", "validation_bleu"):
        assert curve(together, score) == pytest.approx(curve(alone, score), abs=TOLERANCE)
    assert curve(alone, "train_perplexity")[-1] < curve(alone, "train_perplexity")[0] - 0.05


@pytest.fixture(scope="module")
def alone(jobs, tmp_path_factory):
    """The job on one machine with one process."""
    job = jobs.run(prepared(tmp_path_factory.mktemp("alone") / "ml", JOB))
    assert job.exit_code == 0, job.log
    return job


def test_two_hosts_of_two_processes_learn_what_one_process_does(jobs, hosts, alone):
    configure(hosts, JOB | {"processes": "2"})
    together = run(jobs, hosts)
    assert together.found(r"Training with (\d+) processes on each of (\d+) hosts") == [("2", "2")]
    assert together.found(r"; processes: (\d+)") == ["4"]
    assert_equal_curves(together, alone)
    assert together.found(r"Samples=(\d+)") == alone.found(r"Samples=(\d+)")


def test_hosts_with_pairs_of_their_own_learn_what_one_process_does_from_all(jobs, hosts, alone):
    half = len(PAIRS) // 2
    shard(hosts, "train", (PAIRS[:half], PAIRS[half:]))
    shard(hosts, "validation", (VALIDATION[:4], VALIDATION[4:]))
    together = run(jobs, hosts)
    assert_equal_curves(together, alone)
    assert together.found(r"ratio: (.*)") == alone.found(r"ratio: (.*)")
    assert together.found(r"Samples=(\d+)") == alone.found(r"Samples=(\d+)")


def test_a_lost_host_fails_the_job_on_all_and_the_next_start_goes_on(jobs, hosts):
    configure(hosts, ENDLESS)
    leader, other = start(jobs, hosts)
    leader.wait_for(r"Checkpoint \[2\]")
    os.kill(other.worker(1), signal.SIGKILL)
    there, here = other.wait(), leader.wait()
    assert (there.exit_code, here.exit_code) == (3, 3)
    assert there.failure.startswith(
        "InternalServerError: training process 1 on host algo-2 was killed by signal 9. The machine may have run out "
    )
    assert here.failure == (
        "InternalServerError: training processes on another host are gone; its log says why. Start the job again: it "
        "goes on from its last checkpoint."
    )
    leader, other = start(jobs, hosts)
    leader.wait_for(r"Resuming from \S+checkpoint-0000")
    leader.wait_for(r"Epoch\[\d+\] Batch")
    # A signal on one host is one for all.
    other.terminate()
    assert (other.wait().exit_code, leader.wait().exit_code) == (0, 0)
    assert hosts[0].opt_ml.files() & {"model/model.safetensors"}


def test_a_mistake_in_the_files_of_one_host_is_told_there(jobs, hosts):
    shard(hosts, "train", (PAIRS[:5], [([4], [5]), ([4], [99])]))
    here, there = (job.wait() for job in start(jobs, hosts))
    assert (there.exit_code, here.exit_code) == (2, 3)
    assert there.failure.startswith("ClientError: train channel, file train.rec, record 2: target id 99 is outside")
    assert "training processes on another host are gone; its log says why" in here.failure


def test_a_host_that_waits_for_the_other_can_be_stopped(jobs, hosts):
    job = jobs.start_cold(hosts[0].opt_ml, place=hosts[0].place)
    job.wait_for(r"Training with 1 processes on each of 2 hosts")
    time.sleep(1)
    job.terminate()
    ended = job.wait()
    assert ended.exit_code == 0, ended.log
    assert ended.stop_seconds < 10
    # The handler of the signal runs or it does not, whatever torch was about.
    moments = ("while waiting for other hosts.", "before the first update: there is no model to save.")
    assert ended.messages[-1] in [f"Stopped by a signal {moment}" for moment in moments]
    assert hosts[0].opt_ml.files() == set()
    assert not list(hosts[0].opt_ml.scratch.iterdir())
