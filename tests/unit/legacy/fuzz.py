"""Imports hostile models in a process of its own with bounded memory, and prints what came of it as a JSON object.

* ``python -m tests.unit.legacy.fuzz SEED CASES`` damages golden models.
* ``python -m tests.unit.legacy.fuzz PATH ...`` imports models.

Memory is given in KiB, at its peak, and after all libraries were loaded.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import torch

from s2s_algo.checkpoints.artifact import load_artifact, save_artifact
from s2s_algo.errors import ClientError
from s2s_algo.legacy.importer import import_model
from tests.unit.legacy.writers import MODELS, golden_copy, pack

MEMORY = 1 << 30

BASES = (
    "rnn_rnn_lstm_mlp_1.8.3",
    "rnn_rnn_gru_bilinear_avg_1.10.5",
    "cnn_cnn_glu_1.8.3",
    "cnn_cnn_relu_1.13.0",
    "rnn_rnn_lstm_upper_1.18.1",
    "cnn_cnn_glu_1.18.28",
)
TARGETS = ("params", "params", "config", "config", "vocab.src", "vocab.trg", "version", "tar", "tar.gz")
WORDS = (
    *(b"0", b"-1", b"99999999999999999999", b"1e400", b".nan", b"null", b"true\n", b"[]", b"{}", b"&a", b"*a\n"),
    *(b"!!python/object/apply:os.abort []", b"!!python/name:os.abort", b"'", b'"', b"\xff", b"[[[[", b"\n- "),
)
LIES = (0, 1, 0x7F, 0xFF, 0x7FFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)


def flip(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Changes some bytes."""
    for _count in range(rng.choice((1, 1, 2, 5, 50))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Cuts the end off."""
    del data[rng.randrange(len(data)) :]


def lie(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Overwrites what may be a length, often one of those at the beginning."""
    for _count in range(rng.choice((1, 1, 2))):
        size = rng.choice((4, 8))
        last = max(1, len(data) - size)
        at = rng.randrange(min(last, rng.choice((64, 512, last))))
        data[at : at + size] = struct.pack("<Q", rng.choice(LIES))[:size]


def splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    """Puts a piece of another file, or of the same, over or between its bytes."""
    source = rng.choice((other, bytes(data)))
    start = rng.randrange(len(source))
    piece = source[start : start + rng.choice((1, 8, 64, 1024, 100_000))]
    at = rng.randrange(len(data))
    data[at : at + rng.choice((0, len(piece)))] = piece


def words(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Replaces a number or a word of a text."""
    tokens = data.split(b" ")
    tokens[rng.randrange(len(tokens))] = rng.choice(WORDS)
    data[:] = b" ".join(tokens)


MUTATIONS = (flip, flip, truncate, lie, lie, splice, words)


def damage(path: Path, rng: random.Random, other: bytes, lowest: int = 0) -> None:
    """Damages a file, ``lowest`` bytes at the beginning excepted."""
    content = path.read_bytes()
    data = bytearray(content[lowest:] or b"\0")
    rng.choice(MUTATIONS)(data, rng, other or b"\0")
    path.write_bytes(content[:lowest] + data)


def make_case(sandbox: Path, rng: random.Random) -> Path:
    """A damaged folder or archive."""
    base, target = rng.choice(BASES), rng.choice(TARGETS)
    folder = golden_copy(base, sandbox / "in" / "model")
    others = sorted((MODELS / rng.choice(BASES)).iterdir())
    other = rng.choice([path for path in others if path.suffix != ".npz"]).read_bytes()
    if target in ("tar", "tar.gz"):
        archive = pack(folder, sandbox / "in" / "model.tar.gz", rng.choice(("", "model/")))
        shutil.rmtree(folder)
        if target == "tar":
            inner = sandbox / "in" / "inner"
            inner.write_bytes(gzip.decompress(archive.read_bytes()))
            damage(inner, rng, other)
            archive.write_bytes(gzip.compress(inner.read_bytes(), 1))
            inner.unlink()
        else:
            damage(archive, rng, other)
        return archive
    names = {path.name: path for path in folder.iterdir()}
    damage(next(path for name, path in names.items() if name.startswith(target)), rng, other)
    return rng.choice((folder, folder.parent))


def snapshot(sandbox: Path) -> dict[str, bytes | None]:
    """All files but those of the output."""
    found = [path for path in sandbox.rglob("*") if (sandbox / "out") not in (path, *path.parents)]
    return {str(path): path.read_bytes() if path.is_file() else None for path in found}


def run(seed: int, cases: int, sandbox: Path) -> dict[str, object]:
    """Runs the cases."""
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    slowest = 0.0
    for number in range(cases):
        rng = random.Random(f"{seed} {number}")
        path = make_case(sandbox, rng)
        before, begin = snapshot(sandbox), time.process_time()
        try:
            artifact = import_model(path)
            save_artifact(artifact, sandbox / "out")
            load_artifact(sandbox / "out")
            outcomes["imported"] += 1
        except ClientError as error:
            outcomes["refused"] += 1
            if len(str(error)) > 2000 or "\n" in str(error):
                wrong.append(f"case {number}: message {str(error)[:300]!r}")
        except BaseException:
            outcomes["crashed"] += 1
            wrong.append(f"case {number}: {traceback.format_exc()}")
        slowest = max(slowest, time.process_time() - begin)
        if snapshot(sandbox) != before:
            wrong.append(f"case {number}: files were written outside of the output")
        shutil.rmtree(sandbox / "in")
        shutil.rmtree(sandbox / "out", ignore_errors=True)
    return {"outcomes": outcomes, "wrong": wrong[:5], "slowest_s": round(slowest, 2)}


def address_space() -> int:
    """Bytes that are mapped now."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def peak_memory() -> int:
    """KiB of this program alone: getrusage would count what the process was before it became this program."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


def main() -> None:
    """Reads the arguments, bounds the memory and prints the result."""
    torch.set_num_threads(1)
    given = sys.argv[1:]
    is_seed = given[0].isdecimal()
    paths = [Path(argument).absolute() for argument in given]
    with tempfile.TemporaryDirectory() as folder:
        sandbox = Path(folder)
        (sandbox / "tmp").mkdir()
        tempfile.tempdir = str(sandbox / "tmp")
        os.chdir(sandbox)
        # What is loaded late is no memory of a case's.
        run(0, 12, sandbox)
        bound = address_space() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        libraries = peak_memory()
        result = run(*map(int, given), sandbox) if is_seed else import_all(paths, sandbox)
        peak = peak_memory()
    print(json.dumps({**result, "libraries": libraries, "peak": peak}))


def import_all(paths: list[Path], sandbox: Path) -> dict[str, object]:
    """Imports models; a message is "" where it succeeds."""
    results = []
    for path in paths:
        begin, message = time.process_time(), ""
        try:
            save_artifact(import_model(path), sandbox / "out")
        except ClientError as error:
            message = str(error)
        results.append({"message": message, "seconds": time.process_time() - begin})
        shutil.rmtree(sandbox / "out", ignore_errors=True)
    return {"results": results}


if __name__ == "__main__":
    main()
