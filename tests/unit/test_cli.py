"""The command ``s2s``."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from s2s_algo.checkpoints.artifact import Artifact, load_artifact, save_artifact
from s2s_algo.cli import main
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from tests.unit.small_model import SOURCE_SIZE, TARGET_SIZE, small_model, vocabulary

ROOT = Path(__file__).parents[2]
DOCUMENTATION = ROOT / "docs" / "hyperparameters.md"

TARGET_WORDS = ("ö", "漢字", "🎉", "a", "b", "c", "d")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of an artifact whose translations differ from sentence to sentence."""
    folder = tmp_path_factory.mktemp("model")
    limits = LengthLimits(max_input_length=6, ratio_mean=1.2, ratio_std=0.2, max_output_length=7)
    target = Vocabulary.from_tokens([*SPECIAL_TOKENS, *TARGET_WORDS])
    assert len(target) == TARGET_SIZE
    inference = InferenceConfig(beam_size=3, limits=limits)
    save_artifact(Artifact(small_model(scale=2.0), inference, vocabulary(SOURCE_SIZE), target), folder)
    return folder


def run(*arguments, text=""):
    """Runs the command in this process."""
    return CliRunner().invoke(main, list(map(str, arguments)), input=text)


def translate(model, text, *options):
    """The lines that the command answers a text with."""
    result = run("translate", "--model", model, *options, text=text)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("\n") or not text
    return result.stdout.split("\n")[:-1]


def expected(model, line, **options):
    translator = Translator.load(model)
    return translator.translate([translator.source_vocabulary.encode(line)])[0]


LINES = ["w4 w5 w6", "", "w7", "   ", "w8 unheard w4", "w4 " * 15]


def test_translate_answers_every_line_with_one_line(model):
    answers = translate(model, "".join(f"{line}\n" for line in LINES))
    assert answers == [expected(model, line).text for line in LINES]
    assert answers[1] == answers[3] == ""
    assert len({*answers}) > 3


def test_translate_answers_the_last_line_even_if_it_does_not_end(model):
    assert translate(model, "w4 w5\nw7") == translate(model, "w4 w5\nw7\n")


def test_translate_in_fewer_bits(model, monkeypatch):
    loaded = []
    load = Translator.load
    monkeypatch.setattr(Translator, "load", lambda folder, **how: loaded.append(how) or load(folder, **how))
    assert len(translate(model, "w4 w5\nw6\n", "--precision", "int8")) == 2
    assert loaded == [{"precision": "int8"}]
    assert "'int4' is not one of 'float32', 'bfloat16', 'int8'" in run("translate", "--precision", "int4").output


def test_evaluate_prints_a_row_per_precision_and_signatures(model, tmp_path):
    lines = [f"w{number % 9 + 4} w{number % 7 + 4}" for number in range(20)]
    (tmp_path / "source").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "target").write_text("".join(f"{expected(model, line).text}\n" for line in lines))
    precisions = ["--precision", "float32", "--precision", "bfloat16", "--precision", "int8"]
    result = run("evaluate", tmp_path / "source", tmp_path / "target", "--model", model, *precisions)
    assert result.exit_code == 0, result.output
    head, _, *rows, _, bleu, chrf, ter = result.stdout.splitlines()
    assert head.split() == ["precision", "BLEU", "chrF2", "TER", "exact", "same", "sentences/s"]
    assert [row.split()[0] for row in rows] == ["float32", "bfloat16", "int8"]
    cells = rows[0].split()
    assert cells[1:-1] == ["100.00", "±", "0.00"] * 2 + ["0.00", "±", "0.00", "100.0%", "100.0%"]
    assert float(cells[-1]) > 0
    assert [line.split("|")[0] for line in (bleu, chrf, ter)] == ["BLEU", "chrF2", "TER"]


def test_evaluate_says_what_is_wrong_with_the_texts(model, tmp_path):
    (tmp_path / "source").write_text("w4\nw5\n")
    (tmp_path / "target").write_text("w4\n")
    result = run("evaluate", tmp_path / "source", tmp_path / "target", "--model", model)
    assert result.exit_code == 2
    assert "ClientError: " in result.stderr
    assert "source has 2 lines" in result.stderr


def test_translate_answers_nothing_with_nothing(model):
    assert translate(model, "") == []


def test_translate_goes_on_over_many_more_lines_than_it_reads_at_once(model):
    lines = [f"w{4 + number % 9}" for number in range(600)]
    answers = translate(model, "\n".join(lines), "--beam-size", "1")
    assert len(answers) == 600
    assert answers == (answers[:9] * 67)[:600]


