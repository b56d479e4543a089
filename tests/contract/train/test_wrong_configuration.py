"""A job with a wrong configuration ends at once, and everything that is wrong with it is said in one go."""

import json
import os

import pytest

from tests.contract.train.jobs import REPOSITORY, TINY, OptMl, framed, random_pairs

# What the platform shows of the failure file.
SHOWN = 1024  # characters

TEN_MISTAKES = {
    "rnn_num_hidden": "7",
    "rnn_cell_type": "LSTM",
    "embed_dropout_source": "1.5",
    "batch_size": "0",
    "loss_type": "cross_entropy",
    "max_num_epochs": "2",
    "min_num_epochs": "3",
    "optimizer_type": "adamw",
    "learning_rate": "fast",
    "beam_size": "5.0",
    "bach_size": "64",
}

TEN_MESSAGES = """\
ClientError: 10 problems with the hyperparameters:
rnn_num_hidden: '7' is not an even integer from 2 to 65536; the nearest allowed is 6
rnn_cell_type: 'LSTM' is not one of lstm, gru; did you mean 'lstm'?
embed_dropout_source: '1.5' is not a number in [0, 1]; the nearest allowed is 1
batch_size: '0' is not an integer from 1 to 2147483647; the nearest allowed is 1
loss_type: 'cross_entropy' is not cross-entropy; did you mean 'cross-entropy'?
min_num_epochs: 3 is more than max_num_epochs 2; lower it or raise max_num_epochs
optimizer_type: 'adamw' is not one of adam, sgd, rmsprop; did you mean 'adam'?
learning_rate: 'fast' is not a number in (0, 100]; leave it out for the default 0.0003
beam_size: '5.0' is not an integer from 1 to 1000; write 5
Additional hyperparameters are not allowed ('bach_size' was unexpected); did you mean 'batch_size'?"""


@pytest.fixture
def without_torch(tmp_path):
    """An environment in which importing torch is noticed and fails."""
    folder = tmp_path / "without-torch"
    folder.mkdir()
    (folder / "torch.py").write_text("raise ImportError('torch was imported')")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}


def assert_refused(job, *messages):
    """The job is the user's fault and says so where the user looks: failure file and log."""
    for message in messages:
        assert message in job.failure
        assert message in job.log
    assert job.exit_code == 2
    assert job.failure.startswith("ClientError: ")
    assert f"ERROR {job.log.split('ERROR ')[1]}".endswith(f"] {job.failure}\n")
    assert "Traceback" not in job.log
    assert job.opt_ml.files() == {"output/failure"}
    assert not list(job.opt_ml.scratch.iterdir())


def test_ten_mistakes_are_ten_messages_within_a_second_and_a_half_of_computing(jobs, opt_ml, without_torch):
    opt_ml.configure("hyperparameters.json", {**TINY, **TEN_MISTAKES})
    job = jobs.run_cold(opt_ml, without_torch)
    assert_refused(job, TEN_MESSAGES)
    assert job.failure == TEN_MESSAGES
    assert len(job.failure) <= SHOWN
    assert job.cpu_seconds < 1.5


def test_problems_of_hyperparameters_hosts_channels_and_vocabularies_are_told_together(jobs, tmp_path, without_torch):
    opt_ml = OptMl(tmp_path / "ml")
    opt_ml.configure("hyperparameters.json", {"batch_size": "many"})
    opt_ml.configure("resourceconfig.json", {"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]})
    opt_ml.configure("inputdataconfig.json", {"train": {"TrainingInputMode": "Pipe"}, "validation": {}, "vocab": {}})
    assert_refused(
        jobs.run_cold(opt_ml, without_torch),
        "batch_size: 'many' is not an integer from 1 to 2147483647; leave it out for the default 64\n",
        f"{opt_ml.base}/input/config/resourceconfig.json: current_host is not one of hosts; it must be an object with ",
        "train channel: input mode Pipe is not supported; use File or FastFile\n",
        f"validation channel: missing, there is no folder {opt_ml.base}/input/data/validation; "
        "pass the channel with its records\n",
        "Vocab files are not present in the input directory: vocab.src.json and vocab.trg.json missing in "
        f"{opt_ml.base}/input/data/vocab; the vocab channel must hold vocab.src.json and vocab.trg.json",
    )


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        (b"{", "input/config/hyperparameters.json: not JSON at line 1, column 2"),
        (b'["64"]', "['64'] is not a JSON object"),
        (b'{"batch_size": "8", "batch_size": "9"}', "'batch_size' given more than once; pass each name once"),
        (b'{"encoder_type": {"a": 1}}', "encoder_type: {'a': 1} is not one of rnn, cnn"),
        (b'{"max_num_epochs": "0"}', "max_num_epochs: '0' is not an integer from 1 to 2147483647"),
        (b'{"momentum": "0.9"}', "momentum: 0.9 was passed with optimizer_type adam, which has no momentum"),
        (b'{"weight_init_scale": "-1"}', "weight_init_scale: -1 is negative; pass 1, or weight_init_type uniform"),
        (
            b'{"rnn_residual_connections": "True", "rnn_first_residual_layer": "1"}',
            "rnn_first_residual_layer: 1 has no layer below it to connect with; pass 2 or more",
        ),
    ],
)
def test_hyperparameters_that_cannot_be_meant_are_refused(jobs, opt_ml, hyperparameters, message):
    opt_ml.configure("hyperparameters.json", {})
    (opt_ml.base / "input/config/hyperparameters.json").write_bytes(hyperparameters)
    assert_refused(jobs.run(opt_ml), message)


