"""How many connections a server process may have."""

from __future__ import annotations

import resource

# Each costs some kilobytes.
_MOST = 4096
# Open files of a process beside its connections.
_OTHER_FILES = 128


def most_connections(threads: int) -> int:
    """As many as the system lets a process have files, some thousands at most; raises the system's softer limit.

    Args:
        threads: That answer; connections beyond may be kept while nothing comes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = wanted if soft == resource.RLIM_INFINITY else soft
    return max(threads + 1, min(_MOST, files - _OTHER_FILES))