def test_translate_knows_only_the_line_feed_as_the_end_of_a_line(model):
    for blank in ("\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"):
        assert translate(model, f"w4{blank}w5\n") == translate(model, "w4 w5\n")
    assert translate(model, "w4 w5\r\nw7\r\n") == translate(model, "w4 w5\nw7\n")


def test_translate_reads_and_writes_utf_8_in_every_locale(model):
    done = subprocess.run(
        [Path(sys.executable).with_name("s2s"), "translate", "--model", model],
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict", "OMP_NUM_THREADS": "1"},
        input=b"\xef\xbb\xbfw4 w5\nw6 \xff w7\n",
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode("utf-8").splitlines() == translate(model, "w4 w5\nw6 unheard w7\n")
    assert not done.stdout.isascii()


def test_translate_with_json_tells_tokens_score_and_attention(model):
    (line,) = translate(model, "w4 w5 w6\n", "--json")
    answer, translation = json.loads(line), expected(model, "w4 w5 w6")
    assert list(answer) == ["translation", "tokens", "score", "attention", "source_tokens"]
    assert answer["source_tokens"] == ["w4", "w5", "w6"]
    assert answer["translation"] == translation.text == " ".join(answer["tokens"])
    assert answer["score"] == pytest.approx(translation.score)
    assert np.shape(answer["attention"]) == (len(answer["tokens"]), 3)
    assert np.sum(answer["attention"], axis=1) == pytest.approx(1, abs=1e-5)
    assert any(word in line for word in ("ö", "漢字", "🎉")), "words should not be escaped"


def test_translate_with_json_answers_a_blank_line_with_an_empty_translation(model):
    (line,) = translate(model, "\n", "--json")
    assert json.loads(line) == {
        "translation": "",
        "tokens": [],
        "score": 0.0,
        "attention": [],
        "source_tokens": [],
    }


def test_translate_with_scores_puts_score_and_tab_before_each_line(model):
    (line,) = translate(model, "w4 w5 w6\n", "--scores")
    score, text = line.split("\t")
    assert text == expected(model, "w4 w5 w6").text
    assert float(score) == pytest.approx(expected(model, "w4 w5 w6").score, abs=1e-6)


def test_translate_with_n_best_lists_the_best_first(model):
    lines = translate(model, "w4 w5 w6\n\nw7\n", "--n-best", "3")
    numbers, texts, scores = zip(*(line.split(" ||| ") for line in lines), strict=True)
    assert numbers == ("0", "0", "0", "1", "2", "2", "2")
    assert [float(score) for score in scores[:3]] == sorted(float(score) for score in scores[:3])
    assert texts[0] == expected(model, "w4 w5 w6").text
    assert len({*texts[:3]}) == 3


def test_translate_with_n_best_and_json_lists_them_in_one_object(model):
    (line,) = translate(model, "w4 w5 w6\n", "--n-best", "2", "--json")
    answer = json.loads(line)
    assert len(answer["n_best"]) == 2
    assert {name: answer[name] for name in answer if name != "n_best"} == answer["n_best"][0]


def test_translate_takes_another_beam_than_the_model_s_own(model):
    assert translate(model, "w4 w5 w6\n", "--beam-size", "10", "--n-best", "10")[9:]
    result = run("translate", "--model", model, "--beam-size", "11", text="w4\n")
    assert result.exit_code == 2
    assert result.stderr == (
        "ClientError: beam_size: 11 is not in 1 … 10 (the target vocabulary has 11 entries). Choose a smaller beam.\n"
    )


def test_translate_refuses_more_translations_than_the_beam_holds(model):
    result = run("translate", "--model", model, "--n-best", "4", text="w4\n")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "ClientError: n_best: 4 is not in 1 … 3 (the beam size). Ask for fewer translations or raise beam_size.\n"
    )


def test_translate_names_the_folder_that_holds_no_model(tmp_path):
    result = run("translate", "--model", tmp_path, text="w4\n")
    assert result.exit_code == 2
    assert result.stderr == (
        f"ClientError: {tmp_path}/config.json: the file is missing, so the folder holds no model. "
        "Give the folder into which model.tar.gz was unpacked.\n"
    )


@pytest.mark.parametrize("option", ["--beam-size", "--n-best"])
def test_options_that_are_no_positive_integers_are_refused(model, option):
    for value in ("0", "-1", "1.5", "many"):
        result = run("translate", "--model", model, option, value)
        assert result.exit_code == 2
        assert f"Invalid value for '{option}'" in result.stderr


@pytest.fixture
def texts(tmp_path):
    """Four parallel texts."""
    for name, text in {
        "train.en": "a b\n\nb c\n",
        "train.de": "x y\nz\ny y z\n",
        "val.en": "c unknown\n",
        "val.de": "z\n",
    }.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in ("train.en", "train.de", "val.en", "val.de")]


