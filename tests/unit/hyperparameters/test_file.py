import json

import pytest

from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.hyperparameters import read_hyperparameters_file, validate

EXAMPLE = 'write one object of texts, such as {"batch_size": "64"}'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hyperparameters.json"


def message_of(path):
    with pytest.raises(ClientError) as caught:
        read_hyperparameters_file(path)
    return str(caught.value)


def test_values_are_returned_as_they_stand(path):
    path.write_text('{"batch_size": "64", "_x": null, "learning_rate": 0.5, "beam_size": 5, "a": [true, {"b": "ü"}]}')

    assert read_hyperparameters_file(path) == {
        "batch_size": "64",
        "_x": None,
        "learning_rate": 0.5,
        "beam_size": 5,
        "a": [True, {"b": "ü"}],
    }


@pytest.mark.parametrize("content", [b"{}", b" {}\n", b"\xef\xbb\xbf{}"], ids=["empty", "blanks", "byte order mark"])
def test_an_empty_object_is_no_values(path, content):
    path.write_bytes(content)

    assert read_hyperparameters_file(path) == {}


def test_an_absent_file_is_no_values(path):
    assert read_hyperparameters_file(path) == {}
    assert read_hyperparameters_file(path / "below" / "nothing") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"not JSON at line 1, column 1 (Expecting value); {EXAMPLE}"),
        (b"batch_size: 64", f"not JSON at line 1, column 1 (Expecting value); {EXAMPLE}"),
        (b'{"batch_size":\n "64"', f"not JSON at line 2, column 6 (Expecting ',' delimiter); {EXAMPLE}"),
        (b"{'batch_size': '64'}", "not JSON at line 1, column 2 (Expecting property name enclosed in double quotes); "),
        (b'["batch_size"]', f"['batch_size'] is not a JSON object; {EXAMPLE}"),
        (b"null", f"None is not a JSON object; {EXAMPLE}"),
        (b'"{}"', f"'{{}}' is not a JSON object; {EXAMPLE}"),
        (b'{"a": "1", "b": "2", "a": "1"}', "'a' given more than once; pass each name once"),
        (b'{"a": 1, "b": 2, "b": 3, "a": 4}', "'a', 'b' given more than once; pass each name once"),
        (b'{"batch_size": "\xff"}', "byte 16 is not UTF-8; save the file as UTF-8"),
        ("{}".encode("utf-16"), "byte 0 is not UTF-8; save the file as UTF-8"),
        (b'{"learning_rate": NaN}', "NaN is not a JSON number; pass a finite one"),
        (b'{"learning_rate": -Infinity}', "-Infinity is not a JSON number; pass a finite one"),
        (b'{"a":' * 100_000, f"nested too deeply; {EXAMPLE}"),
        (b"[" * 100_000 + b"]" * 100_000, f"nested too deeply; {EXAMPLE}"),
    ],
)
def test_what_is_no_object_of_values_is_refused_with_its_message(path, content, message):
    path.write_bytes(content)

    assert message_of(path).startswith(f"{path}: {message}")


def test_a_number_of_many_digits_reaches_validation(path):
    path.write_text(f'{{"batch_size": {"9" * 10_000}, "learning_rate": 1e999}}')

    with pytest.raises(ClientError) as caught:
        validate(read_hyperparameters_file(path))

    assert str(caught.value).splitlines()[1:] == [
        f"batch_size: '{'9' * 17}...{'9' * 18}' is not an integer from 1 to 2147483647; "
        "leave it out for the default 64",
        "learning_rate: inf is not a number in (0, 100]; leave it out for the default 0.0003",
    ]


def test_a_folder_in_place_of_the_file_is_no_fault_of_the_user(path):
    path.mkdir()

    with pytest.raises(PlatformError, match=r"hyperparameters\.json: cannot be read"):
        read_hyperparameters_file(path)


def test_a_file_as_the_platform_writes_it_validates(path):
    path.write_text(json.dumps({"optimized_metric": "bleu", "max_seq_len_source": "60", "rnn_num_hidden": "512"}))

    assert validate(read_hyperparameters_file(path)).hyperparameters.rnn_num_hidden == 512
