"""The artifact: what a training job leaves and serving reads."""

import json
import random
import struct
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2s_algo.checkpoints.artifact import (
    CONFIG_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
    Artifact,
    load_artifact,
    save_artifact,
)
from s2s_algo.data.channels import SOURCE_VOCABULARY, TARGET_VOCABULARY
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError, PlatformError
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from tests.unit.small_model import SOURCE_SIZE, TARGET_SIZE, small_config, small_model, vocabulary

FILES = [CONFIG_FILE, WEIGHTS_FILE, SOURCE_VOCABULARY, TARGET_VOCABULARY, METRICS_FILE]
READ = [name for name in FILES if name != METRICS_FILE]
LIMITS = LengthLimits(max_input_length=7, ratio_mean=1.2, ratio_std=0.2, max_output_length=9)
INFERENCE = InferenceConfig(beam_size=3, length_penalty_alpha=0.5, length_penalty_beta=1.0, limits=LIMITS)
SOURCES = [[5, 6, 7], [8], [4, 4, 12, 11, 10], [9] * 10]


def artifact(**options):
    return Artifact(
        model=small_model(small_config(decoder_layers=2, encoder_layers=2, **options), scale=1.5),
        inference=INFERENCE,
        source_vocabulary=vocabulary(SOURCE_SIZE),
        target_vocabulary=vocabulary(TARGET_SIZE),
        training={"hyperparameters": {"learning_rate": "0.1"}, "updates": 7},
        metrics=[{"checkpoint": 1, "perplexity": 2.5}],
    )


@pytest.fixture
def folder(tmp_path):
    save_artifact(artifact(), tmp_path / "model")
    return tmp_path / "model"


def error_of(folder):
    with pytest.raises(ClientError) as caught:
        load_artifact(folder)
    return str(caught.value)


def change_config(folder, change):
    path = folder / CONFIG_FILE
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


# Round trip


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("attention", ["mlp", "dot", "bilinear", "fixed"])
def test_a_round_trip_gives_the_same_weights_bit_by_bit_and_the_same_translations(tmp_path, cell, attention):
    saved = artifact(cell=cell, attention=attention)
    save_artifact(saved, tmp_path)
    loaded = load_artifact(tmp_path)
    assert loaded.model.config == saved.model.config
    assert loaded.model.state_dict().keys() == saved.model.state_dict().keys()
    for name, value in saved.model.state_dict().items():
        ours = loaded.model.state_dict()[name]
        assert ours.dtype == value.dtype
        assert torch.equal(ours.view(torch.int32), value.view(torch.int32)), name
    before, after = (Translator.from_artifact(one, torch.device("cpu")).translate(SOURCES) for one in (saved, loaded))
    for one, other in zip(before, after, strict=True):
        assert (one.token_ids, one.tokens, one.score) == (other.token_ids, other.tokens, other.score)
        assert (one.attention == other.attention).all()


def test_a_round_trip_gives_the_same_settings_and_vocabularies(folder):
    loaded = load_artifact(folder)
    assert loaded.inference == INFERENCE
    assert loaded.source_vocabulary == vocabulary(SOURCE_SIZE)
    assert loaded.target_vocabulary == vocabulary(TARGET_SIZE)
    assert loaded.training == {"hyperparameters": {"learning_rate": "0.1"}, "updates": 7}
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())


def test_words_of_any_script_survive(tmp_path):
    words = ["<pad>", "<unk>", "<s>", "</s>", "ж", "語", "n\u0303", '"', "\\", "🙂", "ß"]
    table = vocabulary(TARGET_SIZE).from_tokens(words)
    save_artifact(replace(artifact(), target_vocabulary=table), tmp_path)
    assert load_artifact(tmp_path).target_vocabulary.tokens == tuple(words)


