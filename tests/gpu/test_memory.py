"""A job needs the memory that ``s2s describe model`` tells, and no more after many updates than after a few."""

import gc
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import validate
from s2s_algo.model.memory import LiveMemory
from s2s_algo.training.memory_estimate import estimate_training
from s2s_algo.training.settings import model_config, optimizer_config
from s2s_algo.training.trainer import train, try_largest_batch, update
from s2s_algo.training.workers import Workers
from tests.tiny_job import assemble_job, draw_pairs

pytestmark = pytest.mark.gpu

WORDS, LENGTH = 5_000, 40
VOCABULARY = Vocabulary.from_tokens([*SPECIAL_TOKENS, *(f"w{number}" for number in range(WORDS - len(SPECIAL_TOKENS)))])
JOB = {
    "rnn_num_hidden": "256",
    "rnn_attention_num_hidden": "256",
    "cnn_num_hidden": "256",
    "num_embed_source": "128",
    "num_embed_target": "128",
    "max_seq_len_source": str(LENGTH),
    "max_seq_len_target": str(LENGTH),
    "batch_size": "64",
}
KINDS = {
    "lstm, mlp, adam": {"optimizer_type": "adam"},
    "gru, dot, sgd": {"rnn_cell_type": "gru", "rnn_attention_type": "dot", "optimizer_type": "sgd"},
    "3 layers, rmsprop": {"num_layers_encoder": "3", "num_layers_decoder": "3", "optimizer_type": "rmsprop"},
    "cnn": {"encoder_type": "cnn", "decoder_type": "cnn", "num_layers_encoder": "3", "num_layers_decoder": "3"},
}
# Libraries have their own ways, but an estimate that is off by more helps nobody.
AT_MOST, AT_LEAST = 1.2, 0.6
ROOM = 192 * 2**20


def job_of(folder, device, raw):
    """A job whose pairs all have the greatest lengths, enough for one batch."""
    folder.mkdir(exist_ok=True)
    count = int((JOB | raw)["batch_size"])
    pairs = [(source, (target * 2)[:LENGTH]) for source, target in draw_pairs(count, shortest=LENGTH, longest=LENGTH)]
    return assemble_job(
        folder,
        JOB | raw,
        train_pairs=pairs,
        validation_pairs=pairs,
        vocabularies=(VOCABULARY, VOCABULARY),
        workers=Workers(device),
    )


def estimate_of(raw):
    h = validate(JOB | raw).hyperparameters
    return estimate_training(model_config(h, WORDS, WORDS), optimizer_config(h), h.batch_size, LENGTH, LENGTH + 1)


def peak_of(device: torch.device, task: Callable[[], Any]) -> int:
    """Bytes of all tensors on a device while a task runs, at most at one time, beyond those before it."""
    if device.type != "cuda":
        with LiveMemory() as live:
            _ = task()
        return live.peak
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    _ = task()
    return torch.cuda.max_memory_allocated(device) - before


def allocated(device: torch.device, live: LiveMemory) -> tuple[int, ...]:
    """Bytes that are held now: by tensors, and on a GPU also by the allocator."""
    if device.type != "cuda":
        return (live.now,)
    return torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)


@pytest.fixture
def warm(device):
    """What libraries allocate once and for all is not counted."""
    layer = torch.nn.LSTM(4, 4).to(device)
    (layer(torch.zeros(2, 2, 4, device=device))[0] @ torch.zeros(4, 4, device=device)).sum().backward()


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_updates_need_what_is_estimated(device, tmp_path, kind):
    def begin():
        assembled = job_of(tmp_path, device, KINDS[kind])
        try_largest_batch(assembled.job)
        for planned in assembled.job.train_data.plan(0) * 2:
            update(assembled.job, assembled.state, planned)
        return assembled

    found, estimate = peak_of(device, begin), estimate_of(KINDS[kind])
    assert estimate.peak > 2 * ROOM / 3  # or else the test would say little
    assert AT_LEAST * estimate.peak < found < AT_MOST * estimate.total


def test_memory_does_not_grow_over_fifty_updates(device, tmp_path):
    # Dropout and buckets as in a real job: batches of several shapes, over and over.
    assembled = assemble_job(tmp_path, {"embed_dropout_source": "0.1"}, workers=Workers(device))
    plan = assembled.job.train_data.plan(0)
    assert 2 < len(plan) < 10
    live, held = LiveMemory(), []
    with nullcontext() if device.type == "cuda" else live:
        for number in range(50):
            update(assembled.job, assembled.state, plan[number % len(plan)])
            held.append(allocated(device, live))
    assert held[-1] == held[19]


def test_a_batch_that_does_not_fit_is_refused_before_the_first_update(cuda, tmp_path):
    large = {"batch_size": "512"}
    assert estimate_of(large).peak > 4 * ROOM
    assert estimate_of({"batch_size": "2"}).total < ROOM / 2
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(cuda) + ROOM) / total, cuda)
    try:
        assembled = job_of(tmp_path / "large", cuda, large)
        with pytest.raises(ClientError) as caught:
            train(assembled.job, assembled.state)
        assert str(caught.value) == (
            "a batch of 512 pairs of up to 40 source and 41 target tokens does not fit in memory. Lower batch_size, "
            "max_seq_len_source, max_seq_len_target or the sizes of the model."
        )
        assert assembled.state.updates == 0
        # What was allocated for it is free again, so that one need not start anew to try a smaller one.
        del assembled, caught
        gc.collect()
        smaller = job_of(tmp_path / "small", cuda, {"batch_size": "2", "max_num_batches": "1"})
        train(smaller.job, smaller.state)
        assert smaller.state.updates == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, cuda)
