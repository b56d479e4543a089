import os
from types import SimpleNamespace

import pytest
import torch

from s2s_algo.machine import available_memory
from serve import model_memory
from serve.metrics import Metrics
from serve.model_memory import MemoryBudget, default_limit, give_memory_back
from serve.problems import InsufficientMemoryError

MB = 2**20
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def budget():
    return MemoryBudget(10 * MB, Metrics(None))


def test_claims_add_up_to_the_limit(budget):
    budget.claim("one", 6 * MB)
    budget.claim("two", 4 * MB)
    assert budget.claimed == budget.limit
    with pytest.raises(InsufficientMemoryError) as caught:
        budget.claim("three", 1)
    assert caught.value.message == (
        "the model 'three' needs about 1 MB of memory, and of the 10 MB that all models may take 0 MB are left; unload "
        "other models with DELETE /models/NAME and send it again, raise S2S_MODEL_MEMORY_MB, or use an instance type "
        "with more memory"
    )
    budget.release("one")
    budget.claim("three", 6 * MB)


def test_a_claim_replaces_the_one_before_or_leaves_it(budget):
    budget.claim("one", 6 * MB)
    budget.claim("one", 9 * MB)
    assert budget.claimed == 9 * MB
    with pytest.raises(InsufficientMemoryError):
        budget.claim("one", 11 * MB)
    assert budget.claimed == 9 * MB
    budget.claim("one", 1 * MB)
    assert budget.claimed == 1 * MB


def test_what_never_fits_is_told_so(budget):
    with pytest.raises(InsufficientMemoryError) as caught:
        budget.claim("one", 11 * MB)
    assert caught.value.message == (
        "the model 'one' needs about 11 MB of memory, more than the 10 MB that all models may take; raise "
        "S2S_MODEL_MEMORY_MB, or use an instance type with more memory"
    )


def test_releasing_what_was_never_claimed_is_no_problem(budget):
    budget.release("nobody")
    assert budget.claimed == 0


def test_figures_tell_what_is_claimed_and_the_limit():
    metrics = Metrics(None)
    MemoryBudget(1000, metrics).claim("one", 300)
    text = metrics.text().decode()
    assert "s2s_model_memory_bytes 300.0" in text
    assert "s2s_model_memory_limit_bytes 1000.0" in text


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], MACHINE),
        (["max\n"], MACHINE),
        (["1073741824\n"], 2**30),
        (["9223372036854771712\n"], MACHINE),
        (["max\n", "1048576\n"], 2**20),
        (["nonsense"], MACHINE),
    ],
)
def test_a_container_has_the_memory_that_its_control_group_leaves_it(tmp_path, texts, expected):
    files = [tmp_path / str(number) for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    assert available_memory([*files, tmp_path / "missing"]) == expected


@pytest.mark.parametrize(("memory", "limit"), [(4096 + 768, 3072), (512, 64), (100, 64)])
def test_models_may_take_three_quarters_of_what_the_process_leaves(monkeypatch, tmp_path, memory, limit):
    monkeypatch.setattr(model_memory, "available_memory", lambda: memory * MB)
    monkeypatch.setattr(model_memory, "_DEVICES", tmp_path)
    assert default_limit() == limit * MB


def test_on_a_gpu_they_may_take_no_more_than_three_quarters_of_its_memory(monkeypatch, tmp_path):
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(model_memory, "available_memory", lambda: 2**40)
    monkeypatch.setattr(model_memory, "_DEVICES", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=4096 * MB))
    assert default_limit() == 3072 * MB
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert default_limit() > 3072 * MB


def test_giving_memory_back_needs_no_particular_c_library(monkeypatch):
    give_memory_back()
    monkeypatch.setattr(model_memory.ctypes, "CDLL", lambda name: SimpleNamespace())
    give_memory_back()
