"""The YAML of Sockeye: read as plain values, whatever its tags ask for, within bounds."""

from __future__ import annotations

import math
import time

import pytest

from s2s_algo.errors import ClientError
from s2s_algo.legacy.tagged_yaml import LARGEST_TEXT, Section, parse


def error_of(text: str) -> str:
    with pytest.raises(ClientError) as caught:
        parse(text)
    return caught.value.message


def test_a_tagged_mapping_is_a_section_with_a_class_name():
    value = parse("!ModelConfig\na: !X\n  b: 1\nc: {d: 2}\n")
    assert value == {"a": {"b": 1}, "c": {"d": 2}}
    assert (value.class_name, value["a"].class_name, value["c"].class_name) == ("ModelConfig", "X", "")
    assert isinstance(value["c"], Section)


def test_a_class_that_python_serialised_is_a_section_too():
    # 1.4 forgot to register one of its classes.
    value = parse("a: !!python/object:sockeye.encoder.RecurrentEncoderConfig\n  num_embed: 8\n")
    assert value["a"] == {"num_embed": 8}
    assert value["a"].class_name == "RecurrentEncoderConfig"


def test_tuples_are_lists():
    assert parse("- !!python/tuple\n  - 10\n  - 12\n- !!python/tuple [1, 2]\n") == [[10, 12], [1, 2]]


def test_aliases_are_the_same_object():
    # 1.1 used one description of the cells for both sides.
    value = parse("a: &id001 !RNNConfig\n  num_layers: 1\nb: *id001\n")
    assert value["b"] is value["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-12", -12),
        ("1.5", 1.5),
        ("1.0e-05", 1e-5),
        ("1e-05", 1e-5),
        (".5", 0.5),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("null", None),
        ("~", None),
        ("true", True),
        ("false", False),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 1", "1"),
        ("mlp", "mlp"),
        ("2017-11-08", "2017-11-08"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("yes", "yes"),
        ("é", "é"),
    ],
)
def test_scalars(text, value):
    assert parse(f"a: {text}")["a"] == value
    assert type(parse(f"a: {text}")["a"]) is type(value)


def test_an_integer_of_many_digits_stays_text():
    assert parse("a: " + "9" * 10_000)["a"] == "9" * 10_000


ATTACKS = {
    "apply": "!!python/object/apply:os.system ['touch {marker}']",
    "apply, mapping": "!!python/object/apply:os.system\nargs: ['touch {marker}']",
    "new": "!!python/object/new:type\nargs: ['z', !!python/tuple [], {{'extend': !!python/name:exec }}]",
    "name": "!!python/name:os.system",
    "module": "!!python/module:os",
    "object of a stranger": "!!python/object:subprocess.Popen\nargs: x",
    "object of another package": "!!python/object:sockeyes.encoder.X\nargs: x",
    "long form": "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {marker}']",
    "prefix of one's own": "%TAG !p! tag:yaml.org,2002:python/object/apply:\n--- !p!os.system ['touch {marker}']",
    "binary": "!!binary aGVsbG8=",
    "set": "!!set {{a, b}}",
    "timestamp": "!!timestamp 2001-12-14",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_tags_that_ask_for_objects_are_refused(attack, tmp_path):
    marker = tmp_path / "executed"
    document = ATTACKS[attack].format(marker=marker)
    assert "asks for a Python object; only classes of Sockeye's configuration may be named" in error_of(document)
    if not document.startswith("%"):
        indented = document.replace("\n", "\n  ")
        assert "asks for a Python object" in error_of(f"!ModelConfig\nconfig_encoder: {indented}\n")
    assert not marker.exists()


def test_an_alias_bomb_is_refused():
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert error_of("\n".join(lines)).startswith("more than 100 aliases")


def test_merge_keys_copy_nothing():
    value = parse("a: &a {b: 1}\nc:\n  <<: *a\n  d: 2\n")
    assert value["c"] == {"<<": {"b": 1}, "d": 2}


def test_an_alias_inside_of_what_it_stands_for_is_refused():
    assert error_of("&a [*a]") == (
        "alias 'a' stands for nothing before it; copy the file again from where the model was trained"
    )


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_depth_is_bounded_in_little_time(opening):
    begin = time.process_time()
    message = error_of(opening * (LARGEST_TEXT // len(opening)))
    assert message.startswith("nested more than 20 levels deep")
    assert time.process_time() - begin < 5


def test_the_number_of_values_is_bounded():
    assert error_of("[" + "1," * 60_000 + "]").startswith("more than 50000 values")


def test_the_size_is_bounded():
    assert error_of(" " * (LARGEST_TEXT + 1)).startswith("524289 characters are too many, at most 524288 are read")


def test_a_huge_scalar_is_only_text():
    assert parse("a: " + "x" * (LARGEST_TEXT - 3))["a"] == "x" * (LARGEST_TEXT - 3)


def test_a_huge_scalar_in_a_message_is_shortened():
    assert len(error_of(f"!{'x' * 100_000}!y 1")) < 400
    assert len(error_of(f"? [{'x' * 100_000}]\n: 1")) < 400


@pytest.mark.parametrize(
    "text",
    ["", "a: 'x", "a: b: c", "a: 1\n--- \nb: 2", "\t", "a: [1, 2", '"\\UFFFFFFFF"', "\x00", "%YAML 9.0\n---\na", "*a"],
)
def test_what_is_no_yaml_document_is_refused(text):
    assert error_of(text).endswith("copy the file again from where the model was trained")


def test_a_syntax_error_says_where():
    assert error_of("a: 1\nb: [1, 2").startswith("not YAML at line 2, column ")


def test_a_key_given_twice_is_refused():
    assert error_of("a: 1\na: 2").startswith("key 'a' is given twice in one section")


def test_a_key_that_is_no_name_is_refused():
    assert error_of("1: 2").startswith("key 1 is not a name")
