"""The hosts of a job, from resourceconfig.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from s2s_algo.errors import ClientError


@dataclass(frozen=True, slots=True)
class Resources:
    """Who takes part.

    Attributes:
        current_host: Name of this machine.
        hosts: Names of all machines.
    """

    current_host: str
    hosts: tuple[str, ...]


def read_resources(path: Path) -> Resources:
    """Reads resourceconfig.json; without the file this machine is alone.

    Raises:
        ClientError: The file is damaged, or the job has several hosts.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        current, hosts = values["current_host"], values["hosts"]
        if not isinstance(current, str) or current not in hosts or not all(isinstance(host, str) for host in hosts):
            raise ValueError("current_host is not one of hosts")
    except FileNotFoundError:
        return Resources("algo-1", ("algo-1",))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ClientError(
            f"not readable ({type(error).__name__}: {error}). It must be a JSON object with current_host and hosts.",
            where=str(path),
        ) from error
    if len(hosts) > 1:
        raise ClientError(
            f"the job has {len(hosts)} hosts, but this version trains on one. Set the instance count to 1.",
            where=str(path),
        )
    return Resources(current, tuple(hosts))