def test_prepare_writes_the_channels_and_tells_what_it_wrote(texts, tmp_path):
    output = tmp_path / "data"
    result = run("prepare", *texts, "--output", output, "--channels")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "train: 2 pairs written; skipped: 1 with an empty side",
        "train: 2.0 source and 2.5 target tokens a pair, 0.00% and 0.00% of them <unk>",
        "validation: 1 pairs written; skipped: 0 with an empty side",
        "validation: 2.0 source and 1.0 target tokens a pair, 50.00% and 0.00% of them <unk>",
        "source vocabulary: 7 entries, of words",
        "target vocabulary: 7 entries, of words",
        *(
            str(output / name)
            for name in ("train/train.rec", "validation/val.rec", "vocab/vocab.src.json", "vocab/vocab.trg.json")
        ),
    ]
    assert {str(path.relative_to(output)) for path in output.rglob("*.*")} == {
        "train/train.rec",
        "validation/val.rec",
        "vocab/vocab.src.json",
        "vocab/vocab.trg.json",
    }


def vocabulary_sizes(texts, output, *options):
    result = run("prepare", *texts, "-o", output, *options)
    assert result.exit_code == 0, result.output
    return [int(size) for size in re.findall(r"vocabulary: (\d+) entries", result.stdout)]


def test_prepare_passes_all_its_options_on(texts, tmp_path):
    options = ("--num-words-source", 1, "--num-words-target", 2, "--word-min-count-source", 2)
    assert vocabulary_sizes(texts, tmp_path / "few", *options) == [5, 6]
    options = ("--word-min-count-source", 3, "--word-min-count-target", 3)
    assert vocabulary_sizes(texts, tmp_path / "none", *options) == [4, 5]
    assert vocabulary_sizes(texts, tmp_path / "one", "--single-vocabulary") == [10, 10]
    given = [tmp_path / "few" / f"vocab.{side}.json" for side in ("src", "trg")]
    options = ("--vocabulary-source", given[0], "--vocabulary-target", given[1])
    assert vocabulary_sizes(texts, tmp_path / "given", *options) == [5, 6]


def test_prepare_passes_the_options_of_subwords_and_filters_on(texts, tmp_path):
    options = ("--subwords-source", 5, "--subwords-target", 5, "--subword-type", "bpe")
    assert vocabulary_sizes(texts, tmp_path / "learnt", *options) == [9, 9]
    models = [tmp_path / "learnt" / f"spm.{side}.model" for side in ("src", "trg")]
    options = ("--subword-model-source", models[1], "--subword-model-target", models[0])
    assert vocabulary_sizes(texts, tmp_path / "given", *options) == [9, 9]
    assert (tmp_path / "given" / "spm.src.model").read_bytes() == models[1].read_bytes()
    result = run(
        "prepare", *texts, "-o", tmp_path / "few", "--max-length", 9, "--max-ratio", "1.2", "--drop-duplicates"
    )
    assert result.stdout.splitlines()[0] == (
        "train: 1 pairs written; skipped: 1 with an empty side, 0 too long, 1 of too unequal lengths, "
        "0 equal to an earlier one"
    )


def test_prepare_reads_files_of_both_languages(texts, tmp_path):
    (tmp_path / "train.tsv").write_text("a b\tx y\n")
    (tmp_path / "val.tmx").write_text(
        '<tmx><body><tu><tuv xml:lang="en"><seg>c</seg></tuv><tuv xml:lang="de"><seg>z</seg></tuv></tu></body></tmx>'
    )
    languages = ("--source-language", "en", "--target-language", "de")
    for files, options in (
        (texts[2:], ("--train", tmp_path / "train.tsv")),
        (texts[:2], ("--validation", tmp_path / "val.tmx", *languages)),
        ((), ("--train", tmp_path / "train.tsv", "--validation", tmp_path / "val.tmx", *languages)),
    ):
        result = run("prepare", *files, *options, "-o", tmp_path / "data")
        assert result.exit_code == 0, result.output
        assert f"train: {2 if files == texts[:2] else 1} pairs written" in result.stdout


def test_prepare_tells_what_is_wrong_in_one_line(texts, tmp_path):
    result = run("prepare", *texts[:3], tmp_path / "absent", "-o", tmp_path / "data")
    assert result.exit_code == 2
    assert result.stderr == f"ClientError: cannot read {tmp_path}/absent: No such file or directory\n"
    result = run("prepare", *texts, "-o", tmp_path / "data", "--vocabulary-source", texts[0])
    assert result.exit_code == 2
    assert result.stderr.startswith("ClientError: a source vocabulary is given without a target vocabulary; ")


