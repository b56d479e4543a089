"""`container.resources`."""

import json

import pytest

from container.resources import Resources, read_resources
from s2s_algo.errors import ClientError, PlatformError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "resourceconfig.json"


def test_without_the_file_this_machine_is_alone(path):
    assert read_resources(path) == Resources("algo-1", ("algo-1",))


@pytest.mark.parametrize("more", [{}, {"network_interface_name": "eth0", "instance_groups": [], "topology": None}])
def test_only_the_hosts_and_their_network_count(path, more):
    path.write_text(json.dumps({"current_host": "any-name", "hosts": ["any-name"], **more}))
    network_interface = more.get("network_interface_name", "")
    assert read_resources(path) == Resources("any-name", ("any-name",), network_interface)


@pytest.mark.parametrize("listed", [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a", "b"]])
def test_all_hosts_see_the_same_hosts_in_the_same_order_and_are_numbered_by_it(path, listed):
    for rank, host in enumerate("abc"):
        path.write_text(json.dumps({"current_host": host, "hosts": listed}))
        resources = read_resources(path)
        assert resources == Resources(host, ("a", "b", "c"))
        assert resources.rank == rank


def test_a_network_that_is_not_known_is_no_network(path):
    path.write_text(json.dumps({"current_host": "a", "hosts": ["a", "b"], "network_interface_name": None}))
    assert read_resources(path).network_interface == ""


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"current_host": "a"}',
        '{"current_host": "a", "hosts": []}',
        '{"current_host": "a", "hosts": "a"}',
        '{"current_host": "a", "hosts": {"a": 1}}',
        '{"current_host": "b", "hosts": ["a"]}',
        '{"current_host": 1, "hosts": [1]}',
        '{"current_host": ["a"], "hosts": ["a"]}',
        '{"current_host": "a", "hosts": ["a", 1]}',
        '{"current_host": "a", "hosts": ["a"], "network_interface_name": 5}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_named(path, content):
    path.write_text(content)
    with pytest.raises(ClientError) as caught:
        read_resources(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert 'such as {"current_host": "algo-1", "hosts": ["algo-1"]}' in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(path):
    path.mkdir()
    with pytest.raises(PlatformError, match=r"resourceconfig\.json: cannot be read \(Is a directory\)"):
        read_resources(path)
