"""`container.logging`."""

import io
import logging
import re
import sys
from contextlib import contextmanager
from unittest import mock

import pytest

from container.logging import configure_logging
from s2s_algo.errors import ClientError


@contextmanager
def configured(level=""):
    """Configures logging to a standard output of little encoding; yields its bytes and afterwards all is as it was."""
    root = logging.getLogger()
    handlers, level_before = root.handlers[:], root.level
    root.handlers[:] = []  # so that those of pytest are not closed
    stream = io.BytesIO()
    try:
        with mock.patch.object(sys, "stdout", io.TextIOWrapper(stream, encoding="ascii")):
            configure_logging({"SAGEMAKER_CONTAINER_LOG_LEVEL": level})
            yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level_before)


def test_lines_have_the_form_of_the_platform_s():
    with configured() as output:
        logging.getLogger("any.module").warning("over %d\tlines", 2)
        assert re.fullmatch(rb"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d WARNING \d+\] over 2\tlines\n", output.getvalue())


def test_the_log_is_utf_8_whatever_the_locale_and_halves_of_characters_are_escaped():
    with configured() as output:
        logging.getLogger().info("schön 漢 \ud800")
        assert output.getvalue().endswith("schön 漢 \\ud800\n".encode())


def test_each_line_is_there_at_once():
    with configured() as output:
        for number in range(3):
            logging.getLogger().info("%d", number)
            assert output.getvalue().count(b"\n") == number + 1


@pytest.mark.parametrize(
    ("value", "level"),
    [("", logging.INFO), ("DEBUG", 10), ("warning", 30), ("20", 20), ("35", 35), ("CRITICAL", 50)],
)
def test_a_level_is_a_name_or_a_number(value, level):
    with configured(value):
        assert logging.getLogger().level == level


@pytest.mark.parametrize("value", ["loud", "-1", "1.5", "²", " "])
def test_another_level_is_refused_with_what_is_allowed(value):
    with pytest.raises(ClientError) as caught, configured(value):
        pass
    assert str(caught.value) == (
        f"SAGEMAKER_CONTAINER_LOG_LEVEL: {value!r} is not a log level; "
        "set it to DEBUG, INFO, WARNING, ERROR or a number such as 20"
    )
