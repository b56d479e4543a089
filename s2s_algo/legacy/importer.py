"""Imports a model of Sockeye 1, which may be the folder that it wrote or that folder in a ``model.tar.gz``.

====================================== =====================================================================
file                                   what is taken from it
====================================== =====================================================================
version                                the version; missing in 1.0
config                                 the architecture, facts about lengths
vocab.src.json, vocab.src.0.json       source vocabulary; the second name since 1.17
vocab.trg.json, vocab.trg.0.json       target vocabulary; the second name since 1.18
params.best                            the weights, a link or a file; without it the best of params.00001 …
metrics                                without params.best: which checkpoint was best
====================================== =====================================================================

Nothing is unpickled, and nothing is written beside the temporary folder for what an archive holds.
"""

from __future__ import annotations

import re
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from numpy.typing import NDArray

from s2s_algo.checkpoints.artifact import Artifact
from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.legacy import unsupported
from s2s_algo.legacy.archive import Archive, open_archive
from s2s_algo.legacy.mxnet_params import read_params
from s2s_algo.legacy.sockeye_config import SockeyeConfig, describe, read_config
from s2s_algo.legacy.sockeye_version import SockeyeVersion, determine_version
from s2s_algo.legacy.sockeye_weights import convert
from s2s_algo.model.seq2seq import Seq2Seq

CONFIG, VERSION, METRICS, BEST = "config", "version", "metrics", "params.best"
_VOCABULARIES = {"source": ("vocab.src.0.json", "vocab.src.json"), "target": ("vocab.trg.0.json", "vocab.trg.json")}
_PICKLES = {"source": "vocab.src", "target": "vocab.trg"}
_CHECKPOINT = re.compile(r"params\.(\d{1,10})", re.ASCII)

_LONGEST_VERSION = 100
_LARGEST_METRICS = 16 * 1024 * 1024

# A vocabulary takes some hundred bytes of memory per entry. The weights have a row for each entry, so that only a
# large model can have a large vocabulary.
_MOST_ENTRIES = 300_000
_WEIGHTS_PER_ENTRY = 256  # bytes
_LONGEST_ENTRY = 1024  # bytes, on average

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')

_GIVE_MODEL = (
    "Give the folder of a model that was trained with Sockeye 1, or a tar.gz of it; a model of s2s, which has a "
    "config.json, needs no import."
)


def is_sockeye_folder(folder: Path) -> bool:
    """Whether a folder looks like one that Sockeye 1 wrote."""
    return (folder / CONFIG).is_file()


def import_model(path: Path) -> Artifact:
    """Imports a model.

    Args:
        path: The model's folder or an archive; in either, the model may lie one folder deeper.

    Returns:
        The model with the search defaults of its version.

    Raises:
        ClientError: There is no such model, it has what models of ours do not have, or it is damaged.
        PlatformError: A file cannot be read, or an archive cannot be unpacked.
    """
    try:
        if path.is_dir():
            return _import_folder(find_folder(path))
        if not path.is_file():
            raise ClientError(f"there is no such folder or file. {_GIVE_MODEL}")
        with _unpacked(path) as folder:
            return _import_folder(folder)
    except ClientError as error:
        raise error.at(str(path)) from error.__cause__
    except OSError as error:
        raise PlatformError(f"cannot be read ({error.strerror or error})", where=str(path)) from error


def find_folder(path: Path) -> Path:
    """The model's folder: a folder itself or the only one in it that looks like one.

    Raises:
        ClientError: There is none or more than one.
    """
    if is_sockeye_folder(path):
        return path
    found = [child for child in sorted(path.iterdir()) if child.is_dir() and is_sockeye_folder(child)]
    return path / _only(child.name for child in found)


