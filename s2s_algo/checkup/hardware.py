"""Processors and memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s2s_algo.checkup.finding import GIBIBYTE, MEBIBYTE, Finding, in_words
from s2s_algo.machine import available_cores, available_memory

_LITTLE_MEMORY = 2 * GIBIBYTE
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (looked at, not written)
# What a container engine gives if nobody asks for more.
_LITTLE_SHARED_MEMORY = 64 * MEBIBYTE


def look_at_hardware() -> Iterator[Finding]:
    """Everything, torch included, for it is who computes."""
    yield look_at_cores(available_cores(), os.environ)
    yield look_at_memory(available_memory())
    yield look_at_shared_memory(_SHARED_MEMORY)
    try:
        import torch
    except (ImportError, OSError) as error:  # the latter: a library of its own is missing
        advice = "Install it: pip install torch, from the index of CPU or CUDA builds that fits this machine."
        yield Finding("torch", f"cannot be loaded: {' '.join(str(error).split())[:80]}", "problem", advice)
        return
    yield Finding("torch", torch.__version__)
    yield look_at_cpu(torch)
    yield from look_at_gpus(torch, Path("/dev"))


def look_at_cores(cores: int, environment: Mapping[str, str]) -> Finding:
    """The cores that this container may use, and the threads that will."""
    machine = os.cpu_count() or cores
    found = f"{cores} of {machine}" if cores < machine else str(cores)
    threads = environment.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads) > cores:
        return Finding(
            "cores",
            f"{found}, OMP_NUM_THREADS is {threads}",
            "note",
            f"Unset OMP_NUM_THREADS or set it to {cores}: more threads than cores are many times slower.",
        )
    return Finding("cores", found)


def look_at_memory(size: int) -> Finding:
    """What this container may take."""
    if size < _LITTLE_MEMORY:
        advice = "Small models alone will do: `s2s describe model` tells what one needs."
        return Finding("memory", in_words(size), "note", advice)
    return Finding("memory", in_words(size))


def look_at_shared_memory(folder: Path) -> Finding:
    """What processes of one machine hand on to each other through files in memory."""
    topic = "shared memory"
    if not os.access(folder, os.W_OK):
        advice = f"Mount a writable tmpfs at {folder}; several processes on GPUs need it."
        return Finding(topic, f"{folder} is missing or not writable", "note", advice)
    usage = shutil.disk_usage(folder)
    found = f"{in_words(usage.free)} free of {in_words(usage.total)}"
    if usage.free <= _LITTLE_SHARED_MEMORY:
        advice = "With several GPUs start the container with --shm-size=1g; otherwise it is enough."
        return Finding(topic, found, "note", advice)
    return Finding(topic, found)


def look_at_cpu(torch: Any) -> Finding:
    """What makes products fast on a CPU.

    Args:
        torch: The module.
    """
    topic, found = "CPU features", str(torch.backends.cpu.get_cpu_capability())
    if not torch.backends.mkldnn.is_available():
        advice = "Use a build of torch with oneDNN: without it a CPU is several times slower, and has no bfloat16."
        return Finding(topic, f"{found}, no oneDNN", "note", advice)
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        advice = "Leave precision at float32 or, for decoding, int8: this CPU has no instructions for bfloat16."
        return Finding(topic, f"{found}, oneDNN, no bfloat16", "note", advice)
    return Finding(topic, f"{found}, oneDNN, bfloat16")


def look_at_gpus(torch: Any, devices: Path) -> Iterator[Finding]:
    """The GPUs that torch can use, and those that it cannot.

    Args:
        torch: The module.
        devices: Where the system shows what it has.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        properties = torch.cuda.get_device_properties(number)
        yield Finding(f"GPU {number}", f"{properties.name}, {in_words(int(properties.total_memory))}")
    if count:
        return
    if any(devices.glob("nvidia[0-9]*")):
        what = "does not work with its driver" if torch.version.cuda else "is built for CPUs"
        advice = "Install the build of torch for CUDA that fits the driver, or use the image s2s:cuda."
        yield Finding("GPU", f"there is one, but torch {what}", "problem", advice)
    else:
        yield Finding("GPU", "none; training and serving use the CPU")
