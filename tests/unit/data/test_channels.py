"""From the channel configuration and the data folder to files."""

import json
import os
import socket
import tempfile
from pathlib import Path

import pytest

from s2s_algo.data.channels import Channels, RecordChannel, VocabularyFiles, read_channels
from s2s_algo.errors import ClientError

FILE = {"TrainingInputMode": "File"}
CONFIG = {"train": FILE, "validation": FILE, "vocab": FILE}


@pytest.fixture
def job(tmp_path):
    """A folder as a training job finds it: ``inputdataconfig.json`` and ``data``."""
    for name in ("train/train.rec", "validation/val.rec", "vocab/vocab.src.json", "vocab/vocab.trg.json"):
        put(tmp_path / "data" / name)
    configure(tmp_path, CONFIG)
    return tmp_path


def put(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def configure(job, config):
    (job / "inputdataconfig.json").write_text(config if isinstance(config, str) else json.dumps(config))


def read(job):
    return read_channels(job / "inputdataconfig.json", job / "data")


def train_files(job):
    return [path.relative_to(job / "data/train").as_posix() for path in read(job).train.files]


def failure(job):
    with pytest.raises(ClientError) as error:
        read(job)
    return str(error.value)


def test_the_three_channels_are_found(job):
    data = job / "data"
    assert read(job) == Channels(
        RecordChannel("train", (data / "train/train.rec",), "FullyReplicated"),
        RecordChannel("validation", (data / "validation/val.rec",), "FullyReplicated"),
        VocabularyFiles(
            data / "vocab/vocab.src.json",
            data / "vocab/vocab.trg.json",
            data / "vocab/spm.src.model",
            data / "vocab/spm.trg.model",
        ),
    )


def test_without_a_configuration_the_folders_are_the_channels(job):
    (job / "inputdataconfig.json").unlink()
    put(job / "data/lost+found/x")
    assert train_files(job) == ["train.rec"]


def test_all_settings_are_optional(job):
    configure(job, {"train": {}, "validation": {"ContentType": None}, "vocab": {}})
    assert read(job).train.distribution == "FullyReplicated"


def test_the_distribution_is_reported(job):
    configure(job, CONFIG | {"train": FILE | {"S3DistributionType": "ShardedByS3Key"}})
    channels = read(job)
    assert (channels.train.distribution, channels.validation.distribution) == ("ShardedByS3Key", "FullyReplicated")


def test_an_unknown_distribution_is_refused(job):
    configure(job, CONFIG | {"train": {"S3DistributionType": "Sharded"}})
    expected = "train channel: S3DistributionType 'Sharded' is not FullyReplicated or ShardedByS3Key"
    assert failure(job) == expected


def test_fast_file_works_as_file(job):
    configure(job, {name: {"TrainingInputMode": "FastFile"} for name in CONFIG})
    assert train_files(job) == ["train.rec"]


@pytest.mark.parametrize("name", ["train", "validation", "vocab"])
def test_pipe_mode_names_the_channel_and_the_modes_to_use(job, name):
    configure(job, CONFIG | {name: {"TrainingInputMode": "Pipe"}})
    assert failure(job) == f"{name} channel: input mode Pipe is not supported; use File or FastFile"


@pytest.mark.parametrize("pipe", ["train_0", "train"])
def test_a_channel_that_is_a_pipe_is_pipe_mode(job, pipe):
    (job / "data/train").rename(job / "data/elsewhere")
    os.mkfifo(job / "data" / pipe)
    configure(job, {})
    assert failure(job) == "train channel: input mode Pipe is not supported; use File or FastFile"


def test_a_pipe_among_the_files_is_refused_without_waiting_for_it(job):
    os.mkfifo(job / "data/train/more.rec")
    assert failure(job) == "train channel: more.rec is a pipe, which is not supported; use File or FastFile"


def test_an_unknown_mode_is_refused(job):
    configure(job, CONFIG | {"train": {"TrainingInputMode": "Stream"}})
    assert failure(job) == "train channel: input mode 'Stream' is not known; use File or FastFile"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-recordio-protobuf",
        "application/x-recordio-protobuf; version=1.0",
        "application/x-recordio",
        "application/octet-stream",
        "",
        "x",
    ],
)
def test_content_types_that_may_be_records_pass(job, content_type):
    configure(job, CONFIG | {"train": FILE | {"ContentType": content_type}})
    assert train_files(job) == ["train.rec"]