def test_prepare_tells_when_the_disk_refuses(texts, tmp_path):
    (tmp_path / "data").write_text("in the way")
    result = run("prepare", *texts, "-o", tmp_path / "data" / "below")
    assert result.exit_code == 3
    assert result.stderr.startswith("InternalServerError: ")
    assert str(tmp_path / "data") in result.stderr


def test_the_documented_hyperparameters_are_those_that_the_command_describes():
    result = run("describe", "hyperparameters")
    assert result.exit_code == 0
    assert result.stdout == DOCUMENTATION.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "command", [(), ("translate",), ("prepare",), ("describe",), ("describe", "hyperparameters"), ("describe", "model")]
)
def test_every_command_explains_itself(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(('main', *command))} [OPTIONS]")


def test_an_unknown_command_is_refused_with_where_to_look():
    result = run("tranlsate")
    assert result.exit_code == 2
    assert "No such command 'tranlsate'" in result.stderr
    assert "--help" in result.stderr


def test_the_version_is_that_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith(f" {version}")


# import

SOCKEYE = Path(__file__).parents[1] / "golden" / "models" / "cnn_cnn_glu_1.10.5"


def test_import_writes_a_model_that_translates_as_the_imported_one(tmp_path):
    result = run("import", SOCKEYE, "--output", tmp_path / "new" / "model")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Sockeye 1.10.5 model written to {tmp_path}/new/model\n"
    inputs = [entry["input"] for entry in json.loads((SOCKEYE / "translate.json").read_text())["inputs"]]
    text = "".join(f"{line}\n" for line in inputs)
    golden = [entry["beam5"]["translation"] for entry in json.loads((SOCKEYE / "translate.json").read_text())["inputs"]]
    assert translate(tmp_path / "new" / "model", text) == translate(SOCKEYE, text) == golden


def test_import_takes_an_archive_and_writes_nothing_beside_the_output(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        for path in SOCKEYE.iterdir():
            tar.add(path, arcname=path.name)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert run("import", "model.tar.gz", "-o", "out").exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"model.tar.gz", "out", "temporary"}
    assert list((tmp_path / "temporary").iterdir()) == []
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "config.json",
        "metrics.json",
        "model.safetensors",
        "vocab.src.json",
        "vocab.trg.json",
    }


def test_a_score_that_json_cannot_hold_is_null(model, tmp_path):
    artifact = load_artifact(model)
    with torch.no_grad():
        artifact.model.output_layer.bias[3] = 100  # it ends before it has begun
    inference = artifact.inference.model_copy(update={"ranking": "normalized_at_end_without_eos"})
    save_artifact(replace(artifact, inference=inference), tmp_path)
    (line,) = translate(tmp_path, "w4 w5\n", "--json", "--beam-size", "1")
    answer = json.loads(line, parse_constant=pytest.fail)
    assert (answer["translation"], answer["score"]) == ("", None)


def test_import_overwrites_nothing(model, tmp_path):
    result = run("import", SOCKEYE, "-o", model)
    assert result.exit_code == 2
    assert f"{model} is there already. Name a folder that is new or empty." in result.stderr
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert f"{tmp_path / 'link'} is there already" in run("import", SOCKEYE, "-o", tmp_path / "link").stderr
    (tmp_path / "file").write_text("mine")
    assert run("import", SOCKEYE, "-o", tmp_path / "file").exit_code == 2
    result = run("import", SOCKEYE, "-o", tmp_path / "file" / "deeper")
    assert result.exit_code == 2
    assert f"{tmp_path / 'file' / 'deeper'} would lie in a file. Name a folder that is new or empty." in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_import_of_something_else_is_an_error_and_leaves_no_output(model, tmp_path):
    result = run("import", model, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == (
        f"ClientError: {model}: neither it nor a folder directly in it holds a file config. Give the folder of a model "
        "that was trained with Sockeye 1, or a tar.gz of it; a model of s2s, which has a config.json, needs no "
        "import.\n"
    )
    assert not (tmp_path / "out").exists()


HYPERPARAMETERS = {
    "rnn_num_hidden": "6",
    "num_embed_source": "4",
    "num_embed_target": "3",
    "rnn_attention_type": "dot",
    "batch_size": "8",
    "max_seq_len_source": "9",
    "max_seq_len_target": "7",
    "beam_size": "2",
}


@pytest.fixture
def described(tmp_path):
    """A file of hyperparameters, and how to describe what is in it."""
    file = tmp_path / "hyperparameters.json"

    def describe(values, *options):
        file.write_text(json.dumps(values))
        return run("describe", "model", "--hyperparameters", file, *options)

    return describe


SIZES = ("--source-vocabulary-size", SOURCE_SIZE, "--target-vocabulary-size", TARGET_SIZE)


def test_describe_model_lists_layers_shapes_counts_and_memory(described, tmp_path):
    result = described(HYPERPARAMETERS, *SIZES)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        f"hyperparameters: {tmp_path / 'hyperparameters.json'}",
        "vocabulary sizes: source 13, target 11",
    ]
    cells = [line.split() for line in lines]
    assert ["layer", "parameter", "shape", "count"] in cells
    assert ["source", "embedding", "52"] in cells
    assert ["weight", "13", "x", "4", "52"] in cells
    assert ["backward_layer", "weight_hh_l0", "12", "x", "3", "36"] in cells
    assert ["attention", "0"] in cells
    assert ["layers.0", "weight_ih", "24", "x", "9", "216"] in cells
    assert ["output", "layer", "77"] in cells
    assert "training with 8 pairs of 9 source and 8 target positions" in result.stdout
    assert "serving 160 sentences of 9 source and 8 target positions with beam 2" in result.stdout
    for beginning in (
        "weights",
        "gradients",
        "optimizer state (adam)",
        "logits, 2 x 64 x 11, and the output layer's gradient",
        "sum",
    ):
        assert any(line.startswith(beginning) for line in lines)
    assert lines[-1] == "model.safetensors: 0.0 MiB"


