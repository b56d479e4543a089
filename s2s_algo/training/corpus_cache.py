"""Corpora that outlive a job: a later one whose channel holds the same records need not parse them again.

A corpus is found by the content of the channel's files, and used only if its own digest is the one it had when it was
built.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from s2s_algo.checkpoints.atomic import TEMPORARY_SUFFIX, FolderInUseError, claimed, new_folder
from s2s_algo.data.channels import RecordChannel
from s2s_algo.data.corpus import Corpus, CorpusReport, build_corpus, open_corpus
from s2s_algo.errors import PlatformError

logger = logging.getLogger(__name__)

_FORMAT = 1  # of the files of a corpus; another one does not find those of this one
_SUMMARY_FILE = "corpus.json"


@dataclass(frozen=True, slots=True)
class StoredCorpus:
    """The pairs of a channel on disk.

    Attributes:
        corpus: All pairs, mapped.
        report: What was read.
        digest: Of the corpus.
        folder: Where it lies.
    """

    corpus: Corpus
    report: CorpusReport
    digest: str
    folder: Path


def stored_corpus(channel: RecordChannel, sizes: tuple[int, int], scratch: Path, cache: Path | None) -> StoredCorpus:
    """Builds the corpus of a channel, or finds it in the cache.

    Args:
        channel: The files to read.
        sizes: Of the source and the target vocabulary.
        scratch: Where the corpus is put without a cache, and where nothing can be written to the cache.
        cache: The folder of corpora that are kept, made if it does not exist.

    Raises:
        ClientError: The records are wrong.
        PlatformError: The disk refuses.
    """
    if cache is None:
        return _build(channel, sizes, scratch)
    place = cache / f"{channel.name}-{_key(channel, sizes)}"
    if found := _find(place, channel):
        logger.info("%s channel: unchanged, its corpus is taken from %s", channel.name, place)
        return found
    try:
        return _keep(channel, sizes, place)
    except FolderInUseError:
        logger.info("%s channel: another job is writing to %s, which is not used", channel.name, cache)
    except (OSError, PlatformError) as error:
        # A job can do without it.
        logger.warning("%s channel: its corpus cannot be kept in S2S_CACHE_DIR: %s", channel.name, error)
    return _build(channel, sizes, scratch)


def _keep(channel: RecordChannel, sizes: tuple[int, int], place: Path) -> StoredCorpus:
    """Builds a corpus in the cache."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with claimed(place.parent), new_folder(place) as folder:
        _remove_half_built(place.parent, but=folder)
        built = _build(channel, sizes, folder)
        summary = {"report": dataclasses.asdict(built.report), "digest": built.digest}
        (folder / _SUMMARY_FILE).write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return dataclasses.replace(built, folder=place)


def _remove_half_built(cache: Path, but: Path) -> None:
    """Removes what jobs that were killed have left; whoever has claimed the cache is the only one to build in it."""
    for folder in cache.glob(f"*{TEMPORARY_SUFFIX}/"):
        if folder != but:
            shutil.rmtree(folder, ignore_errors=True)


def _build(channel: RecordChannel, sizes: tuple[int, int], folder: Path) -> StoredCorpus:
    corpus, report = build_corpus(channel, *sizes, folder)
    return StoredCorpus(corpus, report, corpus.digest(), folder)


def _key(channel: RecordChannel, sizes: tuple[int, int]) -> str:
    """Names what a corpus follows from; ids are checked against the sizes."""
    contents = []
    for file in channel.files:
        try:
            with file.open("rb") as stream:
                contents.append(hashlib.file_digest(stream, "sha256").hexdigest())
        except OSError as error:
            place = channel.describe(file)
            raise PlatformError(f"the file cannot be read: {error.strerror}", where=place) from error
    return hashlib.sha256(json.dumps([_FORMAT, sizes, contents]).encode()).hexdigest()[:32]


def _find(place: Path, channel: RecordChannel) -> StoredCorpus | None:
    if not place.is_dir():
        return None
    try:
        summary = json.loads((place / _SUMMARY_FILE).read_text(encoding="utf-8"))
        corpus = open_corpus(place, channel.name)
        if corpus.digest() == summary["digest"]:
            return StoredCorpus(corpus, CorpusReport(**summary["report"]), summary["digest"], place)
        problem = "its digest has changed"
    except (OSError, ValueError, TypeError, KeyError) as error:
        problem = f"{type(error).__name__}: {error}"
    logger.warning("%s is damaged (%s); it is built anew", place, problem)
    return None
