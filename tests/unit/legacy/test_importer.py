"""Finding the files of a model: vocabularies, checkpoints, folders; damaged ones are told."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
import sentencepiece
import torch

from s2s_algo.checkpoints.artifact import load_artifact, save_artifact
from s2s_algo.data.segmentation import WHITESPACE, Subwords
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.legacy.importer import import_model
from s2s_algo.loading import load_model
from tests.unit.legacy.writers import MODELS, Folder, golden_copy, pack

NAME = "rnn_rnn_lstm_mlp_1.10.5"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return golden_copy(NAME, tmp_path / "model")


def error_of(path: Path) -> str:
    with pytest.raises(ClientError) as caught:
        import_model(path)
    return str(caught.value).removeprefix(f"{path}: ").removeprefix(f"{path}, ")


def translations(translator: Translator) -> list[str]:
    inputs = [entry["input"] for entry in json.loads((MODELS / NAME / "translate.json").read_text())["inputs"]]
    return [translator.translate([translator.source_vocabulary.encode(text)])[0].text for text in inputs]


# Folders and archives


def test_a_folder_in_a_folder_is_found(folder):
    assert import_model(folder.parent).training["imported_from"] == "Sockeye 1.10.5"


def test_a_folder_of_several_models_is_refused(folder):
    golden_copy(NAME, folder.parent / "another")
    assert error_of(folder.parent) == "holds several models, in another, model. Give one of them."


def test_a_folder_without_model_is_refused(tmp_path):
    assert error_of(tmp_path) == (
        "neither it nor a folder directly in it holds a file config. Give the folder of a model that was trained with "
        "Sockeye 1, or a tar.gz of it; a model of s2s, which has a config.json, needs no import."
    )


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    assert error_of(tmp_path / "x").startswith("there is no such folder or file.")


@pytest.mark.parametrize("prefix", ["", "./", "model/", "./model/"])
def test_an_archive_has_the_model_at_the_top_or_one_folder_deep(prefix, folder, tmp_path):
    archive = pack(folder, tmp_path / "model.tar.gz", prefix)
    expected, imported = import_model(folder), import_model(archive)
    assert imported.training == expected.training
    assert imported.inference == expected.inference
    for one, other in zip(imported.model.parameters(), expected.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_nothing_of_an_archive_is_left_in_the_temporary_folder(folder, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    import_model(pack(folder, tmp_path / "model.tar.gz"))
    assert list(temporary.iterdir()) == []


# Parameters


def test_params_best_may_be_a_link(folder, tmp_path):
    (folder / "params.best").rename(folder / "params.00003")
    (folder / "params.best").symlink_to("params.00003")
    assert import_model(folder).training["parameters"] == "params.best"
    assert import_model(pack(folder, tmp_path / "model.tar.gz")).training["parameters"] == "params.best"


def test_params_best_that_leads_nowhere_is_refused(folder, tmp_path):
    (folder / "params.best").unlink()
    (folder / "params.best").symlink_to("params.00003")
    assert error_of(folder).startswith("file params.best: leads nowhere; copy what it points to as well.")


METRICS = (
    "1\tperplexity-train=9.0\tperplexity-val=8.500000\ttime-elapsed=1\n"
    "2\tperplexity-train=7.0\tperplexity-val=6.500000\ttime-elapsed=2\n"
    "3\tperplexity-train=5.0\tperplexity-val=7.500000\ttime-elapsed=3\n"
    "4\tperplexity-val=1.0\n"
    "garbage\n5\tperplexity-val=...\n"
)


@pytest.mark.parametrize(("metrics", "best"), [(METRICS, "params.00002"), ("", "params.00003"), (None, "params.00003")])
def test_without_params_best_the_best_checkpoint_is_taken_or_else_the_last(metrics, best, folder, tmp_path):
    content = (folder / "params.best").read_bytes()
    (folder / "params.best").unlink()
    for number in (1, 2, 3):
        (folder / f"params.{number:05}").write_bytes(content if f"params.{number:05}" == best else b"other")
    if metrics is not None:
        (folder / "metrics").write_text(metrics)
    assert import_model(folder).training["parameters"] == best
    assert import_model(pack(folder, tmp_path / "model.tar.gz", "m/")).training["parameters"] == best


def test_checkpoints_of_four_digits_are_known(folder):
    # Until 1.9.
    (folder / "params.best").rename(folder / "params.0012")
    assert import_model(folder).training["parameters"] == "params.0012"


def test_a_folder_without_parameters_is_refused(folder, tmp_path):
    (folder / "params.best").unlink()
    assert error_of(folder).startswith("neither params.best nor parameters of a checkpoint are there.")
    assert "neither params.best nor" in error_of(pack(folder, tmp_path / "model.tar.gz"))


@pytest.mark.parametrize("name", ["config", "version", "params.best", "vocab.src.json"])
def test_a_pipe_is_no_file(name, folder):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    if name == "config":
        assert error_of(folder).startswith("neither it nor a folder directly in it holds a file config")
    else:
        assert error_of(folder).startswith(f"file {name}: is no regular file")


def test_damaged_parameters_are_told_with_their_place(folder):
    (folder / "params.best").write_bytes((folder / "params.best").read_bytes()[:-5])
    assert error_of(folder).startswith("file params.best, name ")


# Vocabularies


@pytest.mark.parametrize("names", [("vocab.src.0.json", "vocab.trg.json"), ("vocab.src.0.json", "vocab.trg.0.json")])
def test_vocabularies_have_the_names_of_every_version(names, folder):
    for name in names:
        (folder / name.replace(".0", "")).rename(folder / name)
    assert len(import_model(folder).source_vocabulary) == 26


@pytest.mark.parametrize("side", ["src", "trg"])
def test_a_pickled_vocabulary_is_refused_and_never_loaded(side, folder, tmp_path):
    name = f"vocab.{side}"
    (folder / f"{name}.json").unlink()
    # What a pickle that makes a folder looks like.
    (folder / name).write_text(f"cposix\nmkdir\n(S'{tmp_path / 'executed'}'\ntR.")
    told = (
        f"file {name}: is a pickle, which could run any code, and is not read. Convert it where you trust it: python "
        f"-c \"import json, pickle; json.dump(pickle.load(open('{name}', 'rb')), open('{name}.json', 'w'))\""
    )
    assert error_of(folder) == told
    assert error_of(pack(folder, tmp_path / "model.tar.gz")) == told
    assert not (tmp_path / "executed").exists()


def test_a_missing_vocabulary_is_told(folder):
    (folder / "vocab.trg.json").unlink()
    assert error_of(folder) == (
        "file vocab.trg.json: is missing. Copy it from where the model was trained; 1.18 calls it vocab.trg.0.json."
    )


def test_a_vocabulary_of_another_size_is_told(folder):
    vocabulary = json.loads((folder / "vocab.src.json").read_text())
    vocabulary.popitem()
    (folder / "vocab.src.json").write_text(json.dumps(vocabulary))
    assert error_of(folder) == (
        "file vocab.src.json: 25 entries, but the model knows 26. Keep the files of one training job together."
    )
    (folder / "vocab.src.json").write_text(json.dumps({f"w{number}": number for number in range(1000)}))
    assert error_of(folder) == (
        "file vocab.src.json: more than the 26 entries that the model knows. Keep the files of one training job "
        "together."
    )
    (folder / "vocab.src.json").write_bytes(b"{" + b" " * 100_000 + b"}")
    assert error_of(folder).startswith("file vocab.src.json: more than 30720 bytes, too many for the 26 entries")


def test_a_vocabulary_that_breaks_the_format_is_told(folder):
    (folder / "vocab.src.json").write_text('{"a": 0, "a": 1}')
    assert "vocab.src.json: 'a' given more than once" in error_of(folder)


def test_quotes_and_backslashes_are_counted_as_one_token(tmp_path):
    made = Folder(NAME)
    vocabulary = made.vocabularies["src"]
    for awkward in ('"', "\\", '\\"', '": 1, "'):
        word = next(token for token in vocabulary if token.isalnum())
        vocabulary[awkward] = vocabulary.pop(word)
    assert '": 1, "' in import_model(made.write(tmp_path / "model")).source_vocabulary.tokens


# Configuration


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"x: 1", b"{}", b"{'a': 1}", b"null"])
def test_what_is_no_configuration_is_refused(content, folder):
    (folder / "config").write_bytes(content)
    assert error_of(folder).startswith("file config: ")


def test_a_huge_configuration_is_not_read(folder):
    with (folder / "config").open("wb") as file:
        file.truncate(10**12)
    assert error_of(folder).startswith("file config: larger than 524288 bytes")


# The result


@pytest.mark.parametrize("name", ["rnn_rnn_lstm_mlp_1.10.5", "cnn_cnn_glu_1.18.28"])
def test_an_artifact_of_it_is_the_same_model(name, tmp_path):
    imported = import_model(MODELS / name)
    save_artifact(imported, tmp_path)
    loaded = load_artifact(tmp_path)
    assert loaded.model.config == imported.model.config
    assert loaded.inference == imported.inference
    assert loaded.training == imported.training
    assert loaded.source_vocabulary == imported.source_vocabulary
    assert loaded.target_vocabulary == imported.target_vocabulary
    for one, other in zip(loaded.model.parameters(), imported.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_load_model_takes_both_kinds(folder, tmp_path):
    artifact = tmp_path / "artifact"
    save_artifact(import_model(folder), artifact)
    direct, nested, ours = (load_model(path) for path in (folder, folder.parent / "model", artifact))
    assert direct.inference == nested.inference == ours.inference
    expected = translations(Translator.load(folder))
    assert translations(Translator.load(artifact)) == expected
    golden = json.loads((MODELS / NAME / "translate.json").read_text())["inputs"]
    assert expected == [entry["beam5"]["translation"] for entry in golden]


def test_load_model_finds_a_folder_in_the_folder(tmp_path):
    golden_copy(NAME, tmp_path / "deeper" / "model")
    assert load_model(tmp_path / "deeper").training["imported_from"] == "Sockeye 1.10.5"


def test_load_model_prefers_an_artifact(folder):
    save_artifact(import_model(folder), folder)
    (folder / "params.best").write_bytes(b"damaged")
    assert load_model(folder).training["imported_from"] == "Sockeye 1.10.5"


@pytest.mark.parametrize("kind", ["ours", "original"])
def test_load_model_takes_the_archive_that_the_platform_delivers(kind, folder, tmp_path):
    content = folder
    if kind == "ours":
        content = tmp_path / "artifact"
        save_artifact(import_model(folder), content)
        (content / "metrics.json").unlink()
        (content / "more.txt").write_text("of no interest")
    delivered = tmp_path / "channel"
    delivered.mkdir()
    with tarfile.open(delivered / "model.tar.gz", "w:gz") as archive:
        for file in content.iterdir():
            archive.add(file, file.name)
    assert translations(Translator.load(delivered)) == translations(Translator.load(folder))
    assert [file.name for file in delivered.iterdir()] == ["model.tar.gz"]


@pytest.mark.parametrize("packed", [False, True])
def test_an_artifact_may_lie_a_folder_deeper_if_it_is_the_only_one(folder, tmp_path, packed):
    artifact = import_model(folder)
    delivered, content = tmp_path / "channel", tmp_path / "content"
    for path in (delivered, content):
        path.mkdir()

    def deliver(name):
        save_artifact(artifact, (content if packed else delivered) / name)
        if packed:
            with tarfile.open(delivered / "model.tar.gz", "w:gz") as archive:
                archive.add(content, ".")

    deliver("model")
    assert load_model(delivered).training["imported_from"] == "Sockeye 1.10.5"
    deliver("other")
    with pytest.raises(ClientError, match="config"):
        load_model(delivered)
    deliver("")
    assert load_model(delivered).training["imported_from"] == "Sockeye 1.10.5"


def test_an_archive_of_an_artifact_is_read_with_its_subwords(folder, tmp_path):
    artifact = import_model(folder)
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"]), model_writer=content, vocab_size=9, hard_vocab_limit=False, minloglevel=2
    )
    subwords = Subwords.from_bytes(content.getvalue())
    vocabulary = dataclasses.replace(artifact.source_vocabulary, segmentation=subwords)
    save_artifact(dataclasses.replace(artifact, source_vocabulary=vocabulary), tmp_path / "artifact")
    (tmp_path / "artifact/vocab.src.json").write_text(json.dumps(_with(subwords.pieces, artifact.source_vocabulary)))
    delivered = tmp_path / "channel"
    delivered.mkdir()
    with tarfile.open(delivered / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "artifact", ".")
    loaded = load_model(delivered)
    assert loaded.source_vocabulary.segmentation == subwords
    assert loaded.target_vocabulary.segmentation == WHITESPACE


def _with(pieces, vocabulary):
    """Ids of a vocabulary of the same size that has some pieces."""
    tokens = list(vocabulary.tokens)
    tokens[-len(pieces) :] = pieces
    return {token: id_ for id_, token in enumerate(tokens)}


def test_an_archive_with_half_an_artifact_is_refused_by_what_is_missing(folder, tmp_path):
    save_artifact(import_model(folder), tmp_path / "artifact")
    delivered = tmp_path / "channel"
    delivered.mkdir()
    with tarfile.open(delivered / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "artifact/config.json", "config.json")
    with pytest.raises(ClientError, match=r"vocab\.src\.json: the file does not exist"):
        load_model(delivered)


def test_a_file_that_is_no_archive_is_refused_with_its_place(tmp_path):
    (tmp_path / "model.tar.gz").write_bytes(b"x")
    with pytest.raises(ClientError, match=r"model\.tar\.gz: not a readable tar\.gz"):
        load_model(tmp_path)


def test_the_size_of_an_attention_that_has_none_is_not_needed(tmp_path):
    folder = Folder("rnn_rnn_gru_bilinear_avg_1.10.5")
    attention = folder.config["config_decoder"]["attention_config"]
    attention["num_hidden"] = None
    assert import_model(folder.write(tmp_path / "model")).model.config.decoder.attention.type == "bilinear"


def test_load_model_refuses_a_folder_without_model(tmp_path):
    with pytest.raises(ClientError, match="so the folder holds no model"):
        load_model(tmp_path)
    with pytest.raises(ClientError, match="so the folder holds no model"):
        load_model(tmp_path / "missing")


def test_load_model_says_why_a_model_of_sockeye_cannot_be_imported(folder):
    (folder / "version").write_text("2.1.0")
    with pytest.raises(ClientError, match="the model is of Sockeye 2"):
        load_model(folder)
