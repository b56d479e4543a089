"""The container engine, through its command line: images, networks, and containers as the platform starts them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests

# Such as "podman", or "sudo docker".
COMMAND = shlex.split(os.environ.get("DOCKER", "docker"))
IMAGE = os.environ.get("S2S_IMAGE", "s2s:cpu")

# What SageMaker waits between SIGTERM and SIGKILL.
TRAIN_GRACE_SECONDS, SERVE_GRACE_SECONDS = 120, 30

_PATIENCE = 240.0  # seconds until a container that hangs fails its test
_POLL = 0.1


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a command of the engine to its end."""
    ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=_PATIENCE)
    assert not check or ended.returncode == 0, f"{arguments}: {ended.stderr}"
    return ended


def why_none() -> str | None:
    """Why there is no engine; ``None`` if one answers."""
    try:
        answer = subprocess.run([*COMMAND, "info"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no container engine: {error}"
    if answer.returncode:
        return f"no container engine answers `{shlex.join([*COMMAND, 'info'])}`: {answer.stderr.strip()}"
    return None


def has_image() -> bool:
    """Whether the image under test is there."""
    return run("image", "inspect", IMAGE, check=False).returncode == 0


@dataclass(frozen=True)
class Ended:
    """A container that has ended.

    Attributes:
        exit_code: As the platform sees it; 137 if it was killed.
        log: What it printed.
        seconds: How long it took to end after it was told to.
    """

    exit_code: int
    log: str
    seconds: float = 0.0

    @cached_property
    def messages(self) -> list[str]:
        """The lines of the log without their prefix."""
        return [re.sub(r"^\[[^]]*\] ", "", line) for line in self.log.splitlines()]


class Container:
    """A container that was started and may still run."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def log(self) -> str:
        """What it has printed so far."""
        shown = run("logs", self.name)
        return shown.stdout + shown.stderr

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.inspect("{{.State.Running}}") == "true"

    def inspect(self, template: str) -> str:
        """One value of what the engine knows of it."""
        return run("inspect", "--format", template, self.name).stdout.strip()

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Returns when a condition holds."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if not self.runs or time.monotonic() > deadline:
                assert condition(), f"no {what}:\n{self.log}"
                return
            time.sleep(_POLL)

    def wait_for(self, pattern: str) -> None:
        """Returns when the log matches a regular expression."""
        self.wait_until(lambda: re.search(pattern, self.log) is not None, f"{pattern!r} in the log")

    def wait(self) -> Ended:
        """Returns when it has ended by itself."""
        exit_code = int(run("wait", self.name).stdout)
        return Ended(exit_code, self.log)

    def stop(self, grace: int) -> Ended:
        """Ends it as the platform does: SIGTERM, and SIGKILL after so many seconds."""
        begin = time.monotonic()
        run("stop", "-t", str(grace), self.name)
        seconds = time.monotonic() - begin
        return Ended(int(self.inspect("{{.State.ExitCode}}")), self.log, seconds)

    def url(self, port: int) -> str:
        """Where one of its ports is found on this machine."""
        place = run("port", self.name, f"{port}/tcp").stdout.splitlines()[0]
        return f"http://{place}"


class Engine:
    """Starts containers of the image, and removes them and their networks at the end."""

    def __init__(self) -> None:
        self._containers: list[str] = []
        self._networks: list[str] = []

    def network(self) -> str:
        """A network on which containers find each other by name, and this machine their ports."""
        name = f"s2s-test-{uuid.uuid4().hex[:8]}"
        run("network", "create", name)
        self._networks.append(name)
        return name

    def start(
        self,
        command: Sequence[str],
        options: Sequence[str] = (),
        environment: Mapping[str, str] = {},
        network: str = "none",
    ) -> Container:
        """Starts a container in the background.

        Args:
            command: What is run in it: ``train`` or ``serve``.
            options: Of ``docker run``.
            environment: Of the container.
            network: One that was made here; by default there is none at all.
        """
        name = f"s2s-test-{uuid.uuid4().hex[:8]}"
        variables = [word for item in environment.items() for word in ("--env", "=".join(item))]
        run("run", "--detach", "--name", name, "--network", network, *options, *variables, IMAGE, *command)
        self._containers.append(name)
        return Container(name)

    def serve(self, network: str, options: Sequence[str] = (), **environment: str) -> tuple[Container, str]:
        """Starts an endpoint; returns it and its address on this machine."""
        port = int(environment.get("SAGEMAKER_BIND_TO_PORT", "8080"))
        published = ["--publish", f"127.0.0.1:0:{port}"]
        container = self.start(["serve"], [*options, *published], environment, network)
        return container, container.url(port)

    def clean_up(self) -> None:
        """Removes all that was started."""
        if self._containers:
            run("rm", "--force", "--volumes", *self._containers, check=False)
        if self._networks:
            run("network", "rm", *self._networks, check=False)


def ping(url: str) -> int:
    """The status of ``/ping``; 0 if nobody answers."""
    try:
        return requests.get(f"{url}/ping", timeout=10).status_code
    except requests.ConnectionError:
        return 0


def is_ready(url: str) -> Callable[[], bool]:
    """Whether an endpoint has loaded its model."""
    return lambda: ping(url) == 200


def invoke(url: str, body: bytes, content_type: str, **options: Any) -> requests.Response:
    """Sends a request to an endpoint."""
    headers = {"Content-Type": content_type, "Accept": content_type}
    return requests.post(f"{url}/invocations", data=body, headers=headers, timeout=70, **options)
