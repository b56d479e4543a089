"""Corpora that are kept: used when the channel is unchanged, and never otherwise."""

import json
import logging

import pytest

from s2s_algo.checkpoints.atomic import claimed
from s2s_algo.data.recordio import read_records, write_record
from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.training import corpus_cache
from s2s_algo.training.corpora import read_pairs
from s2s_algo.training.corpus_cache import stored_corpus
from s2s_algo.training.workers import Workers
from tests.tiny_job import SOURCE_VOCABULARY, TARGET_VOCABULARY, TRAIN, VALIDATION, write_channels
from tests.together import together

SIZES = (len(SOURCE_VOCABULARY), len(TARGET_VOCABULARY))


@pytest.fixture
def channel(tmp_path):
    return write_channels(tmp_path, TRAIN, VALIDATION).train


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "kept" / "corpora"


@pytest.fixture
def builds(monkeypatch):
    """The folders in which corpora are built."""
    folders = []

    def spy(channel, source_size, target_size, folder):
        folders.append(folder)
        return build(channel, source_size, target_size, folder)

    build = corpus_cache.build_corpus
    monkeypatch.setattr(corpus_cache, "build_corpus", spy)
    return folders


def pairs_of(corpus):
    return [(corpus.source[i].tolist(), corpus.target[i].tolist()) for i in range(len(corpus))]


def test_an_unchanged_channel_is_not_read_again(channel, cache, tmp_path, builds, caplog):
    caplog.set_level(logging.INFO)
    first = stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    assert len(builds) == 1
    # A new container gets new files of the same content.
    content = channel.files[0].read_bytes()
    channel.files[0].unlink()
    channel.files[0].write_bytes(content)
    again = stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    assert len(builds) == 1
    assert caplog.messages == [f"train channel: unchanged, its corpus is taken from {first.folder}"]
    assert (again.report, again.digest, again.folder) == (first.report, first.digest, first.folder)
    assert again.digest == again.corpus.digest()
    assert again.folder.parent == cache
    assert pairs_of(first.corpus) == pairs_of(again.corpus) == [(list(s), list(t)) for s, t in TRAIN]
    assert not (tmp_path / "scratch").exists()


def test_without_a_cache_everything_is_scratch(channel, tmp_path, builds):
    for _ in range(2):
        assert stored_corpus(channel, SIZES, tmp_path / "scratch", None).folder == tmp_path / "scratch"
    assert builds == [tmp_path / "scratch"] * 2


@pytest.mark.parametrize("change", ["a token", "the order", "another file", "the vocabulary"])
def test_another_channel_has_another_corpus(channel, cache, tmp_path, builds, change):
    first = stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    sizes, pairs = SIZES, list(TRAIN)
    if change == "a token":
        pairs[3] = (pairs[3][0], [*pairs[3][1][:-1], 4 + (pairs[3][1][-1] - 3) % 6])
    elif change == "the order":
        pairs.reverse()
    elif change == "another file":
        # The same records in all, cut into files elsewhere: the report tells of the files.
        with channel.files[0].open("rb") as stream:
            payloads = list(read_records(stream))
        files = [channel.files[0].with_name(name) for name in ("a.rec", "b.rec")]
        for file, part in zip(files, (payloads[:5], payloads[5:]), strict=True):
            with file.open("wb") as stream:
                for payload in part:
                    write_record(stream, payload)
        channel = type(channel)(channel.name, tuple(files))
    else:
        sizes = (SIZES[0] + 1, SIZES[1])
    if change in ("a token", "the order"):
        channel = write_channels(tmp_path, pairs, VALIDATION).train
    other = stored_corpus(channel, sizes, tmp_path / "scratch", cache)
    assert len(builds) == 2
    assert other.folder != first.folder
    assert pairs_of(other.corpus) == [(list(s), list(t)) for s, t in pairs]
    assert other.report.files == len(channel.files)


def test_ids_that_were_allowed_before_are_checked_again(channel, cache, tmp_path):
    stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    with pytest.raises(ClientError, match="source id 8 is outside the vocabulary: allowed are 1 to 4"):
        stored_corpus(channel, (5, SIZES[1]), tmp_path / "scratch", cache)
    assert len([folder for folder in cache.iterdir() if folder.is_dir()]) == 1


DAMAGES = {
    "a token that changed": lambda folder: flip(folder / "train.source.tokens"),
    "a file that is cut": lambda folder: (folder / "train.target.tokens").write_bytes(b""),
    "a file that is gone": lambda folder: (folder / "train.target.offsets").unlink(),
    "a file of zeros": lambda folder: (folder / "train.source.offsets").write_bytes(bytes(8 * 15)),
    "no summary": lambda folder: (folder / "corpus.json").unlink(),
    "half a summary": lambda folder: (folder / "corpus.json").write_text('{"report": '),
    "another summary": lambda folder: (folder / "corpus.json").write_text(json.dumps({"report": {}})),
}


