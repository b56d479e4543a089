import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from s2s_algo.decoding.options import SearchOptions
from s2s_algo.errors import ClientError
from serve.admission import Admission
from serve.metrics import Metrics
from serve.problems import (
    ClientGoneError,
    DeadlineExceededError,
    MemoryExhaustedError,
    NotReadyError,
    OverloadedError,
)
from serve.service import TranslationService
from tests.unit.serve.fakes import FakeStream, FakeTranslator, SlowGate

A, B, C = 4, 5, 6
OPTIONS = SearchOptions(beam_size=3)


def request(*sources):
    """Sentences that are searched as the model says."""
    return [(source, OPTIONS) for source in sources]


def service_of(load, **options):
    metrics = Metrics(None)
    return TranslationService(load, Admission(max_tokens=100, max_requests=10, metrics=metrics), metrics, **options)


def texts(found):
    return [best.text for [best] in found]


@pytest.fixture
def translator():
    return FakeTranslator()


@pytest.fixture
def service(translator):
    service = service_of(lambda: translator)
    start(service)
    translator.calls.clear()
    yield service
    translator.gate.set()
    assert service.stop(timeout=10)


def start(service):
    ended = threading.Event()
    failures = []

    def fail(error):
        failures.append(error)
        ended.set()

    service.start(on_ready=ended.set, on_load_failure=fail)
    assert ended.wait(10)
    return failures


def wait_until(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


class Busy:
    """Keeps the decoder at a sentence while the block runs."""

    def __init__(self, service, translator):
        self.service, self.translator = service, translator

    def __enter__(self):
        self.translator.gate.clear()
        self.pool = ThreadPoolExecutor(20)
        self.first = self.submit(request([A]))
        wait_until(lambda: self.translator.calls)
        return self

    def submit(self, *arguments, **options):
        before = self.service._admission.waiting_requests
        future = self.pool.submit(self.service.translate, *arguments, **options)
        wait_until(lambda: future.done() or self.service._admission.waiting_requests > before)
        return future

    def __exit__(self, *error):
        self.translator.gate.set()
        self.pool.shutdown()


# -- readiness


def test_it_is_ready_once_the_model_is_loaded_and_has_decoded_a_sentence():
    translator = FakeTranslator()
    translator.gate.clear()
    service = service_of(lambda: translator)
    assert not service.is_ready
    ready = threading.Event()
    service.start(on_ready=ready.set, on_load_failure=print)
    wait_until(lambda: translator.calls)
    assert not service.is_ready
    with pytest.raises(NotReadyError, match=r"the model is not ready; wait until GET /ping answers 200"):
        service.translate(request([A]))
    translator.gate.set()
    assert ready.wait(10)
    assert service.is_ready
    assert translator.calls == [[[1, 1]]]


def test_a_model_that_cannot_be_loaded_is_reported_and_never_ready():
    def load():
        raise ClientError("no model")

    service = service_of(load)
    [failure] = start(service)
    assert str(failure) == "no model"
    assert not service.is_ready


def test_a_model_that_loads_but_cannot_translate_is_reported_too():
    translator = FakeTranslator()
    translator.errors = [RuntimeError("bad weights")]
    service = service_of(lambda: translator)
    [failure] = start(service)
    assert str(failure) == "bad weights"
    assert not service.is_ready


# -- answers


def test_translations_come_in_the_order_of_the_sources(service):
    found = service.translate(request([A, B], [], [C], [A, B, C]))
    assert texts(found) == ["b a", "", "c", "c b a"]


def test_no_sources_need_no_decoder(service, translator):
    with Busy(service, translator):
        assert service.translate([]) == []


def test_each_sentence_has_its_own_options_and_as_many_answers_as_they_say(service, translator):
    options = SearchOptions(n_best=2, beam_size=7)
    found = service.translate([([A], OPTIONS), ([B], options)])
    assert [[translation.score for translation in translations] for translations in found] == [[0], [0, 1]]
    assert sorted(translator.options_of_calls[-1], key=lambda found: found.n_best) == [OPTIONS, options]


def test_requests_that_come_together_are_searched_together_in_the_order_of_their_arrival(service, translator):
    with Busy(service, translator) as busy:
        for token in (B, C, B):
            busy.submit(request([token]))
    assert translator.calls == [[[A]], [[B], [C], [B]]]


def test_a_request_of_one_sentence_does_not_wait_behind_one_of_thousands(service, translator):
    translator.most = 8
    with Busy(service, translator) as busy:
        many = busy.submit(request([B]) * 90)
        one = busy.submit(request([C]))
    assert (len(many.result(5)), len(one.result(5))) == (90, 1)
    calls = [[C] in call for call in translator.calls]
    assert calls.index(True) <= 4


def test_the_sentences_with_the_longest_sources_begin_first(service, translator):
    translator.most = 2
    found = service.translate(request([A], [A] * 3, [A] * 2, [A] * 4))
    assert [[len(source) for source in call] for call in translator.calls] == [[4, 3], [2, 1]]
    assert [len(best.tokens) for [best] in found] == [1, 3, 2, 4]


def test_the_stream_never_has_more_before_it_than_it_needs(service, translator):
    translator.most = 1
    waiting = []
    step = FakeStream.step

    def spy(stream):
        waiting.append(len(stream.submitted))
        return step(stream)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeStream, "step", spy)
        assert len(service.translate(request([]) * 300)) == 300
    assert max(waiting) * OPTIONS.beam_size <= 640 + 80 + OPTIONS.beam_size


