"""A page on which people try the model in a browser: ``GET /`` of an endpoint that they run themselves.

Source: container contract 2.6, 4.1, 4.3 and 4.6 for what tells that the platform runs it.
"""

from __future__ import annotations

import hashlib
import itertools
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files

from flask import Blueprint, Response
from jinja2 import Environment, StrictUndefined

from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.errors import ClientError
from serve.decoder import Translator
from serve.problems import NotReadyError

_SWITCH = "S2S_PLAYGROUND"

# The platform sets these to "true" for batch transform jobs and multi-model endpoints, in whatever case, ...
_PLATFORM_FLAGS = ("SAGEMAKER_BATCH", "SAGEMAKER_MULTI_MODEL")

# ... and these, to whatever value, for containers that share an instance and for those that AWS gives a role. The port
# to bind to and the region tell nothing, for they are also set on one's own machine.
_PLATFORM_VALUES = ("SAGEMAKER_SAFE_PORT_RANGE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")

_PAGE = "playground.html"

_EXAMPLE_TOKENS = 5
_LONGEST_EXAMPLE_TOKEN = 20  # characters

_TRANSLATIONS = 3  # that the page asks for if nobody says otherwise


@dataclass(frozen=True, slots=True)
class Model:
    """What the page knows of the model.

    Attributes:
        example: A source to begin with; empty if the vocabulary has no words.
        beam_size: As the model is searched if nobody says otherwise.
        n_best: Translations to show.
        length_penalty: Exponent, as the model is searched if nobody says otherwise.
    """

    example: str
    beam_size: int
    n_best: int
    length_penalty: float


def is_on(environment: Mapping[str, str]) -> bool:
    """Tells whether the server offers the page: as S2S_PLAYGROUND says, else if nothing tells of the platform.

    Raises:
        ClientError: S2S_PLAYGROUND is neither ``on`` nor ``off``; an empty variable counts as not set.
    """
    wanted = environment.get(_SWITCH, "").strip()
    if wanted.lower() in ("on", "off"):
        return wanted.lower() == "on"
    if wanted:
        raise ClientError(f"{_SWITCH} is {wanted[:100]!r}; it must be on or off, or be left out")
    flags = any(environment.get(name, "").strip().lower() == "true" for name in _PLATFORM_FLAGS)
    return not flags and not any(environment.get(name, "").strip() for name in _PLATFORM_VALUES)


def playground(translator: Callable[[], Translator]) -> Blueprint:
    """Creates the route of the page.

    Args:
        translator: Returns the loaded model; while it raises a `NotReadyError`, the page waits for ``/ping``.
    """
    text = files(__package__ or "").joinpath(_PAGE).read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(text)
    headers = {
        "Content-Security-Policy": _policy(text),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",  # another model may be served here tomorrow
    }
    blueprint = Blueprint("playground", __name__)

    @blueprint.get("/")
    def page() -> Response:
        try:
            model = asdict(_model(translator()))
        except NotReadyError:
            model = None
        return Response(template.render(model=model), headers=headers, content_type="text/html; charset=utf-8")

    return blueprint


def _policy(page: str) -> str:
    """Allows the style and the script that the page has, requests to this server, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_of(page, 'script')}",
            f"style-src {_hash_of(page, 'style')}",
            "img-src data:",  # the icon, for which browsers would otherwise ask this server
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # No text can become markup, whatever the script does with it
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash_of(page: str, element: str) -> str:
    content = page.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _model(translator: Translator) -> Model:
    options = translator.options
    return Model(
        example=_example(translator.source_vocabulary),
        beam_size=options.beam_size,
        n_best=min(_TRANSLATIONS, options.beam_size),
        length_penalty=options.length_penalty_alpha,
    )


def _example(vocabulary: Vocabulary) -> str:
    """Returns a few frequent words; vocabularies begin with what was most frequent in the data."""
    words = (token for token in vocabulary.tokens if token not in SPECIAL_TOKENS and _is_word(token))
    return vocabulary.segmentation.join(list(itertools.islice(words, _EXAMPLE_TOKENS)))


def _is_word(token: str) -> bool:
    is_one_token = token.split() == [token]
    return is_one_token and len(token) <= _LONGEST_EXAMPLE_TOKEN and any(map(str.isalnum, token))
