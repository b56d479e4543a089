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
def test_only_the_hosts_count(path, more):
    path.write_text(json.dumps({"current_host": "any-name", "hosts": ["any-name"], **more}))
    assert read_resources(path) == Resources("any-name", ("any-name",))


def test_several_hosts_are_refused_with_their_number(path):
    path.write_text(json.dumps({"current_host": "a", "hosts": ["a", "b", "c"]}))
    with pytest.raises(ClientError, match=r"resourceconfig\.json: the job has 3 hosts, .* Set the instance count to 1"):
        read_resources(path)


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
