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
        hosts: Names of all machines, equal on all of them.
        network_interface: Through which they reach each other; "" if the platform does not say.
    """

    current_host: str
    hosts: tuple[str, ...]
    network_interface: str = ""

    @property
    def rank(self) -> int:
        """Number of this machine; the first one leads."""
        return self.hosts.index(self.current_host)


def read_resources(path: Path) -> Resources:
    """Reads resourceconfig.json; without the file this machine is alone.

    Raises:
        ClientError: The file is damaged.
    """
    form = 'it must be an object with a name and names, such as {"current_host": "algo-1", "hosts": ["algo-1"]}'
    values = read_json_object(path, form)
    if values is None:
        return Resources("algo-1", ("algo-1",))
    current, hosts = values.get("current_host"), values.get("hosts")
    if not isinstance(hosts, list) or current not in hosts or not all(isinstance(host, str) for host in hosts):
        raise ClientError(f"current_host is not one of hosts; {form}", where=str(path))
    interface = values.get("network_interface_name") or ""
    if not isinstance(interface, str):
        raise ClientError(f"network_interface_name is not a name; {form}", where=str(path))
    return Resources(str(current), tuple(sorted(set(hosts))), interface)
