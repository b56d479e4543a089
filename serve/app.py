"""The routes of the endpoint.

Source: container contract 4.1, 4.2 and 4.6; decisions 36 to 40.
"""

from __future__ import annotations

import json
import logging
import math
import re
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from s2s_algo.decoding.translation import Translation, replace_unknown
from s2s_algo.errors import ClientError
from serve.body import read_body
from serve.codecs import Instance, Limits, decode, encode
from serve.decoder import Request, Translator
from serve.media_types import answer_format, parse_media_type, request_format
from serve.metrics import CONTENT_TYPE, Metrics
from serve.playground import playground
from serve.problems import NotReadyError, Problem, RequestTimeoutError, UnsupportedContentTypeError, describe
from serve.service import TranslationService
from serve.settings import Settings
from serve.sources import source_ids, source_tokens

logger = logging.getLogger(__name__)

# Key of the WSGI environment under which the server process leaves a function to be called when the body is read. It
# returns whether the client was cut off because it was too slow.
BODY_READ = "s2s.body_read"

_EXTENSION = "s2s"

_ROUTES = "GET /ping, GET /execution-parameters, GET /metrics, POST /invocations and POST /endpoints/{name}/invocations"

# What the platform and other servers before this one call a request, the first of them that is there.
_ID_HEADERS = ("X-Amzn-RequestId", "X-Request-Id")
_LONGEST_ID = 128

# Asked for again and again; in the log they would hide everything else.
_ROUTINE = ("/ping", "/metrics")

# Of the log: what needs no quotes.
_PLAIN = re.compile(r"[\w./%~:+-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Serving:
    """What an application carries along.

    Attributes:
        service: Translates; whoever runs the application starts it.
        settings: The settings of the server.
        metrics: What is counted.
    """

    service: TranslationService
    settings: Settings
    metrics: Metrics


def load_translator(folder: Path) -> Translator:
    """Loads the model of a folder; only then is torch imported."""
    from s2s_algo.decoding.translator import Translator as ModelTranslator

    return ModelTranslator.load(folder)


def serving_of(app: Flask) -> Serving:
    """Returns what `create_app` has put into an application."""
    serving: Serving = app.extensions[_EXTENSION]
    return serving


def create_app(load: Callable[[], Translator], settings: Settings) -> Flask:
    """Creates the application; its service has yet to be started.

    Args:
        load: Loads the model.
        settings: The settings of the server.
    """
    app = Flask(__name__, static_folder=None)
    metrics = Metrics(settings.metrics_folder)
    service = TranslationService(load, settings.max_waiting_tokens, settings.max_waiting_requests, metrics)
    app.extensions[_EXTENSION] = Serving(service, settings, metrics)

    @app.before_request
    def begin() -> None:
        g.started = time.monotonic()
        g.id = _request_id(request.headers)
        g.instances = g.tokens = g.target_tokens = 0
        metrics.begin(_route())

    @app.get("/ping")
    def ping() -> Response:
        if service.is_ready:
            return Response(status=200)
        raise NotReadyError("the model is still being loaded")

    @app.get("/execution-parameters")
    def execution_parameters() -> Response:
        # No BatchStrategy: the local mode of the SageMaker SDK does not know the documented values.
        return jsonify(
            MaxConcurrentTransforms=settings.transform_concurrency, MaxPayloadInMB=settings.transform_payload_mb
        )

    @app.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.text(), content_type=CONTENT_TYPE)

    @app.post("/invocations")
    @app.post("/endpoints/<name>/invocations", endpoint="named_invocations")
    def invocations(name: str = "") -> Response:
        return _invoke(service, settings, metrics)

    if settings.playground:
        app.register_blueprint(playground(lambda: service.translator))
    app.register_error_handler(Exception, _answer_error)
    app.after_request(_finish)
    return app


def _request_id(headers: Headers) -> str:
    """Returns what the client calls its request if that is short and printable ASCII, else a name of our own."""
    for name in _ID_HEADERS:
        id_ = headers.get(name, "")
        if id_.isascii() and id_.isprintable() and 0 < len(id_) <= _LONGEST_ID:
            return id_
    return uuid.uuid4().hex[:16]


def _route() -> str:
    """The pattern of the path, of which there are few however many paths clients think of."""
    return request.url_rule.rule if request.url_rule else "other"


