"""What the training processes do together, with real ones, which are forks of this one."""

import os

import numpy as np
import pytest
import torch

from s2s_algo.data.buckets import Bucket
from s2s_algo.data.plans import BucketPlan
from s2s_algo.errors import LostWorkerError, PlatformError
from s2s_algo.training import workers as workers_module
from s2s_algo.training.data import BatchSource
from s2s_algo.training.workers import Workers
from tests.tiny_job import TARGET_VOCABULARY, corpus_of, draw_pairs
from tests.together import together

ALONE = Workers(torch.device("cpu"))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 9])
def test_shares_follow_one_another_and_differ_by_at_most_one(count, size):
    items = list(range(count))
    shares = [Workers(ALONE.device, rank, size).share(items) for rank in range(size)]
    assert [item for share in shares for item in share] == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [Workers(ALONE.device, 5, 9, rank, size).share_of_host(items) for rank in range(size)] == shares


def test_the_first_leads_all_and_the_first_of_a_host_leads_its_host():
    four = [Workers(ALONE.device, rank, 4, rank % 2, 2) for rank in range(4)]
    assert [workers.is_leader for workers in four] == [True, False, False, False]
    assert [workers.leads_host for workers in four] == [True, False, True, False]
    assert ALONE.is_leader
    assert ALONE.leads_host


def test_a_process_alone_needs_no_others():
    weight = torch.ones(2, requires_grad=True)
    ALONE.sum_gradients([weight])
    ALONE.broadcast_tensors([weight])
    assert weight.grad is None
    assert ALONE.sum(1.5, 2) == [1.5, 2]
    assert [ALONE.any(flag) for flag in (False, True)] == [False, True]
    assert (ALONE.largest(3), ALONE.broadcast("x"), ALONE.gather("x")) == (3, "x", ["x"])


def collective(workers):
    rank = workers.rank
    return {
        # Not a float32 number.
        "sum": workers.sum(rank, 2**40 + 1),
        "any of none": workers.any(False),
        "any": workers.any(rank == 1),
        "largest": workers.largest((5, 9, 2)[rank]),
        "broadcast": workers.broadcast({"of": rank}),
        "gather": workers.gather(["of", rank]),
    }


def test_numbers_and_values_are_equal_everywhere():
    expected = {
        "sum": [3.0, 3 * 2.0**40 + 3],
        "any of none": False,
        "any": True,
        "largest": 9,
        "broadcast": {"of": 0},
        "gather": [["of", 0], ["of", 1], ["of", 2]],
    }
    assert together(3, collective) == [expected] * 3


def tensors(workers):
    weights = [torch.full(shape, float(workers.rank), requires_grad=True) for shape in ((2, 3), (4,), (1,), ())]
    workers.broadcast_tensors(weights)
    for number, weight in enumerate(weights):
        if (workers.rank, number) != (1, 2):  # a worker without pairs has no gradients
            weight.grad = torch.full_like(weight, 10.0 * workers.rank + number)
    workers.sum_gradients(weights)
    return [weight.detach().numpy() for weight in weights], [weight.grad.numpy() for weight in weights]


@pytest.mark.parametrize("piece", [1, 5, 1 << 23])
def test_gradients_are_summed_and_weights_are_the_leader_s(monkeypatch, piece):
    monkeypatch.setattr(workers_module, "_PIECE", piece)
    for weights, gradients in together(3, tensors):
        assert [weight.shape for weight in weights] == [(2, 3), (4,), (1,), ()]
        assert all((weight == 0).all() for weight in weights)
        assert [set(gradient.flatten().tolist()) for gradient in gradients] == [{30.0}, {33.0}, {24.0}, {39.0}]


def test_gradients_travel_in_pieces_of_a_limited_size(monkeypatch):
    monkeypatch.setattr(workers_module, "_PIECE", 8)
    pieces = workers_module._pieces([torch.zeros(size) for size in (3, 3, 9, 1, 1, 4, 4, 4)])
    assert [[tensor.numel() for tensor in piece] for piece in pieces] == [[3, 3], [9], [1, 1, 4], [4, 4]]


def lose(workers):
    if workers.rank == 1:
        os._exit(0)
    try:
        for _ in range(3):
            workers.sum(1.0)
    except LostWorkerError as error:
        return str(error)
    return "nobody is missed"


def test_a_worker_that_is_gone_is_missed():
    here, _ = together(2, lose)
    assert here.startswith("this training process lost another one (")
    assert ".cc" not in here
    assert issubclass(LostWorkerError, PlatformError)


def test_other_errors_stay_what_they_are(monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(workers_module.distributed, "all_reduce", fail)
    with pytest.raises(torch.OutOfMemoryError):
        Workers(ALONE.device, 0, 2).sum(1.0)


# Machines with pairs of their own

SHARDS = [draw_pairs(7, seed=1, longest=5), draw_pairs(3, seed=2, longest=5)]


def epoch_of_shards(workers):
    pairs = SHARDS[workers.rank // 2]
    corpus = corpus_of(pairs)
    plan = BucketPlan(corpus.source.lengths, corpus.target.lengths + 1, [Bucket(6, 7)], batch_size=2, seed=13)
    source = BatchSource(corpus, TARGET_VOCABULARY, plan, workers, is_shard=True)
    plans = {"training": source.plan(0), "validation": source.plan_in_order()}
    return {
        name: [[row[row > 0].tolist() for row in source.collate(planned).source.numpy()] for planned in plan]
        for name, plan in plans.items()
    }


def test_with_shards_all_make_the_same_updates_and_every_pair_is_used_once():
    found = together(4, epoch_of_shards, local_size=2)
    for name in ("training", "validation"):
        # Four batches of two pairs there, two here, of which each of the two workers of a machine has one.
        assert [len(worker[name]) for worker in found] == [4] * 4
        used = [source for worker in found for batch in worker[name] for source in batch]
        assert sorted(used) == sorted(list(source) for shard in SHARDS for source, _ in shard)
        assert max(len(batch) for worker in found for batch in worker[name]) == 1
    assert np.sum([len(batch) for worker in found[2:] for batch in worker["training"][2:]]) == 0
