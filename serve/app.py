"""The routes of the endpoint.

Source: container contract 4.1, 4.2, 4.6 and 4.7; decisions 36 to 40.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from flask import Flask, Response, current_app, g, jsonify, request, stream_with_context
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from serve.admission import Admission
from serve.decoder import Translator
from serve.invocation import invoke
from serve.metrics import CONTENT_TYPE, Metrics
from serve.model_memory import MemoryBudget, default_limit
from serve.model_routes import model_routes
from serve.model_source import ModelSource
from serve.models import ModelPool
from serve.playground import playground
from serve.problems import ClientGoneError, NotReadyError, Problem, describe
from serve.service import TranslationService
from serve.settings import Settings

logger = logging.getLogger(__name__)

_EXTENSION = "s2s"

_COMMON_ROUTES = "GET /ping, GET /execution-parameters, GET /metrics"
_ROUTES = f"{_COMMON_ROUTES}, POST /invocations and POST /endpoints/{{name}}/invocations"
_MODEL_ROUTES = (
    f"{_COMMON_ROUTES}, GET and POST /models, GET and DELETE /models/{{name}}, and POST /models/{{name}}/invoke"
)

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
        service: Translates, with one model or those of a multi-model endpoint; whoever runs the application starts it.
        settings: The settings of the server.
        metrics: What is counted.
    """

    service: TranslationService | ModelPool
    settings: Settings
    metrics: Metrics


def load_translator(folder: Path, settings: Settings) -> Translator:
    """Loads the model of a folder; only then is torch imported."""
    from s2s_algo.decoding.translator import Translator as ModelTranslator

    return ModelTranslator.load(folder, most_rows=settings.max_batch_rows, precision=settings.precision)


def serving_of(app: Flask) -> Serving:
    """Returns what `create_app` has put into an application."""
    serving: Serving = app.extensions[_EXTENSION]
    return serving


def create_app(load: Callable[[], Translator], settings: Settings) -> Flask:
    """Creates the application for one model; its service has yet to be started.

    Args:
        load: Loads the model.
        settings: The settings of the server.
    """
    metrics = Metrics(settings.metrics_folder)
    service = TranslationService(load, _admission(settings, metrics), metrics)
    app = _app(Serving(service, settings, metrics))

    @app.post("/invocations")
    @app.post("/endpoints/<name>/invocations", endpoint="named_invocations")
    def invocations(name: str = "") -> Response:
        return invoke(lambda: nullcontext(service), settings, metrics)

    if settings.playground:
        app.register_blueprint(playground(lambda: service.translator))
    return app


def create_multi_model_app(load: Callable[[Path], Translator], folder: Path, settings: Settings) -> Flask:
    """Creates the application of a multi-model endpoint, which begins without any model.

    Args:
        load: Loads the model of a folder.
        folder: Below which all models lie.
        settings: The settings of the server.
    """
    metrics = Metrics(settings.metrics_folder)
    memory = MemoryBudget(settings.model_memory or default_limit(), metrics)
    pool = ModelPool(ModelSource(folder, load), memory, _admission(settings, metrics), metrics)
    app = _app(Serving(pool, settings, metrics))
    app.register_blueprint(model_routes(pool, settings, metrics))
    return app


def _admission(settings: Settings, metrics: Metrics) -> Admission:
    return Admission(settings.max_waiting_tokens, settings.max_waiting_requests, metrics)


def _app(serving: Serving) -> Flask:
    """What every application does, whatever its models are."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # a redirection would be an answer that nobody expects
    app.extensions[_EXTENSION] = serving
    service, settings, metrics = serving.service, serving.settings, serving.metrics

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
    routes = _MODEL_ROUTES if serving_of(current_app).settings.multi_model else _ROUTES
    if isinstance(error, NotFound):
        return Problem(404, "not_found", f"there is nothing at {request.path[:100]!r}; the routes are {routes}")
    if isinstance(error, MethodNotAllowed):
        text = f"{request.method} is not allowed at {request.path!r}; the routes are {routes}"
        return Problem(405, "method_not_allowed", text)
    return Problem(error.code or 500, "http_error", error.description or error.name)


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.id
    if response.is_streamed:
        response.response = stream_with_context(_recorded_in_the_end(response.iter_encoded(), response.status_code))
    else:
        _record(response.status_code)
    return response


def _recorded_in_the_end(pieces: Iterator[bytes], status: int) -> Iterator[bytes]:
    """The pieces of an answer that is not whole yet; after an error the connection is closed, and the client knows.

    Raises:
        BrokenPipeError: The answer cannot be completed, which is all that the HTTP server has to know.
    """
    try:
        yield from pieces
    except GeneratorExit:
        g.problem = describe(ClientGoneError("the client took no more of its answer"), error_id=g.id)
        raise
    except Exception as error:
        g.problem = describe(error, error_id=g.id)
        if g.problem.status == 500:
            logger.error("internal error %s", g.id, exc_info=error)
        raise BrokenPipeError(errno.EPIPE, "the answer cannot be completed") from None
    finally:
        _record(status)


def _record(status: int) -> None:
    """Counts and logs a request."""
    problem: Problem | None = g.get("problem")
    seconds = time.monotonic() - g.started
    serving_of(current_app).metrics.end(_route(), status, seconds, problem.code if problem else None)
    is_routine = request.path in _ROUTINE and status == 200
    logger.log(logging.DEBUG if is_routine else logging.INFO, "%s", _log_line(status, seconds, problem))


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
    if target := g.get("target_model"):
        values["target_model"] = target[:200]
    if problem:
        values["message"] = f"{problem.location}: {problem.message}" if problem.location else problem.message
    return " ".join(f"{key}={_log_value(str(value))}" for key, value in values.items())


def _log_value(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
