"""The hosts of a job, from resourceconfig.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s2s_algo.errors import ClientError
from s2s_algo.json_file import read_json_object


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
    form = 'it must be an object with a name and names, such as {"current_host": "algo-1", "hosts": ["algo-1"]}'
    values = read_json_object(path, form)
    if values is None:
        return Resources("algo-1", ("algo-1",))
    current, hosts = values.get("current_host"), values.get("hosts")
    if not isinstance(hosts, list) or current not in hosts or not all(isinstance(host, str) for host in hosts):
        raise ClientError(f"current_host is not one of hosts; {form}", where=str(path))
    if len(hosts) > 1:
        raise ClientError(
            f"the job has {len(hosts)} hosts, but this version trains on one. Set the instance count to 1.",
            where=str(path),
        )
    return Resources(str(current), tuple(hosts))
