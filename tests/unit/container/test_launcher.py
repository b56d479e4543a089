"""`container.launcher`: how the ends of training processes become the end of the job.

tests/contract/train/test_processes.py and test_hosts.py start real ones.
"""

import os
import signal
from types import SimpleNamespace

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher import api

from container import launcher
from container.launcher import SCRATCH_VARIABLE, failure_file, launch, stop_file, training_file
from container.paths import Paths
from container.resources import Resources
from container.signals import StopSignal
from s2s_algo.training.stopping import StopRequested

ALONE = Resources("algo-1", ("algo-1",))
SECOND = Resources("algo-2", ("algo-1", "algo-2", "algo-3"), "eth1")

KILLED = "was killed by signal 9. The machine may have run out of memory: lower batch_size or use a larger one."
AGAIN = " Start the job again: it goes on from its last checkpoint."
ELSEWHERE = f"InternalServerError: training processes on another host are gone; its log says why.{AGAIN}"


@pytest.fixture
def platform(tmp_path, monkeypatch):
    """The folders of a job; the environment and the signals are what they were at the end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", SCRATCH_VARIABLE, "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.pop(name, None)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    yield SimpleNamespace(paths=Paths(tmp_path / "ml"), scratch=scratch)
    os.environ.clear()
    os.environ.update(environment)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run(platform, monkeypatch):
    """Launches processes that are replaced; returns the exit code and what the failure file says."""

    def run_with(work, resources=ALONE, processes=2, stop=None):
        asked = []

        def elastic_launch(config, entry):
            asked.append((config, entry))
            return lambda *arguments: work()

        monkeypatch.setattr(api, "elastic_launch", elastic_launch)
        stop = stop or StopSignal()
        code = launch(platform.paths, resources, processes, platform.scratch, stop, lambda: None)
        platform.config = asked[0][0]
        failure = platform.paths.failure
        return code, failure.read_text() if failure.exists() else None

    return run_with


def failing(**failures):
    """Work of which processes fail: by rank, an exit code or an exit code and when that was."""

    def work():
        ends = {}
        for name, end in failures.items():
            code, when = end if isinstance(end, tuple) else (end, 0)
            rank = int(name.removeprefix("rank"))
            ends[rank] = SimpleNamespace(local_rank=rank % 2, exitcode=code, timestamp=when, pid=1, message="")
        error = ChildFailedError.__new__(ChildFailedError)
        error.failures = ends
        raise error

    return work


def test_processes_that_end_well_are_a_success(run):
    assert run(lambda: None) == (0, None)


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ({"rank1": -9}, f"training process 1 on host algo-1 {KILLED}"),
        ({"rank0": -11}, "training process 0 on host algo-1 was killed by signal 11."),
        ({"rank0": 77}, "training process 0 on host algo-1 ended with exit code 77."),
        # The others lost it, or were ended by the launcher.
        ({"rank0": 3, "rank1": -9}, f"training process 1 on host algo-1 {KILLED}"),
        ({"rank0": -15, "rank1": -9}, f"training process 1 on host algo-1 {KILLED}"),
        ({"rank0": (-9, 8), "rank1": (-7, 5)}, "training process 1 on host algo-1 was killed by signal 7."),
        # Somebody ended a process and not the job.
        ({"rank0": (3, 5), "rank1": (-15, 4)}, "training process 1 on host algo-1 was killed by signal 15."),
    ],
)
def test_a_lost_process_is_named(run, failures, expected):
    assert run(failing(**failures)) == (3, f"InternalServerError: {expected}{AGAIN}")


@pytest.mark.parametrize("code", [1, 2, 3])
@pytest.mark.parametrize("other", [{}, {"rank0": (3, 1)}, {"rank0": (-15, 9)}, {"rank0": (-9, 1)}], ids=str)
def test_what_a_process_says_is_the_reason_whoever_else_was_lost(run, platform, code, other):
    failure_file(platform.scratch, 1).write_text("ClientError: it is wrong")
    assert run(failing(rank1=(code, 5), **other)) == (code, "ClientError: it is wrong")


def test_blanks_are_no_words(run, platform):
    failure_file(platform.scratch, 0).write_text(" " * 4096)
    failure_file(platform.scratch, 1).write_text(" " * 4096)
    assert run(failing(rank0=3, rank1=-9)) == (
        3,
        f"InternalServerError: training process 1 on host algo-1 {KILLED}{AGAIN}",
    )


def test_words_that_cannot_be_passed_on_still_decide_the_exit_code(run, platform):
    platform.paths.base.mkdir()
    platform.paths.failure.parent.write_text("a file in the way")
    failure_file(platform.scratch, 1).write_text("ClientError: it is wrong")
    assert run(failing(rank1=2)) == (2, None)


def test_on_another_host_the_local_number_of_a_process_finds_its_words(run, platform):
    failure_file(platform.scratch, 1).write_text("ClientError: here")
    assert run(failing(rank2=3, rank3=2), SECOND) == (2, "ClientError: here")


@pytest.mark.parametrize("failures", [{"rank2": 3, "rank3": 3}, {"rank2": 3, "rank3": -15}], ids=str)
def test_processes_that_only_lost_others_point_to_another_host(run, failures):
    assert run(failing(**failures), SECOND) == (3, ELSEWHERE)


def test_hosts_that_do_not_meet_are_named(run):
    def work():
        raise TimeoutError("no answer")

    code, failure = run(work, SECOND)
    assert code == 3
    assert failure == (
        "InternalServerError: the hosts algo-1, algo-2, algo-3 did not come together within 1800 s (TimeoutError: no "
        "answer). If the log of one of them ends with an error of its own, mend that; otherwise check that they can "
        "reach algo-1 at port 7777."
    )


def test_on_one_host_any_other_error_is_a_bug(run):
    def work():
        raise KeyError("what")

    code, failure = run(work)
    assert code == 1
    assert failure.startswith("AlgorithmError: an unexpected error: KeyError: 'what'. ")


def test_one_host_finds_a_port_by_itself(run, platform):
    run(lambda: None, processes=4)
    config = platform.config
    assert (config.min_nodes, config.max_nodes, config.nproc_per_node, config.max_restarts) == (1, 1, 4, 0)
    assert (config.rdzv_backend, config.rdzv_endpoint) == ("c10d", "localhost:0")


def test_several_hosts_meet_at_the_first_through_the_network_of_the_platform(run, platform):
    def look():
        interfaces = {os.environ[f"{library}_SOCKET_IFNAME"] for library in ("GLOO", "NCCL")}
        assert interfaces == {"eth1"}
        assert os.environ[SCRATCH_VARIABLE] == str(platform.scratch)

    assert run(look, SECOND) == (0, None)
    config = platform.config
    assert (config.min_nodes, config.max_nodes, config.nproc_per_node) == (3, 3, 2)
    assert (config.rdzv_backend, config.rdzv_endpoint, config.local_addr) == ("static", "algo-1:7777", "algo-2")
    assert config.rdzv_configs["rank"] == 1


def test_processes_share_the_cores(run, monkeypatch):
    monkeypatch.setattr(launcher, "thread_settings", lambda waiting, processes: {"OMP_NUM_THREADS": f"8/{processes}"})
    threads = []
    run(lambda: threads.append(os.environ["OMP_NUM_THREADS"]), processes=4)
    assert threads == ["8/4"]


# A signal


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_where_nothing_can_be_lost_a_signal_ends_the_job_at_once(run, platform, number):
    with pytest.raises(StopRequested):
        run(lambda: send(number))


def test_a_signal_that_came_before_does_so_too(run):
    stop = StopSignal()
    stop.install()
    send()
    with pytest.raises(StopRequested):
        run(lambda: pytest.fail("launched"), stop=stop)


def test_where_something_can_be_lost_the_processes_are_told_and_end_by_themselves(run, platform):
    told = []

    def work():
        training_file(platform.scratch).touch()
        told.append(stop_file(platform.scratch).exists())
        send()
        send()
        told.append(stop_file(platform.scratch).exists())

    assert run(work) == (0, None)
    assert told == [False, True]


def test_afterwards_a_signal_is_only_remembered_again(run):
    stop = StopSignal()
    stop.install()
    run(lambda: None, stop=stop)
    send()
    assert stop.requested
