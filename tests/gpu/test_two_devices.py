"""Two GPUs learn together what one does, and one that fails does not leave the other waiting."""

import json
import math
import os
import signal
from contextlib import suppress

import pytest
import torch

from tests.contract.train.jobs import TINY, ColdJob, OptMl, framed, random_pairs

pytestmark = pytest.mark.gpu

UPDATES = 30
# A checkpoint after every update tells the loss of each. No dropout: its masks depend on the number of processes.
JOB = {
    **TINY,
    "learning_rate": "0.03",
    "max_num_batches": str(UPDATES),
    "checkpoint_frequency_num_batches": "1",
    "checkpoint_threshold": "1000",
}
KINDS = {
    "rnn": {},
    "cnn": {"encoder_type": "cnn", "decoder_type": "cnn", "cnn_num_hidden": "8"},
    "rnn, bfloat16": {"precision": "bfloat16"},
}
# Of losses in float32, which another number of processes adds up in another order; bfloat16 has 8 bits.
TOLERANCES = {"rnn": 1e-4, "cnn": 1e-4, "rnn, bfloat16": 0.05}


@pytest.fixture(autouse=True)
def two_devices(device):
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip(f"needs 2 CUDA devices, here is {torch.cuda.device_count()}")


@pytest.fixture
def run():
    """Trains as Docker does; ends what still runs at the end."""
    started = []

    def run(opt_ml):
        # How this machine finds its GPUs, and factors of 24 bits in place of TF32's 11.
        passed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES") if name in os.environ}
        environment = opt_ml.environment({**passed, "NVIDIA_TF32_OVERRIDE": "0"})
        started.append(ColdJob(opt_ml, opt_ml.base.with_suffix(".log"), ["train"], environment))
        return started[-1].wait()

    yield run
    for job in started:
        for rank in range(2):
            with suppress(AssertionError, ValueError, OSError):  # it has ended
                os.kill(job.worker(rank), signal.SIGKILL)
        job.kill()


def curve(job):
    entries = json.loads((job.opt_ml.model / "metrics.json").read_text())
    return [math.log(entry[f"{channel}_perplexity"]) for entry in entries for channel in ("train", "validation")]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_what_one_does(run, tmp_path, kind):
    curves = []
    for processes in ("1", "2"):
        opt_ml = OptMl.ready(tmp_path / processes, {**JOB, **KINDS[kind], "processes": processes})
        opt_ml.put("train/train.rec", framed(random_pairs(41, seed=1)))
        job = run(opt_ml)
        assert job.exit_code == 0, job.log
        assert job.found(r"processes: (\d+)") == [processes]
        curves.append(curve(job))
    assert len(curves[0]) == 2 * UPDATES
    assert curves[0][-2] < curves[0][0] - 0.1
    assert curves[1] == pytest.approx(curves[0], abs=TOLERANCES[kind])


@pytest.mark.timeout(150)
def test_a_process_that_fails_ends_the_job(run, tmp_path):
    """The first process reads the records; the second one waits for it in a sum that never comes."""
    opt_ml = OptMl.ready(tmp_path / "ml", {**JOB, "processes": "2"})
    opt_ml.put("train/more.rec", framed([([4], [5]), ([4], [99])]))
    job = run(opt_ml)
    assert job.exit_code == 2, job.log
    assert job.failure.startswith("ClientError: train channel, file more.rec, record 2: target id 99 is outside")
