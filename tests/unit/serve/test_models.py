"""The pool of models, with translators and folders that do as they are told."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from s2s_algo.decoding.options import SearchOptions
from s2s_algo.errors import ClientError
from serve.admission import Admission
from serve.metrics import Metrics
from serve.model_memory import MemoryBudget
from serve.models import Loaded, ModelPool
from serve.problems import (
    InsufficientMemoryError,
    ModelExistsError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
)
from tests.unit.serve.fakes import FakeTranslator

MB = 2**20
A = [([4], SearchOptions(beam_size=3))]


class FakeSource:
    """A URL is the name of a translator.

    Attributes:
        loaded: The translators that were made, by URL.
        gate: Holds every loading while it is cleared.
        errors: Raised by the next loadings.
        loading: Bytes that a model takes while it is being loaded.
        serving: And afterwards.
    """

    def __init__(self):
        self.loaded = {}
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.errors = []
        self.loading = self.serving = 10 * MB

    def folder(self, url):
        return url

    def loading_cost(self, folder):
        return self.loading

    def serving_cost(self, translator):
        return self.serving

    def load(self, folder):
        self.begun.set()
        assert self.gate.wait(10)
        if self.errors:
            raise self.errors.pop()
        translator = FakeTranslator()
        self.loaded[folder] = weakref.proxy(translator)
        return translator


@pytest.fixture
def source():
    return FakeSource()


def pool_of(source, limit=100 * MB, **options):
    metrics = Metrics(None)
    admission = Admission(max_tokens=100, max_requests=20, metrics=metrics)
    return ModelPool(source, MemoryBudget(limit, metrics), admission, metrics, **options)


@pytest.fixture
def pool(source):
    pool = pool_of(source)
    yield pool
    source.gate.set()
    for translator in source.loaded.values():
        try:
            translator.gate.set()
        except ReferenceError:
            continue
    assert pool.stop(10)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(20) as threads:
        yield threads


def wait_until(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def translate(pool, name):
    with pool.using(name) as service:
        [[best]] = service.translate(A)
    return best.text


def names(pool):
    return [model.name for model in pool.page()[0]]


# -- one after the other


def test_a_pool_begins_empty_and_ready(pool):
    called = []
    pool.start(lambda: called.append("ready"), called.append)
    assert called == ["ready"]
    assert pool.is_ready
    assert pool.page() == ([], None)
    assert pool.busy_seconds() == 0
    assert not pool.has_failed()


def test_a_model_can_be_used_until_it_is_unloaded(pool):
    assert pool.load("one", "/1") == Loaded("one", "/1")
    assert pool.find("one") == Loaded("one", "/1")
    assert pool.page() == ([Loaded("one", "/1")], None)
    assert translate(pool, "one") == "a"
    assert pool.memory.claimed == 10 * MB
    assert pool.unload("one") == Loaded("one", "/1")
    assert pool.page() == ([], None)
    assert pool.memory.claimed == 0
    for use in (pool.find, pool.unload, lambda name: translate(pool, name)):
        with pytest.raises(ModelNotFoundError) as caught:
            use("one")
        assert caught.value.message == "the model 'one' is not loaded; load it with POST /models"


def test_a_name_is_taken_once(pool):
    pool.load("one", "/1")
    with pytest.raises(ModelExistsError) as caught:
        pool.load("one", "/2")
    assert caught.value.message == (
        "the model 'one' is loaded already, from '/1'; to load another one under this name, unload it first with "
        "DELETE /models/NAME"
    )
    pool.unload("one")
    assert pool.load("one", "/2").url == "/2"


def test_each_model_gives_its_own_answers(pool, source):
    for name in ("one", "two"):
        pool.load(name, name)
        source.loaded[name].calls.clear()
    translate(pool, "two")
    assert (source.loaded["one"].calls, source.loaded["two"].calls) == ([], [[[4]]])


def test_lists_come_in_pages_that_go_on_after_a_name(source):
    pool = pool_of(source, page_size=2)
    for name in ("b", "d", "a", "c"):
        pool.load(name, "/")
    first, next_ = pool.page()
    assert ([model.name for model in first], next_) == (["a", "b"], "b")
    pool.unload("b")
    second, next_ = pool.page(next_)
    assert ([model.name for model in second], next_) == (["c", "d"], None)
    assert pool.page("d") == ([], None)
    pool.stop(10)


# -- memory


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded_until_another_one_goes(pool, source):
    for number in range(10):
        pool.load(str(number), str(number))
    with pytest.raises(InsufficientMemoryError) as caught:
        pool.load("ten", "ten")
    assert caught.value.message == (
        "the model 'ten' needs about 10 MB of memory, and of the 100 MB that all models may take 0 MB are left; unload "
        "other models with DELETE /models/NAME and send it again, raise S2S_MODEL_MEMORY_MB, or use an instance type "
        "with more memory"
    )
    assert "ten" not in source.loaded
    assert len(names(pool)) == 10
    pool.unload("3")
    pool.load("ten", "ten")


def test_once_loaded_a_model_is_counted_with_what_it_needs_for_its_work(pool, source):
    source.loading, source.serving = 90 * MB, 20 * MB
    pool.load("one", "/")
    assert pool.memory.claimed == 20 * MB
    source.loading, source.serving = 10 * MB, 90 * MB
    with pytest.raises(InsufficientMemoryError, match=r"needs about 90 MB .* 80 MB are left"):
        pool.load("two", "/")
    assert pool.memory.claimed == 20 * MB
    assert names(pool) == ["one"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_while_loading_is_told_and_freed(pool, source, error):
    source.errors = [error]
    with pytest.raises(InsufficientMemoryError) as caught:
        pool.load("one", "/")
    assert caught.value.message == (
        "memory ran out while the model 'one' was being loaded; unload other models with DELETE /models/NAME and send "
        "it again"
    )
    assert pool.memory.claimed == 0
    pool.load("one", "/")


def test_nobody_holds_a_model_that_was_unloaded_even_if_requests_failed(pool, source):
    pool.load("one", "one")
    alive = source.loaded["one"]
    alive.errors = [ClientError("beam too wide")]
    with pytest.raises(ClientError, match="beam too wide") as kept:
        translate(pool, "one")
    gc.disable()
    try:
        pool.unload("one")
        with pytest.raises(ReferenceError):
            print(alive.calls)
    finally:
        gc.enable()
    assert kept


# -- models that cannot be loaded


def test_a_model_that_cannot_be_loaded_leaves_nothing(pool, source):
    source.errors = [ClientError("damaged", where="config.json")]
    with pytest.raises(ClientError, match="damaged"):
        pool.load("one", "/")
    assert pool.memory.claimed == 0
    assert not pool.has_failed()
    with pytest.raises(ModelNotFoundError):
        pool.find("one")
    pool.load("one", "/")
    assert translate(pool, "one") == "a"


# -- at the same time


def test_of_two_that_load_one_name_at_once_one_succeeds(pool, source, threads):
    source.gate.clear()
    first = threads.submit(pool.load, "one", "/1")
    assert source.begun.wait(10)
    with pytest.raises(ModelExistsError, match="the model 'one' is being loaded already, from '/1'"):
        pool.load("one", "/2")
    with pytest.raises(NotReadyError) as caught:
        translate(pool, "one")
    assert caught.value.message == "the model 'one' is still being loaded; send the request again"
    with pytest.raises(ModelNotFoundError):
        pool.find("one")
    assert names(pool) == []
    source.gate.set()
    assert first.result(10) == Loaded("one", "/1")
    assert names(pool) == ["one"]


def test_what_is_unloaded_while_it_is_being_loaded_is_gone_when_both_are_answered(pool, source, threads):
    source.gate.clear()
    loading = threads.submit(pool.load, "one", "/")
    assert source.begun.wait(10)
    unloading = threads.submit(pool.unload, "one")
    wait_until(lambda: pool._entries["one"].is_unloading)
    with pytest.raises(ModelNotFoundError):
        translate(pool, "one")
    with pytest.raises(NotReadyError, match="the model 'one' is just being unloaded; load it again when it is"):
        pool.load("one", "/")
    source.gate.set()
    with pytest.raises(ModelNotFoundError, match="the model 'one' was unloaded while it was being loaded"):
        loading.result(10)
    assert unloading.result(10) == Loaded("one", "/")
    assert pool.memory.claimed == 0
    pool.load("one", "/")


def test_what_fails_to_load_while_it_is_to_be_unloaded_is_gone_as_well(pool, source, threads):
    source.gate.clear()
    source.errors = [ClientError("damaged")]
    loading = threads.submit(pool.load, "one", "/")
    assert source.begun.wait(10)
    unloading = threads.submit(pool.unload, "one")
    wait_until(lambda: pool._entries["one"].is_unloading)
    source.gate.set()
    with pytest.raises(ClientError, match="damaged"):
        loading.result(10)
    unloading.result(10)
    assert pool.memory.claimed == 0


def test_a_request_under_way_is_answered_before_its_model_goes(pool, source, threads):
    pool.load("one", "one")
    translator = source.loaded["one"]
    translator.gate.clear()
    translator.calls.clear()
    answer = threads.submit(translate, pool, "one")
    wait_until(lambda: translator.calls)
    unloading = threads.submit(pool.unload, "one")
    wait_until(lambda: pool._entries["one"].is_unloading)
    with pytest.raises(ModelNotFoundError):
        translate(pool, "one")
    assert names(pool) == []
    translator.gate.set()
    assert answer.result(10) == "a"
    unloading.result(10)


def test_requests_that_take_too_long_are_told_that_their_model_was_unloaded(pool, source, threads, monkeypatch):
    monkeypatch.setattr("serve.models._FINISH_SECONDS", 0.2)
    pool.load("one", "one")
    translator = source.loaded["one"]
    translator.gate.clear()
    translator.calls.clear()
    running = threads.submit(translate, pool, "one")
    wait_until(lambda: translator.calls)
    waiting = threads.submit(translate, pool, "one")
    wait_until(lambda: pool._entries["one"].users == 2)
    unloading = threads.submit(pool.unload, "one")
    time.sleep(0.5)
    assert not unloading.done()
    translator.gate.set()
    assert running.result(10) == "a"
    with pytest.raises(ModelNotFoundError) as caught:
        waiting.result(10)
    assert caught.value.message == (
        "the model 'one' was unloaded before this request was done; load it with POST /models and send the request "
        "again"
    )
    unloading.result(10)
    assert pool._admission.waiting_requests == 0


def test_the_limits_of_what_waits_hold_for_all_models_together(pool, source, threads):
    for name in ("one", "two"):
        pool.load(name, name)
    translator = source.loaded["one"]
    translator.gate.clear()
    waiting = []
    with pool.using("one") as service:
        waiting.append(threads.submit(service.translate, A * 99))
        wait_until(lambda: pool._admission.waiting_requests == 1)
    assert translate(pool, "two") == "a"
    message = "1 requests with 50 source tokens are waiting and this one has 51"
    with pool.using("two") as service, pytest.raises(OverloadedError, match=message):
        service.translate(A * 51)
    translator.gate.set()
    assert len(waiting[0].result(10)) == 99


def test_models_that_are_being_loaded_count_as_requests(pool, source, threads):
    source.gate.clear()
    source.loading = source.serving = MB
    loadings = [threads.submit(pool.load, str(number), "/") for number in range(20)]
    wait_until(lambda: pool._admission.waiting_requests == 20)
    with pytest.raises(OverloadedError, match="20 requests with 0 source tokens are waiting"):
        pool.load("one too many", "/")
    source.gate.set()
    assert len({loading.result(10) for loading in loadings}) == 20
    assert pool._admission.waiting_requests == 0


def test_many_threads_load_use_and_unload_without_harm(source, threads):
    pool = pool_of(source, limit=45 * MB)
    allowed = (ModelNotFoundError, ModelExistsError, NotReadyError, InsufficientMemoryError, OverloadedError)

    def work(number):
        for turn in range(40):
            name = str((number + turn) % 6)
            for act in (lambda name=name: pool.load(name, name), lambda name=name: translate(pool, name)):
                try:
                    act()
                except allowed:
                    continue
            if turn % 3 == number % 3:
                try:
                    pool.unload(name)
                except allowed:
                    continue
            assert pool.memory.claimed <= 45 * MB

    for future in [threads.submit(work, number) for number in range(8)]:
        future.result(60)
    for name in names(pool):
        pool.unload(name)
    assert pool.memory.claimed == pool._admission.waiting_requests == 0
    assert pool._entries == {}
    assert pool.stop(10)


# -- the server process


def test_a_decoder_that_is_at_a_step_for_long_is_seen(source):
    now = [1000.0]
    pool = pool_of(source, clock=lambda: now[0])
    for name in ("one", "two"):
        pool.load(name, name)
    source.loaded["two"].gate.clear()
    source.loaded["two"].calls.clear()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(translate, pool, "two")
        wait_until(lambda: source.loaded["two"].calls)
        now[0] += 50
        assert pool.busy_seconds() == 50
        source.loaded["two"].gate.set()
        assert answer.result(10) == "a"
    wait_until(lambda: pool.busy_seconds() == 0)
    assert pool.stop(10)


def test_a_decoder_that_fails_for_good_is_seen(pool, source):
    for name in ("one", "two"):
        pool.load(name, name)
    source.loaded["two"].errors = [RuntimeError("device"), RuntimeError("device")]
    with pytest.raises(RuntimeError, match="device"):
        translate(pool, "two")
    wait_until(pool.has_failed)
    with pytest.raises(NotReadyError, match="the model is not ready"):
        translate(pool, "two")


def test_when_the_server_ends_no_model_is_loaded_any_more(pool, source, threads):
    source.gate.clear()
    loading = threads.submit(pool.load, "one", "/")
    assert source.begun.wait(10)
    pool.drain(0.2)
    with pytest.raises(NotReadyError, match="the server is shutting down; send the request again"):
        loading.result(10)
    with pytest.raises(NotReadyError, match="the server is shutting down; send the request again"):
        pool.load("two", "/")


def test_stopping_ends_all_decoders_in_the_time_that_it_has(pool, source, threads):
    for name in ("one", "two"):
        pool.load(name, name)
    translator = source.loaded["one"]
    translator.gate.clear()
    translator.calls.clear()
    answer = threads.submit(translate, pool, "one")
    wait_until(lambda: translator.calls)
    started = time.monotonic()
    assert not pool.stop(0.2)
    assert time.monotonic() - started < 5
    translator.gate.set()
    assert answer.result(10) == "a"
    assert pool.stop(10)
