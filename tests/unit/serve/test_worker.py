import os
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from gunicorn.errors import HaltServer

from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from s2s_algo.model.seq2seq import Seq2Seq
from serve import gunicorn_conf
from serve.fair_share import Place
from serve.gunicorn_conf import child_exit, on_exit, pre_fork
from serve.settings import Settings
from serve.socket_deadlines import READING, WRITING, SocketDeadlines, linger
from serve.worker import FailureCode, banner, multi_model_banner
from tests.unit.small_model import small_config

# -- slow clients


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def deadlines(now):
    return SocketDeadlines(clock=lambda: now[0])


def test_a_socket_that_is_read_for_too_long_ends_but_can_still_be_answered(pair, now, deadlines):
    ours, theirs = pair
    deadlines.begin(ours, READING, 30)
    now[0] += 29.9
    deadlines.cut_expired()
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    now[0] += 0.1
    deadlines.cut_expired()
    assert ours.recv(1) == b""
    ours.send(b"408")
    assert theirs.recv(3) == b"408"
    assert deadlines.end(ours)


def test_bytes_that_trickle_in_do_not_move_the_deadline(pair, now, deadlines):
    ours, theirs = pair
    deadlines.begin(ours, READING, 30)
    for _ in range(30):
        now[0] += 1
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
        deadlines.cut_expired()
    assert ours.recv(1) == b""


def test_a_socket_that_is_written_for_too_long_ends_both_ways(pair, now, deadlines):
    ours, _ = pair
    deadlines.begin(ours, WRITING, 30)
    now[0] += 30
    deadlines.cut_expired()
    with pytest.raises(BrokenPipeError):
        ours.send(b"x")


def test_a_phase_that_ended_is_not_cut(pair, now, deadlines):
    ours, theirs = pair
    deadlines.begin(ours, READING, 30)
    assert not deadlines.end(ours)
    now[0] += 100
    deadlines.cut_expired()
    theirs.send(b"x")
    assert ours.recv(1) == b"x"


def test_a_socket_that_the_client_or_we_closed_is_no_problem(pair, now, deadlines):
    ours, theirs = pair
    deadlines.begin(ours, READING, 30)
    deadlines.begin(theirs, READING, 30)
    ours.close()
    now[0] += 100
    deadlines.cut_expired()
    assert deadlines.end(theirs)


def test_a_kept_connection_starts_each_request_with_fresh_time(pair, now, deadlines):
    ours, _ = pair
    deadlines.begin(ours, READING, 30)
    now[0] += 30
    deadlines.cut_expired()
    deadlines.end(ours)
    deadlines.begin(ours, READING, 30)
    assert not deadlines.end(ours)


def test_lingering_waits_for_the_client_to_close_and_throws_its_bytes_away(pair):
    ours, theirs = pair
    theirs.send(b"too late")
    started = time.monotonic()
    threading.Timer(0.1, theirs.close).start()
    linger(ours, seconds=10)
    assert 0.1 <= time.monotonic() - started < 5


def test_lingering_has_an_end_and_leaves_nothing_to_wait_for(pair):
    ours, theirs = pair
    linger(ours, seconds=0.1)
    assert theirs.recv(1) == b""
    ours.settimeout(10)
    assert ours.recv(1) == b""


def test_lingering_takes_a_bounded_number_of_bytes(pair):
    ours, theirs = pair
    theirs.send(b"x" * 100)
    started = time.monotonic()
    linger(ours, seconds=10, most_bytes=50)
    assert time.monotonic() - started < 5


def test_lingering_on_a_closed_socket_is_no_problem(pair):
    ours, _ = pair
    ours.close()
    linger(ours, seconds=10)


# -- how the server ends


def test_the_failure_code_of_a_process_is_seen_by_the_one_that_forked_it():
    code = FailureCode()
    assert code.get() == 3
    child = os.fork()
    if child == 0:
        code.set(2)
        os._exit(0)
    os.waitpid(child, 0)
    assert code.get() == 2


def process_with(code):
    failure_code = FailureCode()
    failure_code.set(code)
    return SimpleNamespace(failure_code=failure_code, place=Place())


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_process_that_could_not_load_the_model_ends_the_server_with_its_code(code):
    with pytest.raises(HaltServer) as caught:
        child_exit(server(process_with(3)), process_with(code))
    assert caught.value.exit_status == code


