"""What the comparison with other programs is told, and what it gives them to read."""

import gzip
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import rivals
from benchmarks._rivals.inside import ours as inside
from benchmarks._rivals.inside.stamping import Stamps
from benchmarks._rivals.ours import Ours
from benchmarks._rivals.program import BEAM, LENGTH
from benchmarks._rivals.texts import Texts, lay_out
from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.decoding import translator as module
from s2s_algo.decoding.scheduler import sentences_at_once
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from tests.unit.small_model import SOURCE_SIZE, TARGET_SIZE, small_model, vocabulary

command = import_module("s2s_algo.commands.translate")  # whose package has a function of the same name
LIMITS = LengthLimits(max_input_length=20, ratio_mean=2.0, ratio_std=0.0, max_output_length=2 * LENGTH)
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


def test_texts_of_the_last_time_serve_again_and_others_are_refused(corpus, tmp_path):
    texts = lay_out(corpus, tmp_path / "texts", "en,de", "new")
    written = texts.file("test", "en").stat().st_mtime_ns
    assert lay_out(corpus, tmp_path / "texts", "en,de", "new") == texts
    assert texts.file("test", "en").stat().st_mtime_ns == written
    other = r"/texts does not hold en,de of .*/corpus with val to be translated; remove .*, or name another .* --work"
    with pytest.raises(SystemExit, match=other):
        lay_out(corpus, tmp_path / "texts", "en,de", "val")
    texts.file("train", "de").unlink()  # as when the last time was cut off
    with pytest.raises(SystemExit, match="does not hold"):
        lay_out(corpus, tmp_path / "texts", "en,de", "new")


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


def test_training_in_int8_is_refused():
    done = CliRunner().invoke(rivals.main, [".", "--precision", "int8"])
    assert done.exit_code == 2
    assert "int8 is for translating; add --decode, or choose float32 or bfloat16" in " ".join(done.output.split())


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


@pytest.mark.parametrize("batch", [1, 16, 64])
def test_so_many_sentences_are_searched_together_as_were_asked_for(batch, tmp_path, monkeypatch):
    """By ours, which reads more lines at once than it searches together."""
    inference = InferenceConfig(beam_size=3, limits=LIMITS)
    words = vocabulary(SOURCE_SIZE), vocabulary(TARGET_SIZE)
    save_artifact(Artifact(small_model(), inference, *words), tmp_path / "model")
    for name, value in Ours("float32").translate(TEXTS, tmp_path, tmp_path, batch).environment.items():
        monkeypatch.setenv(name, value)
    for owner, name in (
        (module, "load_model"),
        (Translator, "load"),
        (Translator, "translate_n_best"),
        (command, "_LINES_AT_ONCE"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # goes back after the test
    monkeypatch.setenv("BENCHMARK_STAMPS", str(tmp_path / "stamps"))
    inside._watch_translations(Stamps())
    translator = module.Translator.load(tmp_path / "model")
    assert sentences_at_once(BEAM, 32, translator.most_rows) == batch
    assert [len(found.token_ids) for found in translator.translate([[4], [5, 6]])] == [LENGTH] * 2