def test_the_files_are_plain_json_and_safetensors(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    assert (config["format"], config["format_version"]) == ("s2s", 1)
    assert config["model"]["encoder"]["cell_type"] == "lstm"
    assert json.loads((folder / METRICS_FILE).read_text(encoding="utf-8")) == [{"checkpoint": 1, "perplexity": 2.5}]
    assert json.loads((folder / SOURCE_VOCABULARY).read_text(encoding="utf-8"))["w4"] == 4
    assert load_file(folder / WEIGHTS_FILE).keys() == artifact().model.state_dict().keys()


def test_a_second_save_replaces_the_first(folder):
    save_artifact(replace(artifact(cell="gru"), training={}), folder)
    loaded = load_artifact(folder)
    assert loaded.model.config.encoder.cell_type == "gru"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_the_training_model_goes_on_unchanged_while_it_is_saved(tmp_path):
    saved = artifact()
    saved.model.train()
    before = {name: value.clone() for name, value in saved.model.state_dict().items()}
    save_artifact(saved, tmp_path)
    assert saved.model.training
    assert all(torch.equal(value, before[name]) for name, value in saved.model.state_dict().items())


def test_a_loaded_model_does_not_change_with_its_file(folder):
    loaded = load_artifact(folder)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    path = folder / WEIGHTS_FILE
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_foreign_files_are_tolerated(folder):
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    (folder / "model.bin").write_bytes(bytes(100))
    (folder / "logs").mkdir()
    (folder / ".hidden").touch()
    load_artifact(folder)


def test_the_metrics_are_not_needed(folder):
    (folder / METRICS_FILE).unlink()
    load_artifact(folder)


def test_loading_needs_no_server_and_no_container(folder):
    script = """
        import sys

        blocked = ("flask", "werkzeug", "gunicorn", "container", "serve", "sacrebleu", "click")
        for name in blocked:
            sys.modules[name] = None  # importing it fails

        from pathlib import Path
        import torch
        from s2s_algo.decoding.translator import Translator

        print(Translator.load(Path(sys.argv[1]), torch.device("cpu")).translate([[5, 6, 7]])[0].text)
        loaded = [name for name in sys.modules if name.split(".")[0] in blocked and sys.modules[name]]
        assert not loaded, loaded
        assert "s2s_algo.training" not in sys.modules
    """
    # From another folder, with the weights of this test alone.
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    expected = Translator.load(folder, torch.device("cpu")).translate([[5, 6, 7]])[0].text
    assert result.stdout.strip() == expected


# Saving where it cannot work


@pytest.mark.parametrize("broken", FILES)
def test_a_full_disk_leaves_no_artifact_rather_than_half_of_one(tmp_path, monkeypatch, broken):
    real = Path.replace

    def refuse(path, target):
        if Path(target).name == broken:
            raise OSError(28, "No space left on device")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PlatformError, match="No space left on device"):
        save_artifact(artifact(), tmp_path)
    assert not (tmp_path / CONFIG_FILE).exists()
    assert all(path.name in FILES for path in tmp_path.iterdir())
    monkeypatch.undo()
    assert "the folder holds no model" in error_of(tmp_path)


def test_a_file_in_place_of_the_folder_is_an_error_of_the_platform(tmp_path):
    (tmp_path / "model").touch()
    with pytest.raises(PlatformError, match=f"^{tmp_path / 'model'}: cannot write"):
        save_artifact(artifact(), tmp_path / "model")


# Damaged folders


@pytest.mark.parametrize("name", READ)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    message = error_of(folder)
    assert str(folder / name) in message
    assert "missing" in message or "does not exist" in message


@pytest.mark.parametrize("name", READ)
def test_an_empty_folder_in_place_of_a_file_is_named(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises((ClientError, PlatformError), match=name):
        load_artifact(folder)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(folder, name, share):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    assert str(folder / name) in error_of(folder)


@pytest.mark.parametrize("name", READ)
def test_mutated_files_are_read_or_refused_by_name_and_nothing_else(folder, name):
    chance = random.Random(20171122)
    content = (folder / name).read_bytes()
    messages = []
    for _ in range(60):
        changed = bytearray(content)
        # The beginning is where the structure is, for the weights most of all.
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(min(len(changed), 1500))] = chance.randrange(256)
        (folder / name).write_bytes(bytes(changed))
        try:
            load_artifact(folder)
        except ClientError as error:
            messages.append(str(error))
    assert len(messages) > 20
    # A changed size in config.json is found in the file that it does not fit.
    blamed = READ if name == CONFIG_FILE else [name]
    assert all(any(str(folder / file) in message for file in blamed) for message in messages)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"17", b'"text"', b"{", b"\xff\xfe{}", b"[" * 100_000])
def test_a_configuration_that_is_no_configuration_is_refused(folder, content):
    (folder / CONFIG_FILE).write_bytes(content)
    message = error_of(folder)
    assert message.startswith(f"{folder / CONFIG_FILE}: not ")
    assert message.endswith("Copy it again.")


@pytest.mark.parametrize("version", [2, 17, 10**30])
def test_a_newer_format_is_refused_and_says_what_to_do(folder, version):
    def change(config):
        config["format_version"] = version
        config["model"] = {"encoder": "of a kind that nobody knows yet"}

    change_config(folder, change)
    assert error_of(folder) == (
        f"{folder / CONFIG_FILE}: format_version {version} is newer than 1, the newest this version reads. Update s2s."
    )


@pytest.mark.parametrize("version", [0, -1, "1", 1.5, None, [1]])
def test_a_version_that_never_was_is_refused(folder, version):
    change_config(folder, lambda config: config.update(format_version=version))
    assert "format_version" in error_of(folder)


