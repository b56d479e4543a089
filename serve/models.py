"""The models of a multi-model endpoint, each with a decoding thread of its own.

Nothing is ever unloaded by itself: the platform does so when it is told that memory does not suffice.

Source: container contract 4.7.
"""

from __future__ import annotations

import enum
import gc
import logging
import math
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s2s_algo.memory import is_out_of_memory
from serve.admission import Admission
from serve.decoder import Translator
from serve.metrics import Metrics
from serve.model_memory import MemoryBudget, give_memory_back
from serve.model_source import ModelSource
from serve.problems import InsufficientMemoryError, ModelExistsError, ModelNotFoundError, NotReadyError
from serve.service import TranslationService
from serve.settings import MEBIBYTE
from serve.strict_json import quote

logger = logging.getLogger(__name__)

# How long requests under way may go on when their model is to be unloaded.
_FINISH_SECONDS = 10.0

# How often a thread that waits for a model looks whether the server is to end.
_POLL_SECONDS = 0.25

_SHUTTING_DOWN = "the server is shutting down; send the request again"


class _State(enum.Enum):
    LOADING = enum.auto()
    READY = enum.auto()
    UNLOADING = enum.auto()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that can be invoked: its name, and where it came from."""

    name: str
    url: str


@dataclass(slots=True, eq=False)
class _Entry:
    """A model from the moment its loading begins until its memory is free.

    Attributes:
        model: Its name and origin.
        service: Translates with it; `None` before it is loaded.
        translator: Tells whether anybody still holds the model itself.
        state: What it is at.
        is_settled: Whether its loading has ended, well or not.
        users: Requests that hold on to it.
    """

    model: Loaded
    service: TranslationService | None = None
    translator: weakref.ref[Translator] | None = None
    state: _State = _State.LOADING
    is_settled: bool = False
    users: int = 0

    @property
    def is_unloading(self) -> bool:
        """Whether it is to go, or just going."""
        return self.state is _State.UNLOADING


class ModelPool:
    """Loads, lends and unloads models for many threads.

    Args:
        source: Where models come from.
        memory: What they may take together.
        admission: Decides, for all models together, what may wait.
        metrics: Told what is searched.
        page_size: Most models of a list.
        clock: Seconds that never jump.
    """

    def __init__(
        self,
        source: ModelSource,
        memory: MemoryBudget,
        admission: Admission,
        metrics: Metrics,
        page_size: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory = memory
        self._source = source
        self._admission = admission
        self._metrics = metrics
        self._page_size = page_size
        self._clock = clock
        self._changed = threading.Condition()  # guards the entries and all that they hold
        self._entries: dict[str, _Entry] = {}
        self._drain_deadline = math.inf

    # -- what the platform asks for --------------------------------------------------------------------------------

    def load(self, name: str, url: str) -> Loaded:
        """Loads a model, tries it out, and returns when it can be invoked.

        Raises:
            ClientError: The folder is none that models may lie in, or its model is damaged.
            ModelNotFoundError: There is no such folder; or the model was unloaded while it was being loaded.
            ModelExistsError: The name is taken.
            InsufficientMemoryError: The model does not fit beside the others.
            NotReadyError: A model of this name is just being unloaded, or the server is to end.
            OverloadedError: Too much is waiting already.
        """
        folder = self._source.folder(url)
        self._admission.enter(0)  # whoever waits for a model keeps a thread from answering others
        try:
            entry = self._begin(Loaded(name, url))
            try:
                self._fill(entry, folder)
            except Exception as error:
                self._discard(entry)
                if is_out_of_memory(error):
                    raise InsufficientMemoryError(
                        f"memory ran out while the model {quote(name)} was being loaded; unload other models with "
                        "DELETE /models/NAME and send it again"
                    ) from None
                raise
        finally:
            self._admission.leave(0)
        with self._changed:
            entry.is_settled = True
            self._changed.notify_all()
            if entry.is_unloading:
                raise ModelNotFoundError(f"the model {quote(name)} was unloaded while it was being loaded")
            entry.state = _State.READY
        return entry.model

    def unload(self, name: str) -> Loaded:
        """Unloads a model, and returns when its memory is free.

        Requests under way may go on for a while and are then answered with an error. What is being loaded is unloaded
        when that is done.

        Raises:
            ModelNotFoundError: There is no such model.
        """
        with self._changed:
            entry = self._entries.get(name)
            if entry is None or entry.is_unloading:
                raise _not_loaded(name)
            entry.state = _State.UNLOADING
            self._changed.wait_for(lambda: entry.is_settled)
            if self._entries.get(name) is not entry:
                return entry.model  # it could not be loaded, and nothing is left of it
            self._changed.wait_for(lambda: entry.users == 0, timeout=_FINISH_SECONDS)
        self._discard(entry)
        logger.info("unloaded the model %s", quote(name))
        return entry.model

    def find(self, name: str) -> Loaded:
        """Returns a model that can be invoked.

        Raises:
            ModelNotFoundError: There is no such model.
        """
        with self._changed:
            entry = self._entries.get(name)
            if entry is None or entry.state is not _State.READY:
                raise _not_loaded(name)
            return entry.model

    def page(self, after: str = "") -> tuple[list[Loaded], str | None]:
        """Lists models that can be invoked, in the order of their names.

        Args:
            after: Where the page before ended; nothing for the first one.

        Returns:
            The models, and where this page ends if others follow.
        """
        with self._changed:
            ready = [entry.model for entry in self._entries.values() if entry.state is _State.READY]
        following = sorted((model for model in ready if model.name > after), key=lambda model: model.name)
        page = following[: self._page_size]
        return page, page[-1].name if len(following) > len(page) else None

    @contextmanager
    def using(self, name: str) -> Iterator[TranslationService]:
        """Lends what translates with a model, which is not unloaded meanwhile unless that takes too long.

        Raises:
            ModelNotFoundError: There is no such model, or it was unloaded before the request was done.
            NotReadyError: It is still being loaded.
        """
        with self._changed:
            entry = self._entries.get(name)
            if entry is None or entry.is_unloading:
                raise _not_loaded(name)
            if entry.service is None or entry.state is _State.LOADING:
                raise NotReadyError(f"the model {quote(name)} is still being loaded; send the request again")
            service = entry.service
            entry.users += 1
        try:
            yield service
        except Exception as error:
            # The error is yet to be answered, and what holds the model must not be held by its frames.
            traceback.clear_frames(error.__traceback__)
            if isinstance(error, NotReadyError) and entry.is_unloading:
                raise ModelNotFoundError(
                    f"the model {quote(name)} was unloaded before this request was done; load it with POST /models "
                    "and send the request again"
                ) from None
            raise
        finally:
            with self._changed:
                entry.users -= 1
                self._changed.notify_all()

    # -- what the server process asks for --------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether models can be loaded: always."""
        return True

    def start(self, on_ready: Callable[[], None], on_load_failure: Callable[[Exception], None]) -> None:
        """Tells that the server is ready: there is nothing to load before somebody asks for it."""
        on_ready()

    def busy_seconds(self) -> float:
        """Returns how long the slowest decoder has been at its current step; 0 while all are idle."""
        return max((service.busy_seconds() for _, service in self._services()), default=0.0)

    def has_failed(self) -> bool:
        """Tells whether a decoder has ended and only a new process can help."""
        return any(entry.state is _State.READY and service.has_failed() for entry, service in self._services())

    def drain(self, seconds: float) -> None:
        """Lowers the deadline of everything that waits or will wait; safe to call from a signal handler."""
        self._drain_deadline = self._clock() + seconds
        for _, service in self._services():
            service.drain(seconds)

    def stop(self, timeout: float) -> bool:
        """Stops all decoding threads after their current step; returns whether they ended within `timeout` seconds."""
        deadline = self._clock() + timeout
        services = [service for _, service in self._services()]
        for service in services:
            service.stop(0)
        return all(service.stop(max(0.0, deadline - self._clock())) for service in services)

    def _services(self) -> list[tuple[_Entry, TranslationService]]:
        # Without the lock, which the thread that a signal interrupts may be waiting for: copying is one step.
        entries = list(self._entries.values())
        return [(entry, service) for entry in entries if (service := entry.service) is not None]

    # -- loading and unloading -------------------------------------------------------------------------------------

    def _begin(self, model: Loaded) -> _Entry:
        with self._changed:
            if self._drain_deadline < math.inf:
                raise NotReadyError(_SHUTTING_DOWN)
            other = self._entries.get(model.name)
            if other is not None and other.is_unloading:
                raise NotReadyError(f"the model {quote(model.name)} is just being unloaded; load it again when it is")
            if other is not None:
                what = "being loaded" if other.state is _State.LOADING else "loaded"
                raise ModelExistsError(
                    f"the model {quote(model.name)} is {what} already, from {quote(other.model.url)}; to load another "
                    "one under this name, unload it first with DELETE /models/NAME"
                )
            entry = self._entries[model.name] = _Entry(model)
            return entry

    def _fill(self, entry: _Entry, folder: Path) -> None:
        """Loads the model of an entry, in the thread that will decode with it."""
        name = entry.model.name
        self.memory.claim(name, self._source.loading_cost(folder))
        logger.info("loading the model %s from %s", quote(name), quote(entry.model.url))

        def load() -> Translator:
            translator = self._source.load(folder)
            entry.translator = weakref.ref(translator)
            self.memory.claim(name, self._source.serving_cost(translator))
            return translator

        ended = threading.Event()
        errors: list[Exception] = []

        def fail(error: Exception) -> None:
            errors.append(error)
            ended.set()

        service = TranslationService(load, self._admission, self._metrics, self._clock)
        entry.service = service
        service.start(on_ready=ended.set, on_load_failure=fail)
        while not ended.wait(_POLL_SECONDS):
            if self._clock() >= self._drain_deadline:
                raise NotReadyError(_SHUTTING_DOWN)
        if errors:
            self._stop(service)
            traceback.clear_frames(errors[0].__traceback__)  # they may hold half a model
            raise errors[0]
        give_memory_back()  # what only the loading took
        logger.info("loaded the model %s; all models are counted with %d MB", quote(name), self._counted())

    def _discard(self, entry: _Entry) -> None:
        """Frees the memory of a model and forgets it."""
        if entry.service is not None:
            self._stop(entry.service)
        with self._changed:
            # Those that held on to it have been told that it is gone, and are just leaving, unless their client takes
            # no more of its answer.
            limit = self._clock() + _FINISH_SECONDS
            while entry.users and not self._is_over() and self._clock() < limit:
                self._changed.wait(_POLL_SECONDS)
            service, entry.service = entry.service, None
        if service is not None and (entry.translator is None or entry.translator() is not None):
            gc.collect()  # only if need be, for everybody waits meanwhile: an error can be a part of a circle
        give_memory_back()
        self.memory.release(entry.model.name)
        with self._changed:
            del self._entries[entry.model.name]
            entry.is_settled = True
            self._changed.notify_all()

    def _stop(self, service: TranslationService) -> None:
        while not service.stop(_POLL_SECONDS) and not self._is_over():
            pass  # it ends after its current step; if that hangs, this process will be replaced

    def _is_over(self) -> bool:
        return self._clock() >= self._drain_deadline

    def _counted(self) -> int:
        return self.memory.claimed // MEBIBYTE


def _not_loaded(name: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"the model {quote(name)} is not loaded; load it with POST /models")
