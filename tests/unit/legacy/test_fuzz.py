"""Damaged and hostile models: an error of ours or a valid import, in bounded memory, and no file elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.legacy.writers import Folder, entry, pack, pack_entries, params_bytes

ROOT = Path(__file__).parents[3]
CASES = 500
SEED = 20171108


def fuzz(*arguments: object) -> dict[str, Any]:
    """What the other process says."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.unit.legacy.fuzz", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    # The whole process, libraries included, stays below a gigabyte.
    assert result["peak"] < 1024 * 1024
    return result


def test_damaged_models_are_refused_or_imported():
    result = fuzz(SEED, CASES)
    assert result["wrong"] == []
    assert result["outcomes"].keys() == {"refused", "imported"}
    assert sum(result["outcomes"].values()) == CASES
    assert result["outcomes"]["refused"] > CASES // 2
    assert result["outcomes"]["imported"] > CASES // 20
    assert result["peak"] - result["libraries"] < 64 * 1024


def large_folder(tmp_path: Path, entries: int, size: int) -> Path:
    """A consistent model whose source side is large, but costs little to send."""
    folder = Folder("cnn_cnn_glu_1.8.3")
    folder.config["config_encoder"].update(vocab_size=entries, num_embed=size)
    folder.arrays["source_embed_weight"] = np.zeros((entries, size), np.float32)
    folder.arrays["source_pos_embed_weight"] = np.zeros((12, size), np.float32)
    folder.arrays["encoder_cnn_i2h_weight"] = np.zeros((10, size), np.float32)
    specials = ("<pad>", "<unk>", "<s>", "</s>")
    folder.vocabularies["src"] = {specials[number] if number < 4 else f"w{number}": number for number in range(entries)}
    return folder.write(tmp_path / "large")


def large_archive(tmp_path: Path) -> Path:
    """100 MB of weights and all entries that are allowed, in less than 5 MB."""
    archive = pack(large_folder(tmp_path, 300_000, 80), tmp_path / "model.tar.gz")
    assert archive.stat().st_size < 5 << 20
    return archive


def archive_of_one_array(tmp_path: Path) -> Path:
    """As much as may be unpacked, in less than a megabyte."""
    golden = Folder("cnn_cnn_glu_1.8.3")
    weights = params_bytes({"source_embed_weight": np.zeros((30 << 20,), np.float32)})
    content = [("config", golden.config_text().encode()), ("version", b"1.8.3"), ("params.best", weights)]
    path = pack_entries(tmp_path / "model.tar.gz", [entry(name, data) for name, data in content])
    assert path.stat().st_size < 1 << 20
    return path


def folder_of_many_entries(tmp_path: Path) -> Path:
    """A vocabulary of millions."""
    folder = large_folder(tmp_path, 300_000, 80)
    with (folder / "vocab.src.json").open("w") as file:
        file.write("{" + ",".join(f'"{number:x}":{number}' for number in range(5_000_000)) + "}")
    return folder


def without_end(name: str) -> Callable[[Path], Path]:
    """A folder with a file of a terabyte, which takes no place on the disk."""

    def make(tmp_path: Path) -> Path:
        folder = Folder("cnn_cnn_glu_1.8.3").write(tmp_path / "model")
        with (folder / name).open("ab") as file:
            file.truncate(1 << 40)
        return folder

    return make


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "large archive": (large_archive, ""),
    "one array": (archive_of_one_array, "source_embed_weight is [31457280] instead of [34, 8]"),
    "many entries": (folder_of_many_entries, "more than the 300000 entries that the model knows"),
    "entries without weights": (
        lambda tmp_path: large_folder(tmp_path, 400_000, 1),
        "400000 entries are too many for so few weights",
    ),
    "config without end": (without_end("config"), "larger than 524288 bytes"),
    "vocabulary without end": (without_end("vocab.src.json"), "bytes, too many for the 34 entries"),
    "weights without end": (without_end("params.best"), "bytes left over after the last name"),
    "version without end": (without_end("version"), "is not a version"),
    "metrics without end": (without_end("metrics"), ""),
}


def test_hostile_models_take_bounded_memory_and_time(tmp_path):
    paths = []
    for name, (make, _) in HOSTILE.items():
        (tmp_path / name).mkdir()
        paths.append(make(tmp_path / name))
    results = fuzz(*paths)["results"]
    for (name, (_, told)), result in zip(HOSTILE.items(), results, strict=True):
        assert told in result["message"], name
        assert bool(told) == bool(result["message"]), name
        assert result["seconds"] < 20, name