def remove(name):
    def change(opt_ml):
        path = opt_ml.base / "input/data" / name
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()

    return change


def put(name, content):
    return lambda opt_ml: opt_ml.put(name, content)


def configure(**channels):
    everything = {"train": {}, "validation": {}, "vocab": {}}
    return lambda opt_ml: opt_ml.configure("inputdataconfig.json", {**everything, **channels})


def make_pipe(opt_ml):
    remove("validation/val.rec")(opt_ml)
    os.mkfifo(opt_ml.base / "input/data/validation_0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(remove("train/train.rec"), "train channel: missing, there is no folder", id="no train channel"),
        pytest.param(
            put("train/train.rec", b""), "train channel: no data, all its files are empty", id="empty train file"
        ),
        pytest.param(
            lambda opt_ml: (opt_ml.base / "input/data/validation/val.rec").unlink(),
            "validation channel: no data, there are no files in it; it must hold RecordIO-protobuf files",
            id="empty validation channel",
        ),
        pytest.param(
            remove("vocab/vocab.trg.json"),
            "Vocab files are not present in the input directory: vocab.trg.json missing in ",
            id="no target vocabulary",
        ),
        pytest.param(
            make_pipe, "validation channel: input mode Pipe is not supported; use File or FastFile", id="FIFO"
        ),
        pytest.param(
            configure(train={"TrainingInputMode": "Pipe"}),
            "train channel: input mode Pipe is not supported; use File or FastFile",
            id="Pipe mode",
        ),
        pytest.param(
            configure(train={"ContentType": "text/csv"}),
            "train channel: content type 'text/csv' cannot hold token pairs; send records as "
            "application/x-recordio-protobuf, or no content type at all",
            id="CSV",
        ),
        pytest.param(
            configure(trian={}),
            "'trian' is not a channel of this algorithm; "
            "it reads train, validation, vocab, model, did you mean 'train'?",
            id="misspelt channel",
        ),
        pytest.param(
            put("vocab/vocab.src.json", b'{"<pad>": 0, "a": 1}'),
            "vocab/vocab.src.json: special symbols missing: <unk>, <s>, </s>; "
            "a vocabulary needs <pad>, <unk>, <s>, </s>",
            id="vocabulary without special symbols",
        ),
    ],
)
def test_channels_that_cannot_be_trained_on_are_refused(jobs, opt_ml, change, message, without_torch):
    change(opt_ml)
    assert_refused(jobs.run_cold(opt_ml, without_torch), message)


def test_two_damaged_vocabularies_are_told_together(jobs, opt_ml, without_torch):
    opt_ml.configure("hyperparameters.json", {"batch_size": "many"})
    opt_ml.put("vocab/vocab.src.json", b"{")
    opt_ml.put("vocab/vocab.trg.json", b'{"<pad>": 1}')
    assert_refused(
        jobs.run_cold(opt_ml, without_torch),
        "batch_size: 'many' is not an integer",
        "vocab.src.json: not JSON",
        "vocab.trg.json: token '<pad>' has the id 1; 1 tokens must have the ids 0 to 0 without gaps",
    )