@pytest.mark.parametrize("content_type", ["text/csv", "Text/CSV; charset=utf-8", "application/json", "image/png"])
def test_content_types_that_cannot_be_records_are_refused(job, content_type):
    configure(job, CONFIG | {"train": FILE | {"ContentType": content_type}})
    assert failure(job) == (
        f"train channel: content type '{content_type}' cannot hold token pairs; "
        "send records as application/x-recordio-protobuf, or no content type at all"
    )


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/csv"])
def test_the_vocab_channel_may_have_any_content_type(job, content_type):
    configure(job, CONFIG | {"vocab": FILE | {"ContentType": content_type}})
    assert read(job).vocab.source.name == "vocab.src.json"


def test_an_unknown_channel_is_refused_with_the_nearest_name(job):
    configure(job, CONFIG | {"valid": FILE})
    assert failure(job) == (
        "'valid' is not a channel of this algorithm; "
        "it reads train, validation, vocab, model, did you mean 'validation'?"
    )


@pytest.mark.parametrize("config", ["{", "", "[" * 100_000])
def test_a_broken_configuration_is_refused(job, config):
    configure(job, config)
    assert failure(job).startswith(f"{job / 'inputdataconfig.json'}: ")
    assert failure(job).endswith("; it must be an object of channels")


@pytest.mark.parametrize("config", ["[]", "null", '"x"'])
def test_a_configuration_that_is_no_object_is_refused(job, config):
    configure(job, config)
    assert "it must be an object of channels" in failure(job)


def test_settings_that_are_no_object_are_refused(job):
    configure(job, CONFIG | {"train": "File"})
    assert failure(job) == "train channel: inputdataconfig.json must hold an object of settings for it"


@pytest.mark.parametrize("setting", ["TrainingInputMode", "S3DistributionType"])
@pytest.mark.parametrize("value", [5, ["File"], {"a": 1}, True])
def test_settings_of_a_wrong_type_are_refused(job, setting, value):
    configure(job, CONFIG | {"train": {setting: value}})
    assert failure(job).startswith("train channel: ")


def test_several_files_are_sorted_over_all_folders(job):
    for name in ("b.rec", "a/z.rec", "c/d/a.rec", "a.rec"):
        put(job / "data/train" / name)
    assert train_files(job) == ["a.rec", "a/z.rec", "b.rec", "c/d/a.rec", "train.rec"]


def test_other_files_beside_records_are_ignored(job):
    put(job / "data/train/README.md")
    assert train_files(job) == ["train.rec"]


def test_without_any_rec_file_all_files_are_read(job):
    (job / "data/train/train.rec").unlink()
    put(job / "data/train/part-1")
    put(job / "data/train/part-0.pb")
    assert train_files(job) == ["part-0.pb", "part-1"]


def test_hidden_files_and_folders_are_ignored(job):
    put(job / "data/train/.hidden.rec")
    put(job / "data/train/.git/x.rec")
    assert train_files(job) == ["train.rec"]


def test_links_to_files_are_followed(job):
    put(job / "elsewhere.bin")
    (job / "data/train/linked.rec").symlink_to(job / "elsewhere.bin")
    assert train_files(job) == ["linked.rec", "train.rec"]


def test_a_link_to_nowhere_is_not_lost_silently(job):
    (job / "data/train/linked.rec").symlink_to(job / "nowhere")
    message = failure(job)
    assert message.startswith("train channel: cannot read ")
    assert message.endswith("linked.rec: No such file or directory")


