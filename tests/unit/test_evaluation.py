import gzip

import pytest
import sacrebleu

from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.evaluation import evaluate, read_parallel
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from tests.unit.small_model import SOURCE_SIZE, TARGET_SIZE, small_model, vocabulary

SOURCES = [f"w{first} w{second} w{third}" for first in range(4, 9) for second in range(5, 9) for third in (4, 12)]


def write_model(folder, words):
    limits = LengthLimits(max_input_length=6, ratio_mean=1.2, ratio_std=0.2, max_output_length=7)
    target = Vocabulary.from_tokens([*SPECIAL_TOKENS, *(f"{words}{number}" for number in range(4, TARGET_SIZE))])
    inference = InferenceConfig(beam_size=3, limits=limits)
    save_artifact(Artifact(small_model(scale=2.0), inference, vocabulary(SOURCE_SIZE), target), folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"), "v")


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    """The same with other words, so that none but empty translations are equal."""
    return write_model(tmp_path_factory.mktemp("other"), "u")


@pytest.fixture(scope="module")
def translations(model):
    translator = Translator.load(model)
    return [one.text for one in translator.translate([translator.source_vocabulary.encode(text) for text in SOURCES])]


@pytest.fixture(scope="module")
def references(translations):
    """A quarter of them with another word at the end."""
    return [text + " v4" * (number % 4 == 0) for number, text in enumerate(translations)]


def test_scores_are_those_of_sacrebleu(model, translations, references):
    (found,) = evaluate(model, SOURCES, references, ["float32"])
    bleu, chrf, ter = found.scores
    by_hand = {"tokenize": "none", "smooth_method": "floor", "smooth_value": 0.01, "use_effective_order": True}
    assert bleu.value == pytest.approx(sacrebleu.corpus_bleu(translations, [references], force=True, **by_hand).score)
    assert chrf.value == pytest.approx(sacrebleu.corpus_chrf(translations, [references]).score)
    assert ter.value == pytest.approx(sacrebleu.corpus_ter(translations, [references]).score)
    assert [score.name for score in found.scores] == ["BLEU", "chrF2", "TER"]
    assert all(score.interval > 0 for score in found.scores)
    assert "tok:none|smooth:floor[0.01]" in bleu.signature
    assert (found.precision, found.exact, found.same) == ("float32", 0.75, 1.0)
    assert found.per_second > 0


def test_a_perfect_text_has_no_interval(model, translations):
    (found,) = evaluate(model, SOURCES, translations, ["float32"])
    assert [score.value for score in found.scores] == pytest.approx([100, 100, 0])
    assert [score.interval for score in found.scores] == pytest.approx([0, 0, 0])


def test_other_precisions_are_compared_with_the_first(model, other_model, translations, references, monkeypatch):
    loaded = []
    load = Translator.load

    def remember(folder, *, precision):
        loaded.append(precision)
        return load(folder if precision == "float32" else other_model)

    # As if rounding had made another model of it.
    monkeypatch.setattr(Translator, "load", remember)
    exact, rounded = evaluate(model, SOURCES, references, ["float32", "int8"])
    assert loaded == ["float32", "int8"]
    assert (exact.same, rounded.precision) == (1.0, "int8")
    assert rounded.same == translations.count("") / len(translations)


def test_the_beam_can_be_chosen(model, references):
    translator = Translator.load(model)
    ids = [translator.source_vocabulary.encode(text) for text in SOURCES]
    narrow = [one.text for one in translator.translate(ids, translator.options.__class__(beam_size=1))]
    (found,) = evaluate(model, SOURCES, narrow, ["float32"], beam_size=1)
    assert found.exact == 1.0


def test_texts_are_read_by_line(tmp_path):
    (tmp_path / "source").write_text("a  b\n\n c\td \n", encoding="utf-8")
    with gzip.open(tmp_path / "target.gz", "wt", encoding="utf-8") as stream:
        stream.write("x\ny\nz z")
    assert read_parallel(tmp_path / "source", tmp_path / "target.gz") == (["a  b", "", "c\td"], ["x", "y", "z z"])


@pytest.mark.parametrize(("source", "target", "numbers"), [("a\nb\n", "x\n", (2, 1)), ("a\n", "x\ny\nz\n", (1, 3))])
def test_texts_of_different_lengths_are_refused(tmp_path, source, target, numbers):
    paths = tmp_path / "source", tmp_path / "target"
    for path, text in zip(paths, (source, target), strict=True):
        path.write_text(text)
    with pytest.raises(ClientError) as error:
        read_parallel(*paths)
    assert str(error.value) == (
        f"{paths[0]} has {numbers[0]} lines, {paths[1]} has {numbers[1]}; line n of one must be the translation of "
        "line n of the other"
    )


def test_empty_texts_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ClientError) as error:
        read_parallel(tmp_path / "empty", tmp_path / "empty")
    assert str(error.value) == f"{tmp_path / 'empty'} and {tmp_path / 'empty'} are empty; give a sentence per line"
