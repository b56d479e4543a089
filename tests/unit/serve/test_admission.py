import pytest

from serve.admission import Admission
from serve.metrics import Metrics
from serve.problems import OverloadedError


@pytest.fixture
def admission():
    return Admission(max_tokens=10, max_requests=2, metrics=Metrics(None))


def test_what_has_left_makes_room(admission):
    admission.enter(10)
    with pytest.raises(OverloadedError) as caught:
        admission.enter(1)
    assert caught.value.message == (
        "1 requests with 10 source tokens are waiting and this one has 1; the limits are 2 and 10; send it again in 5 "
        "seconds, or add instances to the endpoint"
    )
    admission.leave(10)
    admission.enter(1)
    admission.enter(1)
    with pytest.raises(OverloadedError):
        admission.enter(0)
    assert admission.waiting_requests == 2


def test_a_request_on_its_own_is_never_too_much(admission):
    admission.enter(1000)
    assert admission.waiting_requests == 1