def _invoke(service: TranslationService, settings: Settings, metrics: Metrics) -> Response:
    # (1) All of the body first, for a client that is still sending would not see an error
    body = _receive(settings)

    # (2) Both formats, before any work on the content
    _check_encoding(request.headers.get("Content-Encoding", ""))
    content_type = request.headers.get("Content-Type", "")
    own_format = request_format(content_type)
    format_ = answer_format(request.headers.get("Accept"), own_format, settings.default_accept)

    # (3) Sentences of ids
    limits = Limits(settings.max_instances, settings.max_instance_tokens)
    decoded = decode(body, own_format, parse_media_type(content_type).parameters, limits)
    translator = service.translator
    requests = [_search(instance, translator) for instance in decoded.instances]
    g.instances, g.tokens = len(requests), sum(len(source) for source, _ in requests)

    # (4) Their translations
    deadline = math.inf if settings.deadline is None else g.started + settings.deadline
    found = service.translate(requests, deadline, _hang_up_test(request.environ.get("gunicorn.socket")))
    translations = [
        _finished(instance, translations, translator)
        for instance, translations in zip(decoded.instances, found, strict=True)
    ]
    g.target_tokens = sum(len(best.token_ids) for best, *_ in translations)
    metrics.translated(g.tokens, g.target_tokens)

    # (5) The answer
    return Response(encode(decoded, translations, format_), content_type=format_.value)


def _search(instance: Instance, translator: Translator) -> Request:
    """What to search for, and how."""
    source = source_ids(instance, translator.source_vocabulary)
    options = instance.options.search_options(translator.options)
    try:
        options.check(len(translator.target_vocabulary))
    except ClientError as error:
        raise ClientError(error.message, where=instance.place) from None
    return source, options


def _finished(instance: Instance, translations: Sequence[Translation], translator: Translator) -> Sequence[Translation]:
    if not instance.options.replace_unknown:
        return translations
    source = source_tokens(instance, translator.source_vocabulary)
    return [replace_unknown(translation, source, translator.target_vocabulary.unk_id) for translation in translations]


def _receive(settings: Settings) -> bytes:
    is_chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    declared = None if is_chunked else request.content_length or 0
    end_reading: Callable[[], bool] = request.environ.get(BODY_READ, lambda: False)
    try:
        body = read_body(request.environ["wsgi.input"], declared, settings.max_body_bytes)
    except ClientError as error:
        if end_reading():
            raise RequestTimeoutError(
                f"the request did not arrive within {settings.read_timeout:g} seconds; send it faster or in smaller "
                "parts, or allow more time with S2S_READ_TIMEOUT_SECONDS"
            ) from error
        raise
    end_reading()
    return body


def _check_encoding(encoding: str) -> None:
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedContentTypeError(
            f"Content-Encoding {encoding[:100]!r} is not supported; send the body as it is"
        )


def _hang_up_test(connection: socket.socket | None) -> Callable[[], bool]:
    """Returns a function that tells whether the client has closed the connection."""

    def has_hung_up() -> bool:
        if connection is None:
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:  # silent, but there
            return False
        except OSError:
            return True

    return has_hung_up


def _answer_error(error: Exception) -> Response:
    if isinstance(error, HTTPException):  # of the routing
        problem = _routing_problem(error)
        headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    else:
        problem = describe(error, error_id=g.id)
        headers = problem.headers
        if problem.status == 500:
            logger.error("internal error %s", g.id, exc_info=error)
    g.problem = problem
    return Response(problem.to_json(), problem.status, headers, content_type="application/json")


def _routing_problem(error: HTTPException) -> Problem:
    if isinstance(error, NotFound):
        return Problem(404, "not_found", f"there is nothing at {request.path[:100]!r}; the routes are {_ROUTES}")
    if isinstance(error, MethodNotAllowed):
        text = f"{request.method} is not allowed at {request.path!r}; the routes are {_ROUTES}"
        return Problem(405, "method_not_allowed", text)
    return Problem(error.code or 500, "http_error", error.description or error.name)


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.id
    problem: Problem | None = g.get("problem")
    seconds = time.monotonic() - g.started
    serving_of(current_app).metrics.end(_route(), response.status_code, seconds, problem.code if problem else None)
    is_routine = request.path in _ROUTINE and response.status_code == 200
    logger.log(logging.DEBUG if is_routine else logging.INFO, "%s", _log_line(response.status_code, seconds, problem))
    return response


def _log_line(status: int, seconds: float, problem: Problem | None) -> str:
    """Describes an answered request as ``key=value`` pairs; what has other than plain characters is a JSON string."""
    values: dict[str, object] = {
        "method": request.method,
        "path": quote(request.path[:200], errors="replace"),
        "status": status,
        "ms": f"{1000 * seconds:.1f}",
        "id": g.id,
        "instances": g.instances,
        "tokens": g.tokens,
        "target_tokens": g.target_tokens,
        "code": problem.code if problem else "ok",
    }
    if problem:
        values["message"] = f"{problem.location}: {problem.message}" if problem.location else problem.message
    return " ".join(f"{key}={_log_value(str(value))}" for key, value in values.items())


def _log_value(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
