"""What the comparison with other programs is told, and what it gives them to read."""

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import rivals
from benchmarks._rivals.program import LENGTH
from benchmarks._rivals.texts import Texts, lay_out

TEXTS = Texts(Path("/texts"), "en", "de")


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("train", "val", "new"):
        (folder / f"{name}.en").write_text(f"{name}  one \n\u00a0\nthree\n", encoding="utf-8")
        (folder / f"{name}.de.gz").write_bytes(gzip.compress(b"eins\nzwei\ndrei\n"))
    return folder


def test_all_programs_split_the_texts_alike(corpus, tmp_path):
    texts = lay_out(corpus, tmp_path / "texts", "en,de", "new")
    assert texts.file("train", "en").read_text() == "train one\nthree\n"
    assert texts.file("train", "de").read_text() == "eins\ndrei\n"
    assert texts.file("test", "en").read_text() == "new one\nthree\n"


def test_validation_can_be_translated_too(corpus, tmp_path):
    texts = lay_out(corpus, tmp_path / "texts", "en,de", "val")
    assert texts.file("test", "en").read_text() == texts.file("val", "en").read_text()


def test_a_corpus_without_a_part_is_refused(corpus, tmp_path):
    (corpus / "val.de.gz").unlink()
    with pytest.raises(SystemExit, match=r"has neither val\.de nor val\.de\.gz; give a folder with such text"):
        lay_out(corpus, tmp_path / "texts", "en,de", "new")


def refused(rival):
    done = CliRunner().invoke(rivals.main, [".", "--rival", rival])
    assert done.exit_code == 2
    return " ".join(done.output.split())


def test_an_unknown_rival_is_refused():
    assert "'marian' is no rival; choose one of fairseq, opennmt, joeynmt, sockeye" in refused("marian=/venv")


@pytest.mark.parametrize("rival", ["fairseq", "fairseq=/no/such/venv"])
def test_a_rival_that_is_not_installed_is_refused(rival):
    assert "name the virtual environment that holds fairseq" in refused(rival)


@pytest.mark.parametrize("name", rivals.RIVALS)
def test_a_throw_away_model_is_of_few_updates_and_training_to_be_measured_is_endless(name, tmp_path):
    program = rivals.RIVALS[name](Path("python"))

    def said(updates):
        output = tmp_path / f"{updates}"
        output.mkdir()
        command = program.train("A", TEXTS, tmp_path, output, updates)
        files = (*output.glob("*.yaml"), *tmp_path.glob(f"{updates}.yaml"))
        return " ".join([*command.arguments, *(file.read_text() for file in files)])

    assert "7777" in said(7777)
    assert "7777" not in said(None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sockeye", f"BENCHMARK_LENGTH={LENGTH}"),
        ("fairseq", f"--min-len {LENGTH - 1} --max-len-b {LENGTH - 1}"),
        ("opennmt", f"-min_length {LENGTH} -max_length {LENGTH}"),
    ],
)
def test_all_translations_are_of_one_length(name, said, tmp_path):
    (tmp_path / "model_step_20.pt").touch()
    program = rivals.RIVALS[name](Path("python"))
    command = program.translate(TEXTS, tmp_path, tmp_path, 64)
    assert said in " ".join([*command.arguments, *(f"{name}={value}" for name, value in command.environment.items())])