def flip(file):
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_corpus_is_built_anew(channel, cache, tmp_path, builds, caplog, damage):
    folder = stored_corpus(channel, SIZES, tmp_path / "scratch", cache).folder
    damage(folder)
    mended = stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    assert len(builds) == 2
    assert pairs_of(mended.corpus) == [(list(s), list(t)) for s, t in TRAIN]
    (message,) = caplog.messages
    assert message.startswith(f"{folder} is damaged (")
    assert message.endswith("); it is built anew")
    stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    assert len(builds) == 2


def test_a_build_that_failed_leaves_nothing_to_be_found(channel, cache, tmp_path, builds, monkeypatch):
    real = corpus_cache.build_corpus

    def fail(*arguments):
        real(*arguments)
        raise PlatformError("no space left")

    monkeypatch.setattr(corpus_cache, "build_corpus", fail)
    with pytest.raises(PlatformError, match="no space left"):
        stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    assert not [folder for folder in cache.iterdir() if folder.is_dir()]


def test_what_a_killed_job_has_half_built_is_removed(channel, cache, tmp_path):
    left = cache / "train-0123.sagemaker-ignore"
    left.mkdir(parents=True)
    (left / "source.bin").write_bytes(b"half")
    stored = stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    assert [folder for folder in cache.iterdir() if folder.is_dir()] == [stored.folder]


def test_two_jobs_do_not_write_at_the_same_time(channel, cache, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    cache.mkdir(parents=True)
    with claimed(cache):
        stored = stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    assert stored.folder == tmp_path / "scratch"
    assert caplog.messages == [f"train channel: another job is writing to {cache}, which is not used"]


def test_a_job_does_without_a_cache_that_cannot_be_made(channel, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    stored = stored_corpus(channel, SIZES, tmp_path / "scratch", tmp_path / "file" / "corpora")
    assert stored.folder == tmp_path / "scratch"
    (message,) = caplog.messages
    assert message == (
        "train channel: its corpus cannot be kept in S2S_CACHE_DIR: [Errno 20] Not a directory: "
        f"'{tmp_path / 'file' / 'corpora'}'"
    )


def test_a_job_does_without_a_cache_that_is_full(channel, cache, tmp_path, monkeypatch, caplog):
    real = corpus_cache.build_corpus

    def fail(channel, source_size, target_size, folder):
        if folder.is_relative_to(cache):
            raise PlatformError("no space left", where=str(folder))
        return real(channel, source_size, target_size, folder)

    monkeypatch.setattr(corpus_cache, "build_corpus", fail)
    stored = stored_corpus(channel, SIZES, tmp_path / "scratch", cache)
    assert pairs_of(stored.corpus) == [(list(s), list(t)) for s, t in TRAIN]
    assert "its corpus cannot be kept in S2S_CACHE_DIR: " in caplog.text
    assert not [folder for folder in cache.iterdir() if folder.is_dir()]


def test_all_processes_of_a_machine_map_one_corpus(tmp_path, cache):
    def work(workers: Workers):
        channels = write_channels(tmp_path / str(workers.rank), TRAIN, VALIDATION)
        corpus, digest = read_pairs(
            channels.train, (SOURCE_VOCABULARY, TARGET_VOCABULARY), tmp_path / "scratch", cache, workers
        )
        return pairs_of(corpus), digest

    found = together(2, work)
    assert found[0] == found[1]
    assert found[0][0] == [(list(s), list(t)) for s, t in TRAIN]
    assert len([folder for folder in cache.iterdir() if folder.is_dir()]) == 1


def test_hosts_that_shall_have_the_same_records_but_have_not_are_told(tmp_path):
    def work(workers: Workers):
        channels = write_channels(tmp_path / str(workers.rank), TRAIN[workers.rank :], VALIDATION)
        scratch = tmp_path / str(workers.rank) / "scratch"
        try:
            read_pairs(channels.train, (SOURCE_VOCABULARY, TARGET_VOCABULARY), scratch, None, workers)
        except ClientError as error:
            return str(error)
        return "nothing is wrong"

    expected = (
        "train channel: its records are not the same on all hosts; give each host all files in the same order, or say "
        "S3DistributionType ShardedByS3Key if each shall have its own"
    )
    assert together(2, work, local_size=1) == [expected] * 2
