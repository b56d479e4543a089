import io

import pytest

from s2s_algo.errors import ClientError
from serve.body import read_body
from serve.problems import TooLargeError


class Stream(io.BytesIO):
    """A stream that gives at most five bytes at a time, as sockets do."""

    def read(self, size=-1):
        return super().read(min(size, 5))


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_body_up_to_the_limit_is_read(size, declared):
    body = bytes(range(size))
    assert read_body(Stream(body), size if declared else None, limit=100) == body


def test_a_declared_length_over_the_limit_is_refused_and_the_body_taken_from_the_connection():
    stream = Stream(b"x" * 101)
    with pytest.raises(TooLargeError, match=r"the body of 101 bytes is over the limit of 100 bytes \(9.53674e-05 MB\)"):
        read_body(stream, 101, limit=100)
    assert stream.read(1) == b""


@pytest.mark.parametrize("size", [101, 5000])
def test_a_chunked_body_is_read_no_further_than_it_takes_to_see_that_it_is_too_large(size):
    with pytest.raises(TooLargeError, match="the body is over the limit of 100 bytes"):
        read_body(Stream(b"x" * size), None, limit=100)


def test_the_bytes_of_the_next_request_are_left_alone():
    stream = Stream(b"bodyGET /ping")
    assert read_body(stream, 4, limit=100) == b"body"
    assert stream.read(4) == b"GET "


def test_a_body_that_is_shorter_than_declared_is_an_error():
    with pytest.raises(ClientError, match="the body ended after 7 of the 10 bytes that Content-Length declares"):
        read_body(Stream(b"x" * 7), 10, limit=100)


def test_an_error_of_the_connection_is_the_clients():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise ValueError("bad chunk size")

    with pytest.raises(ClientError, match="the body could not be read: ValueError: bad chunk size"):
        read_body(Broken(), None, limit=100)
