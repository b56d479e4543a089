import resource

import pytest

from serve.connections import most_connections


@pytest.fixture
def limits(monkeypatch):
    changed = []

    def have(soft, hard):
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, values: changed.append(values))
        return changed

    return have


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "most"),
    [
        (1024, 1_048_576, (4224, 1_048_576), 4096),
        (1024, 2048, (2048, 2048), 1920),
        (1024, resource.RLIM_INFINITY, (4224, resource.RLIM_INFINITY), 4096),
        (65_536, 65_536, None, 4096),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 4096),
        (200, 200, (200, 200), 129),
    ],
)
def test_as_many_connections_as_files_are_allowed(limits, soft, hard, raised, most):
    changed = limits(soft, hard)
    assert most_connections(threads=128) == most
    assert changed == ([] if raised is None else [raised])