def test_a_beam_that_no_vocabulary_can_fill_is_refused(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", {**TINY, "beam_size": "16"})
    assert_refused(
        jobs.run(opt_ml),
        "beam_size: 16 is not in 1 … 15 (the target vocabulary has 16 entries). Choose a smaller beam.",
    )


CNN = {**TINY, "encoder_type": "cnn", "decoder_type": "cnn", "cnn_num_hidden": "8", "max_num_batches": "1"}


@pytest.mark.parametrize("encoder", ["rnn", "cnn"])
def test_a_kernel_of_the_encoder_without_a_middle_is_refused_used_or_not(jobs, opt_ml, encoder, without_torch):
    opt_ml.configure("hyperparameters.json", {**CNN, "encoder_type": encoder, "cnn_kernel_width_encoder": "4"})
    assert_refused(
        jobs.run_cold(opt_ml, without_torch),
        "cnn_kernel_width_encoder: '4' is not an odd integer from 1 to 65535; the nearest allowed is 3",
    )


@pytest.mark.parametrize(("encoder", "decoder"), [("cnn", "rnn"), ("rnn", "cnn"), ("cnn", "cnn")])
def test_every_mix_of_recurrent_and_convolutional_parts_is_accepted(jobs, opt_ml, encoder, decoder):
    opt_ml.configure(
        "hyperparameters.json",
        {**CNN, "encoder_type": encoder, "decoder_type": decoder, "cnn_kernel_width_decoder": "4"},
    )
    job = jobs.run(opt_ml)
    assert job.exit_code == 0, job.log
    config = json.loads((opt_ml.model / "config.json").read_text())["model"]
    assert (config["encoder"]["type"], config["decoder"]["type"]) == (encoder, decoder)


@pytest.mark.parametrize("text", ['["algo-1"]', '{"current_host": "algo-1"}', '{"current_host": 1, "hosts": [1]}', "{"])
def test_a_damaged_resource_configuration_is_named(jobs, opt_ml, text):
    opt_ml.configure("resourceconfig.json", {})
    path = opt_ml.base / "input/config/resourceconfig.json"
    path.write_text(text)
    assert_refused(jobs.run(opt_ml), f"{path}: ", 'such as {"current_host": "algo-1", "hosts": ["algo-1"]}')


def test_a_log_level_that_is_none_is_refused(jobs, opt_ml):
    job = jobs.run(opt_ml, {"SAGEMAKER_CONTAINER_LOG_LEVEL": "loud"})
    assert job.exit_code == 2
    assert job.failure == (
        "ClientError: SAGEMAKER_CONTAINER_LOG_LEVEL: 'loud' is not a log level; "
        "set it to DEBUG, INFO, WARNING, ERROR or a number such as 20"
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("trian",), "ClientError: 'trian' is not a command; choose train or serve"),
        (("train", "now"), "ClientError: 'train now' is not a command; choose train or serve"),
        ((), "ClientError: no command; choose train or serve"),
    ],
)
def test_a_command_that_does_not_exist_is_answered_with_both_that_do(jobs, opt_ml, command, message):
    job = jobs.run_cold(opt_ml, command=command)
    assert job.exit_code == 2
    assert job.log.splitlines() == [message, "usage: docker run IMAGE train|serve"]


def test_the_failure_of_the_job_before_is_gone_at_the_next_start(jobs, opt_ml):
    opt_ml.failure.parent.mkdir(parents=True)
    opt_ml.failure.write_text("ClientError: stale")
    opt_ml.configure("hyperparameters.json", {**TINY, "max_num_batches": "1"})
    assert jobs.run(opt_ml).exit_code == 0
    assert not opt_ml.failure.exists()


def test_a_token_that_is_no_unicode_text_does_not_break_the_log(jobs, opt_ml):
    opt_ml.configure("hyperparameters.json", {"\ud800": "1"})
    job = jobs.run(opt_ml)
    assert job.exit_code == 2
    assert r"'\ud800' was unexpected" in job.failure


RECORDS = random_pairs(3, seed=5)


