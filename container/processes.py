"""How many processes serve, if nobody says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from s2s_algo.machine import available_cores, available_memory
from serve.model_memory import PROCESS_BYTES, has_gpu

# Of the memory of the container; the rest is for requests.
_SHARE = 0.5
# Bytes that a process needs for each byte of the model's files, at most: while weights of another engine are converted.
_PER_FILE_BYTE = 4


def serving_processes(model: Path, *, multi_model: bool, environment: Mapping[str, str] = os.environ) -> int:
    """As many as there are cores and as memory allows: they serve more than as many threads of one process.

    On a GPU there is one, which fills its batches with everybody's sentences, and on a multi-model endpoint as well,
    where each would need every model.

    Args:
        model: The folder of the model.
        multi_model: Whether the server is for a multi-model endpoint.
        environment: May say how many threads compute in each process.
    """
    if multi_model or has_gpu():
        return 1
    weights = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    affordable = int(_SHARE * available_memory()) // (PROCESS_BYTES + _PER_FILE_BYTE * weights)
    threads = environment.get("OMP_NUM_THREADS", "")
    return max(1, min(available_cores() // max(1, int(threads) if threads.isdecimal() else 1), affordable))