def test_many_threads_get_their_own_answers(service):
    with ThreadPoolExecutor(8) as pool:
        lengths = [1 + number % 9 for number in range(60)]
        found = pool.map(lambda length: service.translate(request([A] * length)), lengths)
        assert [len(best.tokens) for [[best]] in found] == lengths


# -- admission


def test_requests_beyond_the_token_limit_are_refused_at_once(service, translator):
    with Busy(service, translator) as busy:
        waiting = [busy.submit(request([A] * 50)), busy.submit(request([A] * 49))]
        times = []
        for _ in range(3):  # the machine may be busy at one moment
            started = time.monotonic()
            with pytest.raises(OverloadedError) as caught:
                service.translate(request([A]))
            times.append(time.monotonic() - started)
        assert min(times) < 0.1
        assert caught.value.message == (
            "3 requests with 100 source tokens are waiting and this one has 1; the limits are 10 and 100; send it "
            "again in 5 seconds, or add instances to the endpoint"
        )
    assert [len(future.result()) for future in waiting] == [1, 1]
    assert service.translate(request([A]))


def test_requests_beyond_the_request_limit_are_refused_at_once(service, translator):
    with Busy(service, translator) as busy:
        waiting = [busy.submit(request([A])) for _ in range(9)]
        with pytest.raises(OverloadedError):
            service.translate(request([A]))
    assert all(future.result() for future in waiting)


def test_empty_sentences_take_a_place_in_the_queue(service, translator):
    with Busy(service, translator), pytest.raises(OverloadedError):
        service.translate(request([]) * 100)


def test_a_request_over_the_limit_is_taken_when_it_is_alone(service):
    assert len(service.translate(request([A] * 10) * 20)) == 20


# -- deadlines and clients that leave


def test_waiting_ends_at_the_deadline_and_the_request_is_never_decoded(service, translator):
    with Busy(service, translator):
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError, match="not ready in time; send fewer or shorter instances"):
            service.translate(request([B]), deadline=started + 0.3)
        assert 0.3 <= time.monotonic() - started < 5
    assert service.translate(request([C]))
    assert [[B]] not in translator.calls


def test_a_request_that_expires_between_steps_is_not_decoded_further(service, translator):
    translator.gate.clear()
    with pytest.raises(DeadlineExceededError):
        service.translate(request([A]) * 200, deadline=time.monotonic() + 0.2)
    translator.gate.set()
    assert service.translate(request([C]))
    assert [len(call) for call in translator.calls] == [64, 1]


def test_a_client_that_leaves_while_its_request_is_queued_costs_nothing(service, translator):
    gone = threading.Event()
    with Busy(service, translator) as busy:
        future = busy.submit(request([B]), is_abandoned=gone.is_set)
        gone.set()
        with pytest.raises(ClientGoneError):
            future.result(5)
        assert service._admission.waiting_requests == 1
    assert service.translate(request([C]))
    assert [[B]] not in translator.calls


def test_deadlines_do_not_follow_the_clock_on_the_wall(service, translator, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0 if time.monotonic_ns() % 2 else 1e12)
    assert service.translate(request([A]), deadline=time.monotonic() + 30)


def test_time_is_that_of_the_given_clock(translator):
    now = [1000.0]
    service = service_of(lambda: translator, clock=lambda: now[0])
    start(service)
    translator.calls.clear()
    with Busy(service, translator) as busy:
        assert service.busy_seconds() == 0
        future = busy.submit(request([B]), deadline=1050.0)
        now[0] += 49
        assert service.busy_seconds() == 49
        time.sleep(0.3)
        assert not future.done()
        now[0] += 2
        with pytest.raises(DeadlineExceededError):
            future.result(5)
    assert service.busy_seconds() == 0
    service.stop(5)


def test_draining_lowers_the_deadline_of_what_waits(service, translator):
    with Busy(service, translator) as busy:
        future = busy.submit(request([B]), deadline=math.inf)
        service.drain(0.1)
        with pytest.raises(DeadlineExceededError, match="the server is shutting down and cannot finish this request"):
            future.result(5)


# -- errors of the decoder


