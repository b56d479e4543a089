import json

import pytest

from s2s_algo.errors import AlgorithmError, ClientError, PlatformError
from serve import problems
from serve.problems import Problem, describe


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ClientError("m"), 400, "bad_request"),
        (problems.ModelNotFoundError("m"), 404, "model_not_found"),
        (problems.NotAcceptableError("m"), 406, "not_acceptable"),
        (problems.RequestTimeoutError("m"), 408, "request_timeout"),
        (problems.ModelExistsError("m"), 409, "model_exists"),
        (problems.TooLargeError("m"), 413, "too_large"),
        (problems.UnsupportedContentTypeError("m"), 415, "unsupported_content_type"),
        (problems.ClientGoneError("m"), 499, "client_gone"),
        (problems.NotReadyError("m"), 503, "not_ready"),
        (problems.OverloadedError("m"), 503, "overloaded"),
        (problems.DeadlineExceededError("m"), 503, "deadline_exceeded"),
        (problems.MemoryExhaustedError("m"), 503, "memory_exhausted"),
        (problems.InsufficientMemoryError("m"), 507, "insufficient_memory"),
    ],
)
def test_every_error_has_its_status_and_keeps_message_and_place(error, status, code):
    assert describe(error.at("line 3"), "id") == Problem(status, code, "m", "line 3")


def test_the_table_has_a_row_for_each_error_of_the_module_before_the_row_of_its_family():
    families = [family for family, _, _ in problems.TABLE]
    own = [
        value for value in vars(problems).values() if isinstance(value, type) and value.__module__ == problems.__name__
    ]
    errors = [value for value in own if issubclass(value, Exception)]
    assert set(errors) == set(families) - {ClientError}
    assert families[-1] is ClientError


@pytest.mark.parametrize(
    "error", [ValueError("secret"), AlgorithmError("secret"), PlatformError("secret"), KeyError("secret")]
)
def test_a_bug_is_500_and_tells_the_client_nothing_but_an_id(error):
    problem = describe(error, "abc123")
    assert (problem.status, problem.code) == (500, "internal_error")
    assert problem.message == "internal error abc123; the log of the server has the details under this id"
    assert "secret" not in problem.to_json()


def test_memory_that_runs_out_while_parsing_is_503():
    assert describe(MemoryError(), "id").status == 503


@pytest.mark.parametrize(("status", "expected"), [(503, {"Retry-After": "5"}), (500, {}), (400, {})])
def test_503_says_when_to_try_again(status, expected):
    assert Problem(status, "c", "m").headers == expected


def test_the_body_is_an_error_object_of_code_message_and_location():
    assert json.loads(Problem(400, "bad_request", "m", "line 3").to_json()) == {
        "error": {"code": "bad_request", "message": "m", "location": "line 3"}
    }
    assert json.loads(Problem(400, "bad_request", "m").to_json())["error"]["location"] is None


def test_the_body_is_ascii_whatever_the_message_holds():
    text = Problem(400, "c", "Zürich \ud800 \x00 \u2028").to_json()
    assert text.isascii()
    assert json.loads(text)["error"]["message"] == "Zürich \ud800 \x00 \u2028"
