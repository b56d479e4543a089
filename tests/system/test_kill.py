"""A training job that is killed at any moment, as often as you like, ends as if nothing had happened.

Children are forked rather than started anew, for importing torch would take most of the time. ``S2S_KILLS`` is the
number of random kills, ``S2S_KILL_SEED`` draws the same moments again.
"""

import hashlib
import json
import os
import random
import secrets
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from s2s_algo.checkpoints.store import CheckpointStore
from s2s_algo.training.trainer import train
from tests.tiny_job import assemble_job, draw_pairs

KILLS = int(os.environ.get("S2S_KILLS", "40"))
SEED = int(os.environ.get("S2S_KILL_SEED") or secrets.randbelow(2**32))

PAIRS = {
    "train_pairs": draw_pairs(14, seed=3, longest=4),
    "validation_pairs": draw_pairs(5, seed=4, longest=4),
}
JOB = {
    "max_seq_len_source": "4",
    "max_seq_len_target": "4",
    "bleu_sample_size": "3",
    "embed_dropout_source": "0.3",
    "rnn_decoder_hidden_dropout": "0.4",
    "optimized_metric": "accuracy",
    "plateau_reduce_lr_threshold": "1",
    "checkpoint_threshold": "100",
    "checkpoint_frequency_num_batches": "2",
    "max_num_batches": "14",
}


@pytest.fixture(autouse=True)
def one_thread():
    # Threads do not survive a fork.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fork(work):
    """Runs work in a child; returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
        work()
        code = 0
    finally:
        os._exit(code)


def ended(child):
    """How a child ended: an exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(folder):
    assembled = assemble_job(folder, JOB, **PAIRS)
    train(assembled.job, assembled.state)


def digest(snapshot):
    """Of everything in a checkpoint but the time that it took."""
    values = json.loads(json.dumps(snapshot.values))
    for entry in [values["state"], *values["state"]["history"]]:
        del entry["seconds"]
    total = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, tensor in sorted({**snapshot.weights, **snapshot.training}.items()):
        total.update(name.encode())
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The digest of every checkpoint that the job makes if nobody kills it, by its updates; and how long it takes."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    digests = {}
    save = CheckpointStore.save

    def spying(store, updates, snapshot):
        save(store, updates, snapshot)
        digests[updates] = digest(store.load(updates))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CheckpointStore, "save", spying)
        began = time.monotonic()
        run(folder)
    assert sorted(digests) == [2, 4, 6, 8, 10, 12, 14]
    return digests, time.monotonic() - began


def check(folder, published):
    """What a killed job has left can be gone on from, and is what the uninterrupted job had there."""
    store = CheckpointStore(folder / "checkpoints")
    newest = store.newest()
    if newest is not None:
        assert digest(store.load(newest)) == published[newest]
    return newest


def test_random_kills_lose_nothing(published, tmp_path, capsys):
    digests, seconds = published
    draw = random.Random(SEED)
    kills = jobs = 0
    while kills < KILLS:
        folder, code = tmp_path / str(jobs), None
        while code != 0:
            child = fork(lambda folder=folder: run(folder))
            # Most children are given less time than the job takes, so that a job is killed several times.
            time.sleep(draw.uniform(0, 0.7 * seconds))
            os.kill(child, signal.SIGKILL)
            code = ended(child)
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
            check(folder, digests)
        assert check(folder, digests) == 14
        jobs += 1
    with capsys.disabled():
        print(f"\n{kills} kills of {jobs} jobs, all ended as if nothing had happened (S2S_KILL_SEED={SEED})")


class Killer:
    """Kills its process before or after the nth call of what changes files."""

    CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")

    def __init__(self, number, after):
        self.left, self.after = number, after

    def install(self):
        from s2s_algo.checkpoints import store, tensors

        for name in self.CALLS:
            setattr(os, name, self.wrap(getattr(os, name)))
        # It writes without Python's help.
        tensors.save_file = self.wrap(tensors.save_file)
        store.Path.write_text = self.wrap(store.Path.write_text)

    def wrap(self, call):
        def killing(*arguments, **options):
            self.left -= 1
            if self.left == 0 and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **options)
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return killing


def test_a_kill_at_every_change_of_a_file_loses_nothing(published, tmp_path, capsys):
    digests, _ = published
    kills = 0
    for after in (False, True):
        for number in range(1, 1000):
            folder = tmp_path / f"{number}-{after}"

            def killed(folder=folder, number=number, after=after):
                Killer(number, after).install()
                run(folder)

            code = ended(fork(killed))
            if code == 0:
                break  # there are no more calls
            assert code == -signal.SIGKILL
            kills += 1
            newest = check(folder, digests)
            # Every call is tried; going on to the end takes longer, so some do.
            if number % 10 == 0:
                assert ended(fork(lambda folder=folder: run(folder))) == 0
                assert check(folder, digests) == 14
            else:
                assert newest is None or newest in digests
    with capsys.disabled():
        print(f"\n{kills} kills before and after calls that change files")
    assert kills > 100
