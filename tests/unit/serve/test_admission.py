import pytest

from serve.admission import Admission
from serve.metrics import Metrics
from serve.problems import OverloadedError


@pytest.fixture
def admission():
    return Admission(max_tokens=10, max_requests=2, metrics=Metrics(None))


def test_what_has_left_makes_room(admission):
    small, large = admission.enter(1), admission.enter(9)
    assert (small, large) == (1, 9)
    with pytest.raises(OverloadedError) as caught:
        admission.enter(1)
    assert caught.value.message == (
        "2 requests with 10 source tokens are waiting and this one has 1; the limits are 2 and 10; send it again in 5 "
        "seconds, or add instances to the endpoint"
    )
    admission.leave(large)
    with pytest.raises(OverloadedError):
        admission.enter(10)
    admission.enter(9)
    with pytest.raises(OverloadedError):
        admission.enter(0)
    assert admission.waiting_requests == 2


def test_a_request_on_its_own_is_never_too_much_and_leaves_room(admission):
    cost = admission.enter(1000)
    assert cost == 5
    admission.enter(5)
    with pytest.raises(OverloadedError):
        admission.enter(1)
    admission.leave(5)
    admission.leave(cost)
    assert admission.waiting_requests == 0