def _only(names: Collection[str] | Iterator[str]) -> str:
    """The one folder that holds a model."""
    found = list(names)
    if not found:
        raise ClientError(f"neither it nor a folder directly in it holds a file {CONFIG}. {_GIVE_MODEL}")
    if len(found) > 1:
        raise ClientError(f"holds several models, in {', '.join(found[:5])}. Give one of them.")
    return found[0]


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with those files of an archive that are needed."""
    with tempfile.TemporaryDirectory(prefix="s2s-import-") as temporary:
        folder = Path(temporary)
        with open_archive(path) as archive:
            _unpack(archive, folder)
        yield folder


def _unpack(archive: Archive, folder: Path) -> None:
    # One file named config at the top, or in one of the folders there.
    places = {entry.parent for entry in archive.entries if entry.name == CONFIG and len(entry.parts) <= 2}
    top = PurePosixPath()
    place = top if top in places else PurePosixPath(_only(str(place) for place in sorted(places)))
    files = archive.files(place)
    names = {VERSION, CONFIG, BEST, *_PICKLES.values(), *(name for pair in _VOCABULARIES.values() for name in pair)}
    if BEST not in files:
        if METRICS in files:
            archive.write(files[METRICS], folder / METRICS)
        names.add(_choose_checkpoint(files, folder / METRICS))
    wanted = sorted(names & files.keys(), key=lambda name: archive.position(files[name]))
    for name in wanted:
        archive.write(files[name], folder / name)


def _import_folder(folder: Path) -> Artifact:
    config = read_config(_regular(folder, CONFIG))
    found = unsupported.in_config(config)
    weights = _regular(folder, BEST if _exists(folder, BEST) else _best_checkpoint(folder))
    try:
        arrays = read_params(weights)
    except ClientError:
        # What can never be imported matters more than that this copy of it is damaged.
        unsupported.refuse(found, "Sockeye")
        raise
    version = determine_version(_version_text(folder), config, arrays)
    found = unsupported.merge(unsupported.in_config(config, version.numbers), unsupported.in_names(arrays))
    unsupported.refuse(found, str(version))
    return _build(folder, describe(config, version.numbers), version, arrays, weights)


def _build(
    folder: Path, config: SockeyeConfig, version: SockeyeVersion, arrays: dict[str, NDArray[Any]], weights: Path
) -> Artifact:
    try:
        model_config, tensors = convert(config, arrays)
    except ClientError as error:
        raise error.at(f"file {weights.name}") from error.__cause__
    arrays.clear()
    vocabularies = {}
    for side, embedding in (("source", model_config.source_embedding), ("target", model_config.target_embedding)):
        most = _MOST_ENTRIES + weights.stat().st_size // _WEIGHTS_PER_ENTRY
        vocabularies[side] = _vocabulary(folder, side, embedding.vocabulary_size, most)
    with torch.device("meta"):
        model = Seq2Seq(model_config)
    model.load_state_dict(tensors, assign=True)
    return Artifact(
        model=model.eval(),
        inference=config.inference,
        source_vocabulary=vocabularies["source"],
        target_vocabulary=vocabularies["target"],
        training={"imported_from": str(version), "parameters": weights.name},
    )


def _exists(folder: Path, name: str) -> bool:
    # A link that leads nowhere exists, too: params.best must not silently be another checkpoint.
    return (folder / name).exists() or (folder / name).is_symlink()


def _regular(folder: Path, name: str) -> Path:
    """A file that can be read to its end, which devices and pipes cannot."""
    path = folder / name
    if not path.exists():
        what = "leads nowhere; copy what it points to as well" if path.is_symlink() else "is missing"
        raise ClientError(f"{what}. {_GIVE_MODEL}", where=f"file {name}")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ClientError(f"is no regular file. {_GIVE_MODEL}", where=f"file {name}")
    return path


def _version_text(folder: Path) -> str | None:
    if not _exists(folder, VERSION):
        return None
    with _regular(folder, VERSION).open("rb") as file:
        return file.read(_LONGEST_VERSION).decode("utf-8", errors="replace")


def _best_checkpoint(folder: Path) -> str:
    return _choose_checkpoint({child.name: child for child in folder.iterdir()}, folder / METRICS)


def _choose_checkpoint(names: Mapping[str, object], metrics: Path) -> str:
    """The checkpoint of the lowest perplexity, as the original would choose by default, or else the last."""
    numbers = {int(found[1]): name for name in names if (found := _CHECKPOINT.fullmatch(name))}
    if not numbers:
        raise ClientError(f"neither {BEST} nor parameters of a checkpoint are there. {_GIVE_MODEL}")
    perplexities = {number: value for number, value in _perplexities(metrics) if number in numbers}
    best = min(perplexities, key=lambda number: perplexities[number]) if perplexities else max(numbers)
    return numbers[best]


def _perplexities(metrics: Path) -> Iterator[tuple[int, float]]:
    """Of the checkpoints: lines of a number and, behind tabs, values such as ``perplexity-val=12.5``."""
    if not metrics.is_file() or metrics.stat().st_size > _LARGEST_METRICS:
        return
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := re.match(r"([0-9]{1,10})\t(?:.*\t)?perplexity-val=([0-9.]{1,40})(?:\t|$)", line):
            try:
                yield int(found[1]), float(found[2])
            except ValueError:
                continue


def _vocabulary(folder: Path, side: str, size: int, most: int) -> Vocabulary:
    name = next((name for name in _VOCABULARIES[side] if _exists(folder, name)), None)
    if name is None:
        if _exists(folder, _PICKLES[side]):
            raise ClientError(
                "is a pickle, which could run any code, and is not read. Convert it where you trust it: python -c "
                f"\"import json, pickle; json.dump(pickle.load(open('{_PICKLES[side]}', 'rb')), "
                f"open('{_PICKLES[side]}.json', 'w'))\"",
                where=f"file {_PICKLES[side]}",
            )
        raise ClientError(
            f"is missing. Copy it from where the model was trained; 1.18 calls it {_VOCABULARIES[side][0]}.",
            where=f"file {_VOCABULARIES[side][1]}",
        )
    path = _regular(folder, name)
    if size > most:
        raise ClientError(f"{size} entries are too many for so few weights.", where=f"file {name}")
    _check_size(path, size)
    vocabulary = Vocabulary.load(path)
    if len(vocabulary) != size:
        raise ClientError(
            f"{len(vocabulary)} entries, but the model knows {size}. Keep the files of one training job together.",
            where=f"file {name}",
        )
    return vocabulary


def _check_size(path: Path, entries: int) -> None:
    """Before memory is taken for its entries: a vocabulary has no more of them than the model."""
    most = _LONGEST_ENTRY * (entries + 4)
    if path.stat().st_size > most:
        raise ClientError(
            f"more than {most} bytes, too many for the {entries} entries that the model knows. "
            "Keep the files of one training job together.",
            where=f"file {path.name}",
        )
    strings = _STRING.finditer(path.read_bytes())
    if any(number > entries for number, _ in enumerate(strings, start=1)):
        raise ClientError(
            f"more than the {entries} entries that the model knows. Keep the files of one training job together.",
            where=f"file {path.name}",
        )