def test_an_error_fails_its_request_alone(service, translator):
    translator.most = 1
    translator.errors = [None, RuntimeError("boom")]
    with Busy(service, translator) as busy:
        failing, other = busy.submit(request([B], [B])), busy.submit(request([C]))
    with pytest.raises(RuntimeError, match="boom"):
        failing.result(5)
    assert texts(other.result(5)) == ["c"]
    assert service.is_ready
    # Its other sentence is not searched, and a trial shows that the model is well.
    assert translator.calls == [[[A]], [[B]], [[1, 1]], [[C]]]


def test_a_client_error_of_the_model_stays_one(service, translator):
    translator.errors = [ClientError("beam too wide")]
    with pytest.raises(ClientError, match="beam too wide"):
        service.translate(request([A]))


def test_a_model_that_fails_the_trial_after_an_error_is_given_up(service, translator):
    translator.errors = [RuntimeError("device-side assert"), RuntimeError("device-side assert")]
    with pytest.raises(RuntimeError):
        service.translate(request([A]))
    wait_until(service.has_failed)
    assert not service.is_ready
    with pytest.raises(NotReadyError):
        service.translate(request([A]))


def test_requests_that_wait_when_the_model_is_given_up_are_told_at_once(service, translator):
    with Busy(service, translator) as busy:
        waiting = busy.submit(request([B]))
        translator.errors = [RuntimeError("1"), RuntimeError("2")]
    with pytest.raises(NotReadyError, match="the server is shutting down; send the request again"):
        waiting.result(5)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        torch.OutOfMemoryError("a new wording"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_a_sentence_that_needs_too_much_memory_is_an_error_and_the_server_lives(service, translator, error):
    translator.errors = [error]
    with pytest.raises(MemoryExhaustedError, match="a sentence of 3 source tokens needs more memory than there is"):
        service.translate(request([A, B, C]))
    assert texts(service.translate(request([A]))) == ["a"]
    assert translator.calls == [[[A, B, C]], [[A]]]  # no trial: memory that ran out is no sign of a defect


# -- the end


def test_stopping_ends_the_decoder_and_tells_those_who_wait(service, translator):
    with Busy(service, translator) as busy:
        waiting = busy.submit(request([B]))
        assert not service.stop(timeout=0.05)
        translator.gate.set()
        with pytest.raises(NotReadyError):
            waiting.result(5)
        assert busy.first.result(5)
    assert service.stop(timeout=5)
    assert not service.has_failed()


def test_each_translation_comes_as_soon_as_it_is_there(service, translator):
    translator.most = 1
    found = service.translate_each(request([A, B], [C], [A, B, C, C], []))
    assert texts([next(found)]) == ["b a"]
    # In the order of the request, not the longest first, for somebody waits for the next one.
    assert translator.calls[:1] == [[[A, B]]]
    assert texts(found) == ["c", "c c b a", ""]
    assert [call for [call] in translator.calls] == [[A, B], [C], [A, B, C, C], []]


def test_those_that_are_there_come_before_the_error(service, translator):
    translator.most, translator.errors, translator.gate = 1, [None, ClientError("no")], SlowGate()
    found = service.translate_each(request([A], [B], [C]))
    assert texts([next(found)]) == ["a"]
    with pytest.raises(ClientError, match="no"):
        next(found)
    assert service.translate(request([A]))


def test_whoever_takes_slowly_does_not_keep_a_place_beyond_the_deadline(service, translator):
    found = service.translate_each(request(*([A] for _ in range(9))), deadline=time.monotonic() + 0.3)
    next(found)
    time.sleep(0.4)  # by now all of them are there
    with pytest.raises(DeadlineExceededError):
        next(found)
    assert service._admission.waiting_requests == 0


def test_wide_beams_count_as_more(service, translator):
    """A turn of them is not as many sentences, so that one of a usual beam soon has its own."""
    translator.most, translator.gate = 1, SlowGate()
    wide = [([A], SearchOptions(beam_size=100))] * 80
    with ThreadPoolExecutor(1) as pool:
        many = pool.submit(service.translate, wide)
        while not translator.calls:
            time.sleep(0.001)
        service.translate(request([C]))
        assert len(many.result(20)) == 80
    assert [call for [call] in translator.calls].index([C]) < 30


def test_whoever_takes_no_more_is_dropped(service, translator):
    translator.most, translator.gate = 1, SlowGate()
    found = service.translate_each(request(*([A] for _ in range(50))))
    next(found)
    found.close()
    service.translate(request([B]))
    assert len(translator.calls) < 50
    assert service._admission.waiting_requests == 0


def test_the_deadline_is_that_of_all_together(service, translator):
    translator.most = 1
    found = service.translate_each(request([A], [B]), deadline=time.monotonic() + 0.5)
    next(found)
    translator.gate.clear()
    with pytest.raises(DeadlineExceededError):
        list(service.translate_each(request([A], [B]), deadline=time.monotonic() + 0.3))
    translator.gate.set()
