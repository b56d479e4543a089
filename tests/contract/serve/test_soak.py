"""Some thousands of requests of all kinds, good and hostile; the whole of it is `python -m benchmarks.soak`."""

import pytest
import torch

from benchmarks.soak import Plan, Soak

# Bytes per request. So few requests leave a server little time to come to rest; the leak is as much larger.
LEAK = 50_000
MOST_GROWTH = 10_000


def soak(folder, **plan):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would compete with those of the server
    yield Soak(folder, Plan(**plan, kinds=60, stalled=False, shape_cache=False))
    torch.set_num_threads(threads)


@pytest.fixture
def few(tmp_path):
    yield from soak(tmp_path, requests=400, hostile=0.7)


@pytest.fixture
def many(tmp_path):
    yield from soak(tmp_path, requests=2_000, hostile=0.5)


def test_all_answers_are_right_and_nothing_of_the_requests_stays(many):
    outcome = many.run()
    assert outcome.done == 2_000
    assert not outcome.wrong, outcome.complaints
    assert outcome.statuses.keys() >= {200, 400, 404, 405, 406, 413, 414, 415, 431}
    assert outcome.growth() < MOST_GROWTH


def test_a_server_that_keeps_something_of_every_request_is_found_out(few):
    outcome = few.run(LEAK)
    assert not outcome.wrong, outcome.complaints
    assert outcome.growth() > MOST_GROWTH
