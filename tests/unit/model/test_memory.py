import torch

from s2s_algo.model.memory import LiveMemory, MemoryEstimate, MemoryItem, empty_model
from tests.unit.small_model import small_config

NUMBERS = 1000


def test_what_is_held_is_counted_and_what_is_dropped_is_not():
    with LiveMemory() as live:
        first = torch.empty(NUMBERS)
        assert live.now == 4 * NUMBERS
        second = torch.empty(NUMBERS, dtype=torch.float64)
        assert live.now == 12 * NUMBERS
        del first
        assert live.now == 8 * NUMBERS
        del second
    assert (live.now, live.peak) == (0, 12 * NUMBERS)


def test_views_are_not_counted_twice_and_keep_the_whole_alive():
    with LiveMemory() as live:
        whole = torch.empty(NUMBERS)
        part = whole.view(10, -1)[3]
        assert live.now == 4 * NUMBERS
        del whole
        assert live.now == 4 * NUMBERS
        del part
        assert live.now == 0


def test_what_autograd_keeps_is_counted_until_the_backward_pass():
    weight = torch.zeros(NUMBERS, requires_grad=True)
    with LiveMemory() as live:
        loss = (weight + 1).exp().sum()
        assert live.now == 4 * NUMBERS + 4
        loss.backward()
        del loss
        assert live.now == weight.grad.nbytes


def test_tensors_without_numbers_count_by_their_shape():
    with LiveMemory() as live, torch.device("meta"):
        held = torch.empty(10**6, 10**6) + 1
    assert live.now == held.nbytes == 4 * 10**12
    assert live.peak == 8 * 10**12


def test_an_empty_model_has_shapes_alone():
    assert all(parameter.is_meta for parameter in empty_model(small_config()).parameters())


def test_an_estimate_sums_its_items_and_finds_them_by_name():
    estimate = MemoryEstimate("training", (MemoryItem("a", "one", 3), MemoryItem("b", "two", 4)), peak=5)
    assert (estimate.total, estimate["b"]) == (7, 4)