def server(*others):
    return SimpleNamespace(LISTENERS=["socket"], WORKERS=dict(enumerate(others)))


def test_a_process_that_served_is_replaced():
    child_exit(server(), process_with(0))


def test_a_process_that_fails_beside_others_that_serve_is_replaced():
    child_exit(server(process_with(3), process_with(0)), process_with(3))


def test_a_server_that_is_being_stopped_does_not_fail_because_it_was_still_loading():
    child_exit(SimpleNamespace(LISTENERS=[], WORKERS={}), process_with(3))


def test_a_process_has_its_place_among_the_others_and_leaves_it_when_it_ends():
    other, process = process_with(0), process_with(0)
    pre_fork(server(other), process)
    other.place.take(3)
    process.place.take(1)
    assert other.place.has_more_than_another()
    child_exit(server(other), process)
    assert not other.place.has_more_than_another()


def test_the_gauges_of_a_process_go_with_it_and_the_folder_with_the_server(monkeypatch, tmp_path):
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in ("gauge_livesum_7.db", "gauge_livesum_8.db", "counter_7.db"):
        (folder / name).touch()
    monkeypatch.setattr(gunicorn_conf, "_settings", Settings(metrics_folder=folder))
    process = process_with(0)
    process.pid = 7
    child_exit(server(), process)
    assert {file.name for file in folder.iterdir()} == {"gauge_livesum_8.db", "counter_7.db"}
    on_exit(SimpleNamespace())
    assert list(tmp_path.iterdir()) == []


# -- what the log says at the start


def translator_of(**shape):
    config = small_config(**shape)
    sizes = config.source_embedding.vocabulary_size, config.target_embedding.vocabulary_size
    source, target = (Vocabulary.from_tokens([*SPECIAL_TOKENS, *map(str, range(size - 4))]) for size in sizes)
    limits = LengthLimits(max_input_length=10, ratio_mean=1.0, ratio_std=0.1, max_output_length=11)
    return Translator(Seq2Seq(config), source, target, InferenceConfig(beam_size=4, limits=limits))


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ({"cell": "gru", "encoder_layers": 2}, "gru encoder with 2 x 6 units, gru decoder with 1 x 6 units"),
        ({"encoder": "cnn", "decoder_layers": 3}, "cnn encoder with 1 x 6 units, lstm decoder with 3 x 6 units"),
    ],
)
def test_the_start_says_what_is_served_on_what_with_which_limits_and_where(shape, text):
    translator = translator_of(**shape)
    parameters = translator.num_parameters
    settings = Settings(
        address="::", port=9000, workers=3, threads=16, deadline=7.5, max_instances=11, precision="bfloat16"
    )
    assert banner(translator, settings, threads="2") == [
        f"model: {text}, {parameters} parameters, vocabularies of 13 source and 11 target tokens, beam of 4, bfloat16",
        "processes: 3, each on cpu with 2 computing threads and 16 HTTP threads",
        "limits of a request: 25 MB, 11 instances of 10000 tokens, 7.5 seconds; of all that wait: 8 requests, "
        "100000 source tokens",
        "ready at [::]:9000",
    ]


def test_a_batch_transform_says_that_there_is_no_deadline():
    lines = banner(translator_of(), Settings.from_environment({"SAGEMAKER_BATCH": "true"}), threads="2")
    assert "1000000 instances of 10000 tokens, no deadline;" in lines[2]
    assert lines[3] == "ready at 0.0.0.0:8080, for a batch transform"


def test_a_multi_model_endpoint_says_what_its_models_may_take():
    assert multi_model_banner(3 * 2**30, Settings(port=9000, threads=16), threads="2") == [
        "multi-model endpoint: models that are counted with 3072 MB of memory in all, each with 2 computing threads; "
        "16 HTTP threads",
        "limits of a request: 25 MB, 10000 instances of 10000 tokens, 55 seconds; of all that wait: 8 requests, "
        "100000 source tokens",
        "ready at 0.0.0.0:9000",
    ]
