"""`serve.playground`: when there is the page, what it is told, and what it may do."""

import base64
import hashlib
import json
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask

from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.errors import ClientError
from serve.playground import is_on, playground
from serve.problems import NotReadyError
from tests.unit.serve.fakes import FakeTranslator

REPOSITORY = Path(__file__).parents[3]


class Elements(HTMLParser):
    """The elements of a page: name, attributes and the text up to the next tag."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.is_in = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        self.is_in = True

    def handle_endtag(self, tag):
        self.is_in = False

    def handle_data(self, data):
        if self.is_in:
            self.found[-1][2] += data

    def named(self, name):
        return [(attributes, text) for tag, attributes, text in self.found if tag == name]


def answer_of(translator):
    app = Flask(__name__)
    app.register_blueprint(playground(translator))
    return app.test_client().get("/")


def page_of(tokens=(), **options):
    translator = FakeTranslator()
    translator.source_vocabulary = Vocabulary.from_tokens([*SPECIAL_TOKENS, *tokens])
    translator.options = SearchOptions(**options)
    return answer_of(lambda: translator).text


def model_of(page):
    [(_, text)] = [script for script in Elements(page).named("script") if script[0].get("id") == "model"]
    return json.loads(text)


# -- when


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SAGEMAKER_BIND_TO_PORT": "8080", "AWS_REGION": "eu-west-1"},
        {"SAGEMAKER_BATCH": "false", "SAGEMAKER_MULTI_MODEL": "", "SAGEMAKER_SAFE_PORT_RANGE": " "},
        {"S2S_PLAYGROUND": ""},
        {"S2S_PLAYGROUND": " On "},
        {"S2S_PLAYGROUND": "on", "SAGEMAKER_BATCH": "true", "SAGEMAKER_SAFE_PORT_RANGE": "9000-9999"},
    ],
)
def test_it_is_on_where_nothing_tells_of_the_platform_or_somebody_wants_it(environment):
    assert is_on(environment)


@pytest.mark.parametrize(
    "environment",
    [
        {"SAGEMAKER_BATCH": "true"},
        {"SAGEMAKER_BATCH": "True"},
        {"SAGEMAKER_MULTI_MODEL": "true"},
        {"SAGEMAKER_SAFE_PORT_RANGE": "9000-9999"},
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"},
        {"S2S_PLAYGROUND": "off"},
        {"S2S_PLAYGROUND": "OFF"},
        {"S2S_PLAYGROUND": "", "SAGEMAKER_BATCH": "true"},
    ],
)
def test_it_is_off_at_the_platform_and_where_nobody_wants_it(environment):
    assert not is_on(environment)


def test_a_switch_of_nonsense_is_an_error():
    with pytest.raises(ClientError) as caught:
        is_on({"S2S_PLAYGROUND": "maybe"})
    assert caught.value.message == "S2S_PLAYGROUND is 'maybe'; it must be on or off, or be left out"


# -- what it may do


def test_the_policy_allows_the_page_its_own_script_and_style_alone():
    response = answer_of(FakeTranslator)
    elements = Elements(response.text)
    [(_, style)] = elements.named("style")
    [code] = [text for attributes, text in elements.named("script") if "type" not in attributes]

    def source(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    policy = dict(entry.split(" ", 1) for entry in response.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": source(code),
        "style-src": source(style),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_the_other_headers():
    response = answer_of(FakeTranslator)
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"


def test_the_page_needs_no_other_file_and_has_no_code_in_attributes():
    for tag, attributes, _ in Elements(page_of()).found:
        assert attributes.get("href", "data:,") == "data:,"
        assert not {"src", "style", "action"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag


@pytest.mark.parametrize("sink", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser"])
def test_the_script_makes_no_markup_from_text(sink):
    assert sink not in page_of()


def test_the_page_is_part_of_the_package():
    packaged = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["serve"]
    files = {path.name for path in (REPOSITORY / "serve").iterdir() if path.is_file() and path.suffix != ".py"}
    assert files == set(packaged) == {"playground.html"}


# -- what it is told


def test_the_page_begins_with_what_the_model_is_searched_with():
    model = model_of(page_of(["a", "b"], beam_size=7, length_penalty_alpha=0.5))
    assert model == {"example": "a b", "beam_size": 7, "n_best": 3, "length_penalty": 0.5}


def test_no_more_translations_are_asked_for_than_the_beam_holds():
    assert model_of(page_of(beam_size=2))["n_best"] == 2


@pytest.mark.parametrize(
    ("tokens", "example"),
    [
        (["the", ",", "of", ".", "a@@", "1", "東京", "to"], "the of a@@ 1 東京"),
        (["two words", "a\u2028", "", "x" * 21, "x" * 20], "x" * 20),
        (["\ud800", "!"], ""),
        ([], ""),
    ],
)
def test_the_example_is_of_the_first_words_of_the_vocabulary(tokens, example):
    assert model_of(page_of(tokens))["example"] == example


def test_a_token_cannot_leave_the_data():
    token = "</script><b>'&<!--"  # 18 characters
    page = page_of([token])
    assert model_of(page)["example"] == token
    assert page.count("</script>") == page_of().count("</script>")
    assert page.count("<!--") == 0
    assert Elements(page).named("b") == []


def test_the_page_is_there_before_the_model():
    def load():
        raise NotReadyError("the model is still being loaded")

    response = answer_of(load)
    assert response.status_code == 200
    assert model_of(response.text) is None
