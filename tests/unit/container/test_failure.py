"""`container.failure`."""

import errno
import logging

import pytest
import torch

from container.failure import classify, logger, report
from s2s_algo.errors import AlgorithmError, ClientError, PlatformError


def lack_of_memory():
    """What torch says when the machine has no room for a tensor."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    return caught.value


@pytest.mark.parametrize("error", [ClientError("x"), AlgorithmError("x"), PlatformError("x")])
def test_an_error_of_ours_stays_what_it_is(error):
    assert classify(error) is error


@pytest.mark.parametrize(
    "make",
    [MemoryError, lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), lack_of_memory],
    ids=["Python", "GPU", "CPU"],
)
def test_a_lack_of_memory_tells_what_to_lower(make):
    known = classify(make())
    assert isinstance(known, PlatformError)
    assert str(known).startswith("out of memory. Lower batch_size, max_seq_len_source, max_seq_len_target or")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/opt/ml/model/x"),
            "/opt/ml/model/x: the machine refused (No space left on device). Check the disk's space and permissions.",
        ),
        (OSError("no number"), "the machine refused (no number). Check the disk's space and permissions."),
    ],
)
def test_an_error_of_the_system_is_the_machine_s(error, text):
    known = classify(error)
    assert isinstance(known, PlatformError)
    assert str(known) == text


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), KeyboardInterrupt(), SystemExit(5)])
def test_whatever_else_comes_is_a_bug_of_ours(error):
    known = classify(error)
    assert isinstance(known, AlgorithmError)
    assert type(error).__name__ in str(known)
    assert "please report it with the log" in str(known)


@pytest.mark.parametrize(
    ("error", "exit_code", "text"),
    [
        (ClientError("it is wrong", where="train channel"), 2, "ClientError: train channel: it is wrong"),
        (PlatformError("disk full", where="/x"), 3, "InternalServerError: /x: disk full"),
    ],
)
def test_what_the_user_or_the_machine_caused_is_told_without_a_stack(tmp_path, caplog, error, exit_code, text):
    failure = tmp_path / "output" / "failure"
    assert report(error, failure) == exit_code
    assert failure.read_text() == text
    assert [(record.levelname, record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("ERROR", text, None)
    ]


def test_a_bug_is_told_with_its_stack_after_the_message(tmp_path, caplog):
    failure = tmp_path / "failure"
    with pytest.raises(KeyError) as caught:
        {}["key"]
    assert report(caught.value, failure) == 1
    message, _, stack = failure.read_text().partition("\n\n")
    assert message.startswith("AlgorithmError: an unexpected error: KeyError: 'key'. ")
    assert stack.startswith("Traceback (most recent call last):\n")
    assert __file__ in stack
    assert caplog.records[0].exc_info


def test_a_message_that_is_no_unicode_text_is_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(logger, "disabled", True)  # what collects the tests' logs is less tolerant
    failure = tmp_path / "failure"
    report(ClientError("token '\ud800' is wrong"), failure)
    assert failure.read_bytes() == b"ClientError: token '\\ud800' is wrong"


def test_a_failure_file_that_cannot_be_written_is_no_other_failure(tmp_path, caplog):
    (tmp_path / "output").write_text("in the way")
    assert report(ClientError("wrong"), tmp_path / "output" / "failure") == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert caplog.messages[1].startswith(f"{tmp_path}/output/failure cannot be written: ")