def test_the_format_of_another_program_is_refused(folder):
    change_config(folder, lambda config: config.update(format="other"))
    assert "format" in error_of(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "encoder", "num_hidden"), 7),
        (("model", "encoder", "num_hidden"), 0),
        (("model", "encoder", "num_hidden"), "6"),
        (("model", "encoder", "num_layers"), 10**6),
        (("model", "encoder", "cell_type"), "rnn"),
        (("model", "encoder", "unknown"), 1),
        (("model", "decoder", "attention"), None),
        (("model", "decoder", "hidden_dropout"), 1.5),
        (("inference", "beam_size"), 0),
        (("inference", "length_penalty_alpha"), -1),
        (("inference", "limits", "max_input_length"), 0),
        (("inference", "limits", "ratio_mean"), -1),
        (("training",), []),
    ],
)
def test_impossible_settings_are_refused_by_name(folder, path, value):
    def change(config):
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    change_config(folder, change)
    message = error_of(folder)
    assert message.startswith(str(folder / CONFIG_FILE))
    assert path[-1] in message


@pytest.mark.parametrize("size", [10_000, 65_536])
def test_a_claimed_size_takes_no_memory(folder, size):
    def change(config):
        config["model"]["encoder"]["num_hidden"] = config["model"]["decoder"]["num_hidden"] = size

    change_config(folder, change)
    assert "the weights do not fit the model's configuration" in error_of(folder)


# Weights that do not fit


def test_all_mismatches_are_in_one_message(folder):
    path = folder / WEIGHTS_FILE
    weights = load_file(path)
    del weights["output_layer.bias"]
    weights["stranger"] = torch.zeros(3)
    weights["source_embedding.weight"] = weights["source_embedding.weight"][:-1].clone()
    weights["decoder.hidden_layer.bias"] = weights["decoder.hidden_layer.bias"].double()
    save_file(weights, path)
    assert error_of(folder) == (
        f"{path}: the weights do not fit the model's configuration: "
        "decoder.hidden_layer.bias is float64 [6] instead of float32 [6]; "
        "output_layer.bias is missing; "
        "source_embedding.weight is float32 [12, 4] instead of float32 [13, 4]; "
        "stranger is unknown. "
        "Keep the files of one training job together."
    )


@pytest.mark.parametrize(("name", "size"), [(SOURCE_VOCABULARY, SOURCE_SIZE), (TARGET_VOCABULARY, TARGET_SIZE)])
def test_a_vocabulary_of_another_model_is_refused(folder, name, size):
    vocabulary(size + 1).save(folder / name)
    assert error_of(folder) == (
        f"{folder / name}: {size + 1} entries, but the model knows {size}. Keep the files of one training job together."
    )


def safetensors(header, data=b"", size=None):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if size is None else size) + content + data


def entry(shape=(2,), begin=0, end=8, dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


HOSTILE = {
    "no header": b"",
    "half a length": b"\x01\x00\x00",
    "an endless header": safetensors({"a": entry()}, bytes(8), size=2**63),
    "a header longer than the file": safetensors({"a": entry()}, bytes(8), size=10_000),
    "a header that is no JSON": safetensors(b"not JSON"),
    "a header that is a list": safetensors([1]),
    "a header nested without end": safetensors(b'{"a":' * 100_000),
    "a header that is not UTF-8": safetensors(b"\xff\xfe{}"),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "offsets beyond the file": safetensors({"a": entry(end=2**40)}, bytes(8)),
    "offsets backwards": safetensors({"a": entry(begin=8, end=0)}, bytes(8)),
    "tensors on top of each other": safetensors({"a": entry(), "b": entry()}, bytes(8)),
    "bytes that belong to nobody": safetensors({"a": entry()}, bytes(800)),
    "a shape that overflows": safetensors({"a": entry((2**62, 4), end=0)}),
    "a dimension that overflows": safetensors({"a": entry((0, 2**63), end=0)}),
    "a negative dimension": safetensors({"a": entry((-2,))}, bytes(8)),
    "a shape that needs more bytes": safetensors({"a": entry((2**30,))}, bytes(8)),
    "an unknown type": safetensors({"a": entry(dtype="F31")}, bytes(8)),
    "a type nobody can compute with": safetensors({"a": entry((4,), end=3, dtype="F6_E2M3")}, bytes(3)),
    "another model": safetensors({"a": entry()}, bytes(8)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_weights_are_refused(folder, content):
    (folder / WEIGHTS_FILE).write_bytes(content)
    assert error_of(folder).startswith(str(folder / WEIGHTS_FILE))
