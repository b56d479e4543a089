import pytest

from serve.media_types import Format, answer_format, parse_media_type, request_format
from serve.problems import NotAcceptableError, UnsupportedContentTypeError

JSON, LINES, RECORDIO = Format.JSON, Format.JSON_LINES, Format.RECORDIO


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", JSON),
        ("application/json; charset=utf-8", JSON),
        ("Application/JSON;charset=UTF-8", JSON),
        (" application/json ", JSON),
        ("application/json;attention_matrix=True", JSON),
        ("application/jsonlines", LINES),
        ("application/x-recordio-protobuf", RECORDIO),
        ("applications/x-recordio-protobuf", RECORDIO),
        ("application/x-recordio-protobuf;", RECORDIO),
    ],
)
def test_content_types_name_a_format_whatever_their_parameters_and_case(content_type, expected):
    assert request_format(content_type) is expected


@pytest.mark.parametrize(
    ("content_type", "fragment"),
    [
        (None, "the request has no Content-Type; send one of application/json, application/jsonlines, "),
        ("", "the request has no Content-Type"),
        ("application/octet-stream", "'application/octet-stream' does not say which format the body has; send one of"),
        ("*/*", "does not say which format"),
        ("text/csv", "Content-Type 'text/csv' is not supported; send one of application/json, "),
        ("application/jsonx", "is not supported"),
        ("json", "is not supported"),
        (";", "is not supported"),
        ("x" * 5000, "xxx...' is not supported"),
        ("text/\ud800", r"'text/\ud800' is not supported"),
    ],
)
def test_other_content_types_are_refused_with_the_names_of_the_three(content_type, fragment):
    with pytest.raises(UnsupportedContentTypeError) as caught:
        request_format(content_type)
    assert fragment in caught.value.message
    assert "application/json, application/jsonlines, application/x-recordio-protobuf" in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("open_", [None, "", " ", ",", "*/*", "application/*", "application/octet-stream", "*/*;q=0.1"])
@pytest.mark.parametrize("own", list(Format))
@pytest.mark.parametrize("default", [None, *Format])
def test_an_open_accept_means_the_configured_default_else_the_own_format(open_, own, default):
    assert answer_format(open_, own, default) is (default or own)


@pytest.mark.parametrize("own", list(Format))
@pytest.mark.parametrize("wanted", list(Format))
def test_every_format_can_be_answered_in_every_other(own, wanted):
    assert answer_format(wanted.value, own, default=JSON) is wanted


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("applications/x-recordio-protobuf", RECORDIO),
        ("application/json; charset=utf-8", JSON),
        ("APPLICATION/JSON", JSON),
        ("application/jsonlines, application/json", LINES),
        ("application/json;q=0.5, application/jsonlines;q=0.9", LINES),
        ("text/html, application/json;q=0.9, */*;q=0.8", JSON),
        ("text/csv, */*", RECORDIO),
        ("text/csv;q=1.0, application/octet-stream;q=0.2", RECORDIO),
        ("*/*;q=0.1, application/json;q=0.2", JSON),
        ("application/json;q=nonsense", JSON),
        ("application/json;q=nan, application/jsonlines", JSON),
        ("application/json;q=7, application/jsonlines", JSON),
        ("application/x-recordio-protobuf;q=0, */*", JSON),
        ("application/x-recordio-protobuf;q=0, application/json;q=0, */*;q=0.5", LINES),
    ],
)
def test_the_best_supported_entry_of_a_list_wins(accept, expected):
    assert answer_format(accept, own=RECORDIO) is expected


@pytest.mark.parametrize(
    "accept",
    [
        "text/csv",
        "text/html, image/*",
        "text/*",
        "application/json;q=0",
        "*/*;q=0",
        "application/xml;q=0.9",
        "json",
        ";q=1",
    ],
)
def test_an_accept_that_cannot_be_met_is_refused_with_the_names_of_the_three(accept):
    with pytest.raises(NotAcceptableError) as caught:
        answer_format(accept, own=JSON)
    assert caught.value.message == (
        f"Accept {accept!r} names no format that can be answered; accept one of application/json, "
        "application/jsonlines, application/x-recordio-protobuf, or */* for the format of the request"
    )


def test_a_media_type_is_taken_apart():
    name, parameters = parse_media_type(' Text/Plain ; Charset="UTF-8"; flag; a=b=c')
    assert name == "text/plain"
    assert parameters == {"charset": "utf-8", "flag": "", "a": "b=c"}
