"""The server process: what gunicorn's threaded worker does not do by itself.

It loads the model in the background while ``/ping`` already answers, ends the server if that fails, gives threads to
requests that have arrived, cuts clients that are too slow, is replaced when a decoder hangs, and drains on SIGTERM. For
a multi-model endpoint it begins without any model, and so does a process that replaces it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import mmap
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from gunicorn.http.message import Request
from gunicorn.workers.gthread import ThreadWorker

from s2s_algo.errors import AlgorithmError, PlatformError, S2SError
from serve.app import serving_of
from serve.arrivals import Arrivals, is_ready
from serve.bad_http import ErrorPage
from serve.decoder import Model, Translator
from serve.fair_share import Place
from serve.invocation import BODY_PARSED, BODY_READ
from serve.metrics import Metrics
from serve.model_memory import trim_memory
from serve.models import ModelPool
from serve.service import TranslationService
from serve.settings import MEBIBYTE, Settings
from serve.socket_deadlines import READING, WRITING, SocketDeadlines, linger

logger = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

# Left of the graceful timeout, at whose end the process is killed, to write the last answers.
_LAST_SECONDS = 2

_LINGER_SECONDS = 2.0

# A client may take so long to take an answer that fits into the buffers of the system.
_ERROR_SECONDS = 1.0

# Why a connection cannot be taken although it is there, and how long to wait then.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_ROOM_SECONDS = 0.1

# A connection is left to a process that has fewer for so long, looked at so often; then nothing is for some time,
# because that process seems to be stuck.
_COURTESY_SECONDS = 0.1
_LOOK_SECONDS = 0.001
_NO_COURTESY_SECONDS = 1.0

# Between attempts to load a model that others serve.
_RETRY_SECONDS = 5.0

# What connections and requests that have not arrived are left when the server stops.
_LAST_IDLE_SECONDS = 1.0
_LAST_READ_SECONDS = 5.0

# An answer is written in pieces of this size, each of which has its own time to be taken. The system would take
# megabytes at once and then not say for minutes that a slow client does take them.
_PIECE_BYTES = 65_536
_SEND_BUFFER_BYTES = 131_072


class FailureCode:
    """An exit code that the master reads after the process that set it has ended.

    Until the model is ready, the end of the process for whatever reason but SIGTERM counts as a failure of the machine:
    starting it again would most likely end in the same way, and the platform should know.
    """

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)  # memory of this process and of the ones that it will fork
        self.set(PlatformError.exit_code)

    def set(self, code: int) -> None:
        """Stores a code; 0 says that a process which ends may be replaced."""
        self._shared[0] = code

    def get(self) -> int:
        """Returns the code."""
        return self._shared[0]


def banner(translator: Translator, settings: Settings, threads: str) -> list[str]:
    """What the log says about a server that is ready.

    Args:
        translator: The loaded model.
        settings: The settings of the server.
        threads: That compute, in each server process.
    """
    source, target = len(translator.source_vocabulary), len(translator.target_vocabulary)
    return [
        f"model: {_description(translator.model)}, {translator.num_parameters} parameters, vocabularies of {source} "
        f"source and {target} target tokens, beam of {translator.options.beam_size}, {settings.precision}",
        f"processes: {settings.workers}, each on {translator.model.device} with {threads} computing threads and "
        f"{settings.threads} HTTP threads",
        *_limits(settings),
    ]


def multi_model_banner(memory: int, settings: Settings, threads: str) -> list[str]:
    """What the log says about the server of a multi-model endpoint.

    Args:
        memory: Bytes of all models together.
        settings: The settings of the server.
        threads: That compute for each model.
    """
    return [
        f"multi-model endpoint: models that are counted with {memory // MEBIBYTE} MB of memory in all, each with "
        f"{threads} computing threads; {settings.threads} HTTP threads",
        *_limits(settings),
    ]


def _limits(settings: Settings) -> list[str]:
    deadline = "no deadline" if settings.deadline is None else f"{settings.deadline:g} seconds"
    return [
        f"limits of a request: {settings.max_body_bytes // MEBIBYTE} MB, {settings.max_instances} instances of "
        f"{settings.max_instance_tokens} tokens, {deadline}; of all that wait: {settings.max_waiting_requests} "
        f"requests, {settings.max_waiting_tokens} source tokens",
        f"ready at {settings.socket_address}" + (", for a batch transform" if settings.batch else ""),
    ]


def _description(model: Model) -> str:
    parts = []
    for name in ("encoder", "decoder"):
        part = getattr(model.config, name)
        kind = part.cell_type if part.type == "rnn" else part.type
        parts.append(f"{kind} {name} with {part.num_layers} x {part.num_hidden} units")
    return ", ".join(parts)


class _Request(Request):  # type: ignore[misc]  # gunicorn has no types
    """A request; where the one after it begins nobody knows if its body could not be read to the end."""

    def should_close(self) -> bool:
        """Whether the connection ends with the answer."""
        return self.body.failed or super().should_close()


class ServingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gunicorn worker with a decoding thread."""

    wsgi: Any
    age: int
    _arrivals: Arrivals
    _metrics: Metrics

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.place = Place()
        self._accepting = False
        self._connections = 0
        super().__init__(*args, **kwargs)  # in the master, before the fork
        self.failure_code = FailureCode()
        self._settings = Settings.from_environment(os.environ)
        self._deadlines = SocketDeadlines()
        self._service: TranslationService | ModelPool | None = None
        self._is_doomed = False
        self._leaves_to_others = False
        self._courteous_from = 0.0
        self._lingering = threading.Semaphore(max(1, self._settings.threads // 8))

    @property
    def nr_conns(self) -> int:
        """Connections of this process, which gunicorn counts."""
        return self._connections

    @nr_conns.setter
    def nr_conns(self, connections: int) -> None:
        self._connections = connections
        self._tell_others()

    def _tell_others(self) -> None:
        if self._accepting:
            self.place.take(self._connections)
        else:
            self.place.leave()

    def load_wsgi(self) -> None:
        """Creates the application and starts to load the model, if there is one to begin with."""
        super().load_wsgi()
        serving = serving_of(self.wsgi)
        self._service, self._metrics = serving.service, serving.metrics
        self.wsgi = self._with_deadlines(self.wsgi)
        self._service.start(on_ready=self._announce, on_load_failure=self._give_up)

    def _announce(self) -> None:
        self.failure_code.set(0)
        is_first = self.age == 1  # of all server processes, replacements included
        threads = os.environ.get("OMP_NUM_THREADS", "all")
        if not is_first or self._service is None:
            return
        if isinstance(self._service, ModelPool):
            lines = multi_model_banner(self._service.memory.limit, self._settings, threads)
        else:
            lines = banner(self._service.translator, self._settings, threads)
        for line in lines:
            logger.info(line)

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, S2SError):
            family, text, code = error.family, str(error), error.exit_code
        else:
            of = PlatformError if isinstance(error, (MemoryError, OSError)) else AlgorithmError
            family, text, code = of.family, f"{type(error).__name__}: {error}", of.exit_code
        expected = isinstance(error, S2SError)
        logger.critical("%s: the model cannot be served: %s", family, text, exc_info=None if expected else error)
        self.failure_code.set(code)
        try:
            if self._metrics.models_ready() > 0:  # those of others, who go on serving
                time.sleep(_RETRY_SECONDS)
        finally:
            logging.shutdown()
            os._exit(1)  # not with the code itself: 3 and 4 would have gunicorn end the server, whoever serves

    def _with_deadlines(self, application: Application) -> Application:
        def watched(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            connection = environ["gunicorn.socket"]
            environ[BODY_READ] = functools.partial(self._end_reading, connection, environ["wsgi.input"])
            environ[BODY_PARSED] = functools.partial(self._end_turn, connection)
            self._deadlines.begin(connection, READING, self._settings.read_timeout)  # of the body
            return self._written_in_time(application(environ, start_response), connection)

        return watched

    def _written_in_time(self, answer: Iterable[bytes], connection: socket.socket) -> Iterator[bytes]:
        """The pieces of an answer, each of which has its own time to be taken."""
        try:
            for piece in answer:
                for start in range(0, len(piece), _PIECE_BYTES):
                    self._deadlines.begin(connection, WRITING, self._settings.read_timeout)
                    yield piece[start : start + _PIECE_BYTES]
                self._deadlines.end(connection)  # what is not translated yet is not the client's fault
            self._deadlines.begin(connection, WRITING, self._settings.read_timeout)
        finally:
            if hasattr(answer, "close"):
                answer.close()

    def _end_reading(self, connection: socket.socket, body: Any) -> bool:
        """The body is read, or never will be; returns whether the client was cut off."""
        was_cut = self._deadlines.end(connection)
        if was_cut:
            body.failed = True
        return was_cut

    def _end_turn(self, connection: socket.socket) -> None:
        """The request of a connection is parsed, or never will be."""
        if self._arrivals.has_turn(connection):
            self.method_queue.defer(self._arrivals.end_turn, connection)

    def accept(self, listener: socket.socket) -> None:
        """Takes a new connection, if there is any."""
        self._leaves_to_others = self._service is not None and self._has_no_model_but_others(self._service)
        if self._leaves_to_others:
            self.set_accept_enabled(False)
            return
        self._let_others_take(listener)
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            if not self._make_room():
                time.sleep(_NO_ROOM_SECONDS)  # all connections are at work; the listener would be tried without end

    def _let_others_take(self, listener: socket.socket) -> None:
        """Waits a moment if another process has fewer connections, so that it takes the one that is there."""
        now = time.monotonic()
        if now < self._courteous_from:
            return
        end = now + _COURTESY_SECONDS
        while self.place.has_more_than_another() and is_ready(listener, select.POLLIN):
            if time.monotonic() > end:
                self._courteous_from = end + _NO_COURTESY_SECONDS
                return
            time.sleep(_LOOK_SECONDS)

    def _has_no_model_but_others(self, service: TranslationService | ModelPool) -> bool:
        return not service.is_ready and self._metrics.models_ready() > 0

    def _make_room(self) -> bool:
        """Closes a connection that nobody uses; returns whether there is one."""
        if self._arrivals.close_one():
            return True
        if not self.keepalived_conns:
            return False
        conn = self.keepalived_conns.popleft()
        self.poller.unregister(conn.sock)
        self._drop(conn)
        return True

    def enqueue_req(self, conn: Any) -> None:
        """Gets a request answered as soon as it has arrived."""
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._arrivals.begin(conn)

    def _drop(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def handle(self, conn: Any) -> Any:
        """Reads a request and answers it, in one of the threads."""
        self._deadlines.begin(conn.sock, READING, self._settings.read_timeout)
        is_large = self._arrivals.has_turn(conn.sock)
        conn.parser.mesg_class = _Request
        try:
            keep = super().handle(conn)
        finally:
            self._deadlines.end(conn.sock)
            self._end_turn(conn.sock)
        if is_large:
            trim_memory()
        if not keep:
            self._linger(conn.sock)
        return keep

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answers a request."""
        if self._service is not None and not self._service.is_ready:
            req.force_close()  # the next request may meet a process that has a model
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answers what could not be read as a request, or was not answered because of a defect."""
        page = ErrorPage()
        super().handle_error(req, page, addr, exc)
        if req is not None and req.body.failed:
            return  # it has its answer: this is about the rest of its body, which nobody wanted
        with contextlib.suppress(OSError):  # the client has gone
            client.settimeout(_ERROR_SECONDS)
            client.sendall(page.answer(exc))

    def _linger(self, connection: socket.socket) -> None:
        """Waits for a client to close its side, unless too many are waited for.

        Gunicorn would do so in the thread that accepts connections, and nobody could connect meanwhile.
        """
        may_wait = self._lingering.acquire(blocking=False)
        try:
            linger(connection, _LINGER_SECONDS if may_wait else 0.0)
        finally:
            if may_wait:
                self._lingering.release()

    def murder_pending(self) -> None:
        """Gives up requests that take too long to arrive."""
        self._arrivals.cut_expired()

    def notify(self) -> None:
        """Tells the master once a second that this process lives, unless it has to be replaced."""
        self._deadlines.cut_expired()
        if self._service is not None:
            self._check_decoder(self._service)
            self._leaves_to_others = self._has_no_model_but_others(self._service)
        super().notify()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Takes new connections or not; gunicorn asks again every second.

        A process whose model is not loaded leaves them to those that have one. If there is none, it says so to clients.
        A server that stops takes those that are waiting for it, and refuses others at once.
        """
        stops = not enabled and not self.alive
        if stops and self._accepting:
            for listener in self.sockets:
                while is_ready(listener, select.POLLIN) and self.nr_conns < self.worker_connections:
                    super().accept(listener)
        super().set_accept_enabled(enabled and not self._leaves_to_others)
        self._tell_others()
        if stops:
            for listener in self.sockets:
                listener.close()

    def _check_decoder(self, service: TranslationService | ModelPool) -> None:
        was_doomed, self._is_doomed = self._is_doomed, service.has_failed()
        if was_doomed and self._is_doomed:  # not at once: those who waited are just being told
            reason = "the decoder has failed"
        elif service.busy_seconds() > self._settings.hang_timeout:
            reason = f"the decoder has made no progress for {self._settings.hang_timeout:g} seconds"
        else:
            return
        logger.critical("%s; this server process ends and is replaced", reason)
        logging.shutdown()
        os._exit(1)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to drain on SIGTERM: what cannot be finished in time is refused while it still can be answered."""
        self.failure_code.set(0)
        if self._service is not None:
            self._service.drain(max(0.0, self._settings.graceful_timeout - _LAST_SECONDS))
        super().handle_exit(sig, frame)
        self.method_queue.defer(lambda: self._arrivals.hurry(_LAST_IDLE_SECONDS, _LAST_READ_SECONDS))

    def run(self) -> None:
        """Serves until SIGTERM has come and all requests are answered."""
        for listener in self.sockets:  # whose connections inherit this
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._arrivals = Arrivals(
            self.poller,
            start=super().enqueue_req,
            close=self._drop,
            deadlines=self._deadlines,
            idle_seconds=self.cfg.keepalive,
            read_seconds=self._settings.read_timeout,
            most_at_work=max(1, self._settings.threads // 4),
        )
        super().run()
        if self._service is not None and not self._service.stop(timeout=1.0):
            # The interpreter must not be taken apart under a thread that loads or decodes.
            logging.shutdown()
            os._exit(0)
