"""The routes of a multi-model endpoint, by which the platform loads and unloads models and invokes them.

Source: container contract 4.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from flask import Blueprint, Response, g, jsonify, request

from s2s_algo.errors import ClientError
from serve.invocation import invoke, receive
from serve.metrics import Metrics
from serve.models import Loaded, ModelPool
from serve.problems import InsufficientMemoryError, MemoryExhaustedError, ModelNotFoundError
from serve.settings import Settings
from serve.strict_json import decode_utf8, name_of_type, parse, quote

# Which model the platform thinks it asks for, as people called it: a path of their own, for the log alone.
_TARGET = "X-Amzn-SageMaker-Target-Model"

# A body needs two members; others, which the platform may come to send, are left alone.
_MOST_PARTS = 100
_EXPECTED = 'the body must be a JSON object such as {"model_name": "NAME", "url": "/opt/ml/models/NAME/model"}'

_LONGEST_NAME = 256
_LONGEST_URL = 4096


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the body of a request to load says."""

    name: str
    url: str

    @classmethod
    def of(cls, body: bytes) -> _Wanted:
        """Reads a body.

        Raises:
            ClientError: It says something else.
        """
        if not body.strip():
            raise ClientError(f"the body is empty; {_EXPECTED}")
        found = parse(decode_utf8(body), _MOST_PARTS)
        if not isinstance(found, dict):
            raise ClientError(f"the body is {name_of_type(found)}; {_EXPECTED}")
        name, url = (
            _text(found, key, longest) for key, longest in (("model_name", _LONGEST_NAME), ("url", _LONGEST_URL))
        )
        # The name is a part of paths, which clients and proxies take to pieces.
        if "/" in name or name in (".", "..") or not name.isprintable():
            raise ClientError(
                f"model_name is {quote(name)}; it must be printable, without slashes, and neither a dot nor two"
            )
        return cls(name, url)


def _text(found: dict[str, object], key: str, longest: int) -> str:
    if key not in found:
        raise ClientError(f"{key} is missing; {_EXPECTED}")
    value = found[key]
    if not isinstance(value, str):
        raise ClientError(f"{key} is {name_of_type(value)}; it must be a string; {_EXPECTED}")
    if not 0 < len(value) <= longest:
        raise ClientError(f"{key} has {len(value)} characters; it must have 1 to {longest}")
    return value


def model_routes(pool: ModelPool, settings: Settings, metrics: Metrics) -> Blueprint:
    """Creates the routes.

    Args:
        pool: The models.
        settings: The settings of the server.
        metrics: What is counted.
    """
    blueprint = Blueprint("models", __name__)

    @blueprint.post("/models")
    def load() -> Response:
        wanted = _Wanted.of(receive(settings))
        return jsonify(_shown(pool.load(wanted.name, wanted.url)))

    @blueprint.get("/models")
    def list_() -> Response:
        models, next_ = pool.page(request.args.get("next_page_token", ""))
        page: dict[str, object] = {"models": [_shown(model) for model in models]}
        return jsonify(page if next_ is None else page | {"nextPageToken": next_})

    @blueprint.get("/models/<name>")
    def find(name: str) -> Response:
        return jsonify(_shown(pool.find(name)))

    @blueprint.delete("/models/<name>")
    def unload(name: str) -> Response:
        return jsonify(_shown(pool.unload(name)))

    @blueprint.post("/models/<name>/invoke")
    def invoke_model(name: str) -> Response:
        g.target_model = request.headers.get(_TARGET)
        try:
            return invoke(lambda: pool.using(name), settings, metrics)
        except MemoryExhaustedError as error:
            # With this status the platform unloads other models and sends the request again.
            raise InsufficientMemoryError(error.message, error.where) from None

    @blueprint.post("/invocations")
    @blueprint.post("/endpoints/<name>/invocations", endpoint="named_invocations")
    def invocations(name: str = "") -> NoReturn:
        receive(settings)
        raise ModelNotFoundError(
            "this server runs for a multi-model endpoint and has no model of its own; load one with POST /models and "
            "send the request to POST /models/NAME/invoke"
        )

    return blueprint


def _shown(model: Loaded) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": model.url}