def test_sockets_are_ignored(job):
    with socket.socket(socket.AF_UNIX) as unix, tempfile.TemporaryDirectory() as folder:  # the path must be short
        unix.bind(f"{folder}/s.rec")
        (job / "data/train/s.rec").symlink_to(f"{folder}/s.rec")
        assert train_files(job) == ["train.rec"]


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_missing_channel_is_named(job, name):
    (job / "data" / name).rename(job / "elsewhere")
    folder = job / "data" / name
    assert failure(job) == f"{name} channel: missing, there is no folder {folder}; pass the channel with its records"


def test_a_channel_without_files_is_empty(job):
    (job / "data/train/train.rec").unlink()
    assert failure(job) == ("train channel: no data, there are no files in it; it must hold RecordIO-protobuf files")


def test_a_channel_of_empty_files_is_empty(job):
    put(job / "data/train/train.rec", b"")
    assert failure(job) == "train channel: no data, all its files are empty; it must hold RecordIO-protobuf files"


@pytest.mark.parametrize("missing", [["vocab.src.json"], ["vocab.src.json", "vocab.trg.json"]])
def test_missing_vocabulary_files_are_named(job, missing):
    for name in missing:
        (job / "data/vocab" / name).unlink()
    assert failure(job).startswith(
        f"Vocab files are not present in the input directory: {' and '.join(missing)} missing in {job / 'data/vocab'}"
    )


def test_all_problems_are_told_at_once(job):
    (job / "data/vocab/vocab.trg.json").unlink()
    (job / "data/validation/val.rec").unlink()
    configure(job, {"train": {"TrainingInputMode": "Pipe", "ContentType": "text/csv"}, "test": FILE})
    lines = failure(job).split("\n")
    assert [line.split(":")[0] for line in lines] == [
        "'test' is not a channel of this algorithm; it reads train, validation, vocab, model",
        "train channel",
        "train channel",
        "validation channel",
        "Vocab files are not present in the input directory",
    ]


def test_a_file_is_described_by_its_path_below_the_channel():
    channel = RecordChannel("train", (Path("/d/train/a/x.rec"), Path("/d/train/b/x.rec")))
    assert channel.describe(channel.files[1]) == "train channel, file b/x.rec"
    assert RecordChannel("train", channel.files[:1]).describe(channel.files[0]) == "train channel, file x.rec"


def test_a_file_name_that_is_not_utf_8_can_be_logged(job):
    name = os.fsdecode(b"\xff.rec")
    put(job / "data/train" / name)
    channel = read(job).train
    assert channel.describe(channel.files[-1]).encode() == "train channel, file \ufffd.rec".encode()


# The model to begin with.


def test_a_job_begins_anew_unless_there_is_a_model_channel(job):
    assert read(job).model is None


@pytest.mark.parametrize("config", [CONFIG, CONFIG | {"model": FILE}, CONFIG | {"model": {}}])
def test_the_model_channel_is_found_configured_or_not(job, config):
    configure(job, config)
    put(job / "data/model/model.tar.gz")
    assert read(job).model == job / "data/model"


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()])
def test_a_configured_model_channel_must_hold_something(job, make):
    configure(job, CONFIG | {"model": FILE})
    make(job / "data/model")
    assert failure(job) == (
        f"model channel: no data in {job / 'data/model'}; it must hold the model to begin with, as a folder or as "
        "model.tar.gz; leave the channel out to begin with new weights"
    )


def test_an_empty_model_folder_is_refused_without_a_configuration_as_well(job):
    (job / "data/model").mkdir()
    assert failure(job).startswith("model channel: no data in ")


def test_the_model_channel_knows_no_pipes(job):
    configure(job, CONFIG | {"model": {"TrainingInputMode": "Pipe"}})
    assert failure(job) == "model channel: input mode Pipe is not supported; use File or FastFile"