def test_describe_model_aligns_its_columns(described):
    table = described(HYPERPARAMETERS, *SIZES).stdout.split("\n\n")[1].splitlines()
    assert len({len(line) for line in table}) == 1
    assert table[1].replace(" ", "") == "-" * len(table[1].replace(" ", ""))


def test_describe_model_with_json_says_the_same_in_bytes(described):
    answer = json.loads(described(HYPERPARAMETERS, *SIZES, "--json").stdout)
    assert answer["vocabulary_sizes"] == {"source": 13, "target": 11}
    assert answer["hyperparameters"]["rnn_num_hidden"] == 6
    assert answer["count"] == sum(part["count"] for part in answer["parts"])
    for part in answer["parts"]:
        assert part["count"] == sum(parameter["count"] for parameter in part["parameters"])
    memory = answer["memory"]
    assert list(memory) == ["training", "serving"]
    for estimate in memory.values():
        assert estimate["items"]["weights"] == 4 * answer["count"]
        assert estimate["total"] == sum(estimate["items"].values()) >= estimate["peak"] > 0
    assert memory["training"]["items"]["optimizer_state"] == 8 * answer["count"]
    assert memory["training"]["items"]["logits"] == 4 * 11 * (2 * 8 * 8 + 6 + 1)
    assert 0 < answer["model_file"] - 4 * answer["count"] < 4000


def test_describe_model_without_a_file_takes_all_defaults_and_the_largest_vocabularies():
    result = run("describe", "model")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == [
        "hyperparameters: all defaults",
        "vocabulary sizes: source 50,004, target 50,004",
    ]
    assert "123,450,196" in result.stdout
    assert result.stderr.startswith("WARNING: checkpoint_threshold: 3 is plateau_reduce_lr_threshold too")


def test_describe_model_names_all_problems_as_a_job_does(described):
    result = described({"rnn_num_hidden": "7", "batch_size": "x", "hidden": "1"}, "--target-vocabulary-size", 5)
    assert result.exit_code == 2
    assert result.stdout == ""
    problems = ("rnn_num_hidden: '7'", "batch_size: 'x'", "'hidden' was unexpected", "beam_size: 5 is not in 1 … 4")
    for problem in problems:
        assert problem in result.stderr


def test_describe_model_refuses_what_is_no_file_of_hyperparameters(tmp_path):
    result = run("describe", "model", "--hyperparameters", tmp_path / "absent.json")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
    (tmp_path / "list.json").write_text("[]")
    result = run("describe", "model", "--hyperparameters", tmp_path / "list.json")
    assert result.exit_code == 2
    assert "list.json" in result.stderr


def test_describe_model_refuses_vocabularies_without_room_for_the_special_tokens():
    for option in ("--source-vocabulary-size", "--target-vocabulary-size"):
        result = run("describe", "model", option, "3")
        assert result.exit_code == 2
        assert f"Invalid value for '{option}'" in result.stderr


def test_describe_hyperparameters_loads_no_torch():
    code = (
        "import sys\nfrom s2s_algo.cli import main\n"
        "main(['describe', 'hyperparameters'], standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
