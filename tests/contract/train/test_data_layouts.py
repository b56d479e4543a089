"""However the pairs of a channel are spread over files, the same job learns the same, and nothing is written there."""

import json
import os

import pytest

from tests.contract.train.jobs import TINY, OptMl, digest, framed, random_pairs

PAIRS = random_pairs(40, seed=1)
JOB = {**TINY, "max_num_batches": "12", "checkpoint_frequency_num_batches": "6", "rnn_decoder_hidden_dropout": "0.2"}


@pytest.fixture(scope="module")
def expected(jobs, tmp_path_factory):
    """The weights after training on one file."""
    opt_ml = OptMl.ready(tmp_path_factory.mktemp("one-file") / "ml", JOB)
    assert jobs.run(opt_ml).exit_code == 0
    return digest(opt_ml.model / "model.safetensors")


@pytest.fixture
def opt_ml(tmp_path):
    made = OptMl.ready(tmp_path / "ml", JOB)
    (made.base / "input/data/train/train.rec").unlink()
    return made


def several_files(opt_ml):
    for part, name in enumerate(("a.rec", "b/1.rec", "b/2/x.rec", "c.rec")):
        opt_ml.put(f"train/{name}", framed(PAIRS[10 * part : 10 * part + 10]))


def names_without_rec(opt_ml):
    opt_ml.put("train/part-00000", framed(PAIRS[:25]))
    opt_ml.put("train/part-00001", framed(PAIRS[25:]))


def foreign_files_beside(opt_ml):
    opt_ml.put("train/data.rec", framed(PAIRS))
    opt_ml.put("train/manifest.json", b"{}")
    opt_ml.put("train/.hidden.rec", b"junk")
    opt_ml.put("train/.hidden/also.rec", b"junk")
    opt_ml.put("vocab/readme.txt", b"words")


def split_as_mxnet_does(opt_ml):
    """Each record in two parts, as if the bytes between them had been the magic."""
    magic = bytes.fromhex("0a23d7ce")
    frames = []
    for source, target in PAIRS:
        whole = framed([(source, target)])
        length = int.from_bytes(whole[4:8], "little")
        payload = whole[8 : 8 + length] + b"\x1a\x04" + magic  # field 3, uid: four bytes, the magic itself
        first, last = payload[: length + 2], b""
        for flag, part in ((1, first), (3, last)):
            frames.append(magic + (flag << 29 | len(part)).to_bytes(4, "little") + part + bytes(-len(part) % 4))
    opt_ml.put("train/mxnet.rec", b"".join(frames))


def everything_configured(opt_ml):
    opt_ml.put("train/train.rec", framed(PAIRS))
    channel = {
        "TrainingInputMode": "FastFile",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        "ContentType": "application/x-recordio-protobuf",
    }
    opt_ml.configure("inputdataconfig.json", {"train": channel, "validation": channel, "vocab": channel})
    instances = {"instance_group_name": "homogeneousCluster", "instance_type": "ml.g5.xlarge", "hosts": ["algo-1"]}
    resources = {
        "current_host": "algo-1",
        "current_instance_type": "ml.g5.xlarge",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [instances],
        "network_interface_name": "eth0",
    }
    opt_ml.configure("resourceconfig.json", resources)


def local_mode(opt_ml):
    opt_ml.put("train/train.rec", framed(PAIRS))
    channel = {"TrainingInputMode": "File"}
    opt_ml.configure("inputdataconfig.json", {"train": channel, "validation": channel, "vocab": channel})


def empty_sides_between(opt_ml):
    pairs = [pair for good in PAIRS for pair in (good, ([], [4]), ([4], []))]
    opt_ml.put("train/train.rec", framed(pairs))


def one_empty_file(opt_ml):
    opt_ml.put("train/a.rec", b"")
    opt_ml.put("train/b.rec", framed(PAIRS))


def with_link(opt_ml):
    """As some stores mount them."""
    opt_ml.put("elsewhere", framed(PAIRS))
    opt_ml.put("train/keep", b"").unlink()
    (opt_ml.base / "input/data/train/link.rec").symlink_to("../elsewhere")


LAYOUTS = [
    several_files,
    names_without_rec,
    foreign_files_beside,
    split_as_mxnet_does,
    everything_configured,
    local_mode,
    empty_sides_between,
    one_empty_file,
    with_link,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=[layout.__name__ for layout in LAYOUTS])
def test_every_layout_of_the_same_pairs_gives_the_same_model(jobs, opt_ml, expected, layout):
    layout(opt_ml)
    job = jobs.run(opt_ml)
    assert job.exit_code == 0, job.log
    assert digest(opt_ml.model / "model.safetensors") == expected


def test_empty_sides_are_skipped_and_counted(jobs, opt_ml):
    empty_sides_between(opt_ml)
    job = jobs.run(opt_ml)
    assert job.found(r"train channel: 40 pairs in 1 files, 138 source and 138 target tokens; (\d+) records")[0] == "80"
    assert job.found(r"validation channel: 12 pairs in 1 files, .*; (\d+) records with an empty side skipped") == ["0"]


def test_over_long_pairs_are_cut_and_counted(jobs, opt_ml):
    opt_ml.put("train/train.rec", framed([*PAIRS, ([4] * 11, [5]), ([4], [5] * 300)]))
    job = jobs.run(opt_ml)
    assert job.exit_code == 0
    assert "train channel: 2 pairs truncated to 10 source and 10 target tokens" in job.messages


def test_nothing_is_written_beside_the_data(jobs, opt_ml):
    several_files(opt_ml)
    data = opt_ml.base / "input"

    def everything():
        paths = [data, *data.rglob("*")]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}

    before = everything()
    assert jobs.run(opt_ml).exit_code == 0
    assert everything() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_read_only_data_is_enough(jobs, opt_ml):
    several_files(opt_ml)
    for path in (opt_ml.base / "input").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert jobs.run(opt_ml).exit_code == 0


def test_a_vocabulary_of_another_script_survives(jobs, opt_ml):
    opt_ml.put("train/train.rec", framed(PAIRS))
    tokens = ["<pad>", "<unk>", "<s>", "</s>", "ß", "漢字", "🎉", '"', "\\", "e\u0301", *(f"w{i}" for i in range(6))]
    text = json.dumps({token: id_ for id_, token in enumerate(tokens)}, ensure_ascii=False)
    opt_ml.put("vocab/vocab.trg.json", text.encode("utf-8-sig"))
    assert jobs.run(opt_ml).exit_code == 0
    assert list(json.loads((opt_ml.model / "vocab.trg.json").read_text(encoding="utf-8"))) == tokens