@pytest.mark.parametrize(
    ("channel", "pairs", "message"),
    [
        (
            "train",
            [*RECORDS, ([4, 16], [5])],
            "train channel, file part/b.rec, record 4: source id 16 is outside the vocabulary: allowed are 1 to 15, "
            "source vocabulary size 16; make the records and the vocab channel from the same vocabularies",
        ),
        (
            "validation",
            [*RECORDS, ([4], [5, -1])],
            "validation channel, file part/b.rec, record 4: target id -1 is outside the vocabulary: allowed are 1 to "
            "15, target vocabulary size 16; ",
        ),
        (
            "train",
            [([4, 0, 5], [5]), *RECORDS],
            "train channel, file part/b.rec, record 1: source id 0 is <pad>, which cannot be a token; "
            "leave it out or write the id of <unk>",
        ),
    ],
    ids=["too large", "negative", "pad"],
)
def test_an_id_outside_the_vocabulary_is_named_with_its_place(jobs, opt_ml, channel, pairs, message):
    remove("train/train.rec" if channel == "train" else "validation/val.rec")(opt_ml)
    opt_ml.put(f"{channel}/a.rec", framed(RECORDS))
    opt_ml.put(f"{channel}/part/b.rec", framed(pairs))
    assert_refused(jobs.run(opt_ml), message)


WHOLE = framed(RECORDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:-5], "train channel, file train.rec, record 3: the header promises"),
        (WHOLE + b"junk", "train channel, file train.rec, record 4: 4 bytes are left, but a frame begins with 8 (byte"),
        (b"PK\3\4 no records", "train channel, file train.rec, record 1: a frame must begin with the bytes"),
        (
            bytes.fromhex("0a23d7ce 05000000 ffffffffff 000000"),
            "train channel, file train.rec, record 1: 5 bytes that are not a protobuf Record; write the data with "
            "`s2s prepare` or with the Record schema of the SageMaker SDK",
        ),
        (
            bytes.fromhex("0a23d7ce 14000000 0a12 0a06736f75726365 1208 1206 0a0400000000"),
            "train channel, file train.rec, record 1: feature 'source' holds float32_tensor; only int32 tokens are "
            "accepted, so write the ids as int32_tensor",
        ),
        (
            framed([([], [4]), ([4], [])]),
            "train channel: no pairs: 2 records were read and all of them have an empty source or target",
        ),
    ],
    ids=["cut", "junk behind", "not RecordIO", "not protobuf", "floats", "only empty pairs"],
)
def test_a_broken_record_is_named_with_its_place(jobs, opt_ml, content, message):
    opt_ml.put("train/train.rec", content)
    assert_refused(jobs.run(opt_ml), message)


def test_configuration_files_of_the_platform_that_training_does_not_read_are_ignored(jobs, opt_ml):
    for name in ("init-config.json", "trainingjobconfig.json", "upstreamoutputdataconfig.json", "profilerconfig.json"):
        (opt_ml.base / "input/config" / name).write_bytes(b"not even JSON")
    opt_ml.configure("hyperparameters.json", {**TINY, "max_num_batches": "1"})
    assert jobs.run(opt_ml).exit_code == 0


def test_the_message_of_a_long_list_of_mistakes_begins_with_their_number(jobs, opt_ml):
    names = [*json.loads((opt_ml.base / "input/config/hyperparameters.json").read_text())]
    opt_ml.configure("hyperparameters.json", dict.fromkeys(names, "x" * 2500))
    job = jobs.run(opt_ml)
    assert job.failure[:SHOWN].startswith(f"ClientError: {len(names)} problems with the hyperparameters:\n")
    assert all(f"\n{name}: 'xxx" in job.failure[:SHOWN] for name in names)


def test_the_beam_is_told_with_everything_else(jobs, opt_ml):
    opt_ml.configure(
        "hyperparameters.json", {"cnn_kernel_width_encoder": "4", "beam_size": "500", "batch_size": "many"}
    )
    opt_ml.configure("checkpointconfig.json", {"LocalPath": 0})
    assert_refused(
        jobs.run(opt_ml),
        "batch_size: 'many' is not an integer",
        "LocalPath 0 is not a path; it must be an object such as",
        "cnn_kernel_width_encoder: '4' is not an odd integer",
        "beam_size: 500 is not in 1 … 15",
    )


@pytest.mark.parametrize("local_path", ["", "a\0b", "\ud800", [], False])
def test_a_checkpoint_folder_that_is_no_path_is_refused(jobs, opt_ml, local_path):
    opt_ml.configure("hyperparameters.json", TINY)
    opt_ml.configure("checkpointconfig.json", {"LocalPath": local_path})
    assert_refused(jobs.run(opt_ml), "checkpointconfig.json: LocalPath ", " is not a path; ")
