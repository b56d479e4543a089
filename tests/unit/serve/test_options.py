"""What a client may ask for beyond the translation."""

import numpy as np
import pytest

from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translation import Translation, replace_unknown
from s2s_algo.errors import ClientError
from serve.options import InstanceOptions, parse_configuration
from serve.settings import Settings
from tests.unit.serve.fakes import FakeTranslator, started_app

USUAL = SearchOptions(beam_size=4, length_penalty_alpha=0.8)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("attention_matrix", "True", True),
        ("scores", True, True),
        ("replace_unknown", "false", False),
        ("n_best", 3, 3),
        ("n_best", " 3 ", 3),
        ("beam_size", "100", 100),
        ("max_output_length", 999_999_999, 999_999_999),
        ("length_penalty_alpha", 0, 0.0),
        ("length_penalty_alpha", "0.5", 0.5),
        ("length_penalty_beta", 1e3, 1000.0),
    ],
)
def test_values_are_read_as_json_or_as_text(name, value, read):
    assert getattr(parse_configuration({name: value}), name) == read


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("scores", 1, "is 1; it must be true or false"),
        ("replace_unknown", None, "is null; it must be true or false"),
        ("n_best", 0, "is 0; it must be an integer of 1 or more"),
        ("n_best", True, "is True; it must be an integer of 1 or more"),
        ("n_best", 2.0, "is 2.0; it must be an integer of 1 or more"),
        ("n_best", "-1", "is '-1'; it must be an integer of 1 or more"),
        ("n_best", "9" * 5000, "must be an integer of 1 or more"),
        ("n_best", [1], "is an array; it must be an integer of 1 or more"),
        ("beam_size", 101, "is 101; at most 100 is allowed"),
        ("max_output_length", "ten", "is 'ten'; it must be an integer of 1 or more"),
        ("max_output_length", 10**400, "is a number; it must be an integer of 1 or more"),
        ("length_penalty_alpha", -0.1, "is -0.1; it must be a finite number of 0 or more"),
        ("length_penalty_alpha", "nan", "is 'nan'; it must be a finite number of 0 or more"),
        ("length_penalty_beta", 10**400, "is a number; it must be a finite number of 0 or more"),
        ("length_penalty_beta", {}, "is an object; it must be a finite number of 0 or more"),
        ("length_penalty_beta", True, "is True; it must be a finite number of 0 or more"),
    ],
)
def test_a_wrong_value_is_told(name, value, why):
    with pytest.raises(ClientError) as caught:
        parse_configuration({name: value})
    assert str(caught.value).startswith(f"configuration option '{name}' ")
    assert str(caught.value).endswith(why)


def test_an_unknown_option_is_named_with_those_that_there_are():
    with pytest.raises(ClientError) as caught:
        parse_configuration({"beam": 3})
    assert str(caught.value) == (
        "unknown configuration option 'beam'; the options are: attention_matrix, tokens, scores, replace_unknown, "
        "n_best, beam_size, max_output_length, length_penalty_alpha, length_penalty_beta"
    )


def test_what_is_not_said_is_as_the_model_says():
    plain = InstanceOptions().search_options(USUAL)
    assert plain == SearchOptions(beam_size=4, length_penalty_alpha=0.8, with_attention=False)
    other = InstanceOptions(
        n_best=2, beam_size=7, max_output_length=9, length_penalty_alpha=0.0, length_penalty_beta=1.5
    )
    assert other.search_options(USUAL) == SearchOptions(7, 0.0, 1.5, 9, 2, with_attention=False)


@pytest.mark.parametrize("name", ["attention_matrix", "replace_unknown"])
def test_attention_is_computed_for_those_who_need_it(name):
    assert InstanceOptions(**{name: True}).search_options(USUAL).with_attention


def test_unknown_words_become_the_source_words_that_they_attend_to():
    attention = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], dtype=np.float32)
    translation = Translation((1, 5, 1), ("<unk>", "b", "<unk>"), 0.5, attention)
    mended = replace_unknown(translation, ["Alpha", "Beta"], unknown=1)
    assert (mended.text, mended.token_ids) == ("Beta b Beta", (1, 5, 1))
    assert replace_unknown(translation, ["Alpha", "Beta"], unknown=9) == translation


@pytest.fixture
def translator():
    return FakeTranslator()


@pytest.fixture
def client(translator):
    return started_app(Settings(port=1), translator).test_client()


def post(client, *instances, **options):
    return client.post("/invocations", json={"instances": list(instances)}, **options)


def test_answers_carry_what_was_asked_for_and_nothing_else(client, translator):
    answer = post(
        client,
        {"data": "a b"},
        {"data": "a b", "configuration": {"scores": True}},
        {"data": "a b", "configuration": {"n_best": 2}},
        {"data": "b", "configuration": {"n_best": "1", "scores": "true", "attention_matrix": "true"}},
    )
    assert answer.json == {
        "predictions": [
            {"target": "b a"},
            {"target": "b a", "score": 0.0},
            {"target": "b a", "n_best": [{"target": "b a"}, {"target": "b a"}]},
            {
                "target": "b",
                "score": 0.0,
                "matrix": [[1.0]],
                "n_best": [{"target": "b", "score": 0.0, "matrix": [[1.0]]}],
            },
        ]
    }
    asked = {(options.n_best, options.with_attention) for options in translator.options_of_calls[-1]}
    assert asked == {(1, False), (2, False), (1, True)}


def test_unknown_words_are_replaced_by_what_the_client_sent(client):
    line = '{"source": "a  Quark b", "configuration": {"replace_unknown": true}}'
    answer = client.post("/invocations", data=line, content_type="application/jsonlines")
    assert answer.data == b'{"target": "b Quark a"}'


@pytest.mark.parametrize(
    ("configuration", "why"),
    [
        ({"n_best": 4}, "instance 2: n_best: 4 is not in 1 … 3 (the beam size). Ask for fewer translations or raise "),
        ({"beam_size": 8}, "instance 2: beam_size: 8 is not in 1 … 7 (the target vocabulary has 8 entries)."),
    ],
)
def test_what_this_model_cannot_do_is_an_error_that_names_the_instance(client, translator, configuration, why):
    translator.calls.clear()
    answer = post(client, {"data": "a"}, {"data": "a", "configuration": configuration})
    assert answer.status_code == 400
    error = answer.json["error"]
    assert f"{error['location']}: {error['message']}".startswith(why)
    assert translator.calls == []
