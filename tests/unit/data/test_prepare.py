"""Parallel text to channel files."""

import dataclasses
import gzip
import io
import math
import random
import re
import sys

import pytest

from s2s_algo.data.channels import read_channels
from s2s_algo.data.corpus import build_corpus
from s2s_algo.data.pair_filter import Skipped
from s2s_algo.data.pairs import parse_pair
from s2s_algo.data.parallel_text import TwoTexts
from s2s_algo.data.prepare import prepare
from s2s_algo.data.prepare_options import PrepareOptions
from s2s_algo.data.prepare_report import ChannelReport, PrepareReport, TokenCounts, VocabularyReport
from s2s_algo.data.recordio import split_framed
from s2s_algo.data.segmentation import Subwords
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.errors import ClientError, PlatformError

FILES = ("train.rec", "val.rec", "vocab.src.json", "vocab.trg.json")


@pytest.fixture
def options(tmp_path):
    texts = {
        "train.en": "a b\nb c\n",
        "train.de": "x y\ny y z\n",
        "val.en": "c unknown\n",
        "val.de": "z\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return PrepareOptions(
        train=TwoTexts(tmp_path / "train.en", tmp_path / "train.de"),
        validation=TwoTexts(tmp_path / "val.en", tmp_path / "val.de"),
        output=tmp_path / "out" / "deep",
    )


def with_text(options, source, target):
    """The same options with other training texts."""
    for path, text in ((options.train.source, source), (options.train.target, target)):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return options


def words(path):
    return Vocabulary.load(path).tokens[len(SPECIAL_TOKENS) :]


def tokens(options, name="train.rec"):
    """The records of an output file, decoded."""
    source, target = (Vocabulary.load(options.output / f"vocab.{side}.json") for side in ("src", "trg"))
    pairs = map(parse_pair, split_framed((options.output / name).read_bytes()))
    return [(" ".join(source.decode(pair.source)), " ".join(target.decode(pair.target))) for pair in pairs]


def failure(options):
    with pytest.raises(ClientError) as error:
        prepare(options)
    return str(error.value)


def test_four_files_are_written(options):
    report = prepare(options)
    files = tuple(options.output / name for name in FILES)
    assert report == PrepareReport(
        ChannelReport(2, {Skipped.EMPTY: 0}, TokenCounts(4, 0), TokenCounts(5, 0)),
        ChannelReport(1, {Skipped.EMPTY: 0}, TokenCounts(2, 1), TokenCounts(1, 0)),
        VocabularyReport(7),
        VocabularyReport(7),
        files,
    )
    assert sorted(options.output.iterdir()) == sorted(files)
    assert tokens(options) == [("a b", "x y"), ("b c", "y y z")]
    assert tokens(options, "val.rec") == [("c <unk>", "z")]


def test_the_channel_layout_can_be_trained_on(options):
    options = dataclasses.replace(options, channels=True)
    report = prepare(options)
    assert [file.relative_to(options.output).as_posix() for file in report.files] == [
        "train/train.rec",
        "validation/val.rec",
        "vocab/vocab.src.json",
        "vocab/vocab.trg.json",
    ]
    channels = read_channels(options.output / "none.json", options.output)
    corpus, _ = build_corpus(channels.train, 7, 7, options.output / "scratch")
    assert Vocabulary.load(channels.vocab.target).decode(corpus.target[1]) == ["y", "y", "z"]


def test_limits_hold_per_side(options):
    prepare(dataclasses.replace(options, num_words_source=1, word_min_count_target=2))
    assert words(options.output / "vocab.src.json") == ("b",)
    assert words(options.output / "vocab.trg.json") == ("y",)


def test_a_single_vocabulary_counts_both_sides_with_the_limits_of_the_source(options):
    prepare(dataclasses.replace(options, single_vocabulary=True, num_words_source=3, num_words_target=1))
    assert words(options.output / "vocab.src.json") == ("y", "b", "z")
    assert words(options.output / "vocab.trg.json") == ("y", "b", "z")


def test_special_symbols_in_the_text_are_looked_up_and_pad_becomes_unk(options):
    prepare(with_text(options, "<s> a <pad>\n", "</s> <unk> <pad>\n"))
    [pair] = [parse_pair(payload) for payload in split_framed((options.output / "train.rec").read_bytes())]
    assert (pair.source, pair.target) == ([2, 4, 1], [3, 1, 1])


def test_words_are_separated_by_any_unicode_white_space(options):
    prepare(with_text(options, "a\u00a0b\u2028c\u3000d\x85e\n", " x \t y \n"))
    assert tokens(options) == [("a b c d e", "x y")]


def test_only_line_ends_separate_pairs(options):
    assert prepare(with_text(options, "a\u2028b\r\nc", "x\ny\n")).train.written == 2


def test_pairs_with_a_blank_side_are_skipped_but_their_words_count(options):
    report = prepare(with_text(options, "a\n\nb\n \u00a0\n", "x\ny\n\n\n"))
    assert (report.train.written, report.train.skipped) == (1, {Skipped.EMPTY: 3})
    assert tokens(options) == [("a", "x")]
    assert words(options.output / "vocab.trg.json") == ("y", "x")


def test_gz_files_are_unpacked(options):
    packed = options.train.source.with_suffix(".gz")
    packed.write_bytes(gzip.compress("ä ö\nü\n".encode()))
    prepare(dataclasses.replace(options, train=TwoTexts(packed, options.train.target)))
    assert tokens(options) == [("ä ö", "x y"), ("ü", "y y z")]


@pytest.mark.parametrize("damage", [lambda data: data[:-12], lambda data: b"no gzip", lambda data: data[:12] + data])
def test_a_damaged_gz_file_is_refused(options, damage):
    packed = options.train.source.with_suffix(".gz")
    packed.write_bytes(damage(gzip.compress(b"a b c\n" * 1000)))
    assert failure(dataclasses.replace(options, train=TwoTexts(packed, options.train.target))).startswith(
        f"cannot read {packed}: "
    )


def test_bytes_that_are_not_utf_8_are_replaced(options):
    prepare(with_text(options, b"caf\xe9 a\n", b"x\n"))
    assert tokens(options) == [("caf\ufffd a", "x")]


def test_a_byte_order_mark_is_no_part_of_the_first_word(options):
    prepare(with_text(options, b"\xef\xbb\xbfa\n", b"x\n"))
    assert tokens(options) == [("a", "x")]


def test_texts_of_different_lengths_are_refused_with_both_counts(options):
    message = failure(with_text(options, "a\n" * 3, "x\n" * 5))
    assert message == (
        f"{options.train.source} has 3 lines, {options.train.target} has 5; line n of one must be the translation "
        "of line n of the other"
    )


def test_a_failure_leaves_earlier_output_and_nothing_half_written(options):
    prepare(options)
    before = {path.name: path.read_bytes() for path in options.output.iterdir()}
    options.validation.target.write_text("z\nz\n")
    failure(with_text(options, "other\n", "words\n"))
    assert {path.name: path.read_bytes() for path in options.output.iterdir()} == before


def test_texts_without_a_single_pair_are_refused(options):
    message = failure(with_text(options, "a\n\n", "\nx\n"))
    assert message == (
        f"no pair of {options.train.source} and {options.train.target} is left to write; skipped: 2 with an empty side"
    )


def test_a_missing_text_is_named(options):
    options.train.target.unlink()
    assert failure(options) == f"cannot read {options.train.target}: No such file or directory"


def test_given_vocabularies_are_used_and_written(options, tmp_path):
    for side, word in (("source", "b"), ("target", "y")):
        Vocabulary.from_tokens([*SPECIAL_TOKENS, word]).save(tmp_path / f"{side}.json")
    prepare(
        dataclasses.replace(
            options, vocabulary_source=tmp_path / "source.json", vocabulary_target=tmp_path / "target.json"
        )
    )
    assert words(options.output / "vocab.src.json") == ("b",)
    assert tokens(options) == [("<unk> b", "<unk> y"), ("b <unk>", "y y <unk>")]


@pytest.mark.parametrize(("side", "other"), [("source", "target"), ("target", "source")])
def test_one_vocabulary_without_the_other_is_refused(options, side, other):
    assert failure(dataclasses.replace(options, **{f"vocabulary_{side}": options.output})) == (
        f"a {side} vocabulary is given without a {other} vocabulary; give both to use them, or none to build both"
    )


def test_given_vocabularies_exclude_a_single_one(options):
    message = failure(
        dataclasses.replace(
            options, vocabulary_source=options.output, vocabulary_target=options.output, single_vocabulary=True
        )
    )
    assert message.startswith("a single vocabulary cannot be built when vocabulary files are given")


@pytest.mark.parametrize("name", ["num_words_source", "word_min_count_target"])
def test_limits_must_be_positive(options, name):
    assert failure(dataclasses.replace(options, **{name: 0})) == f"{name} is 0; it must be 1 or more"


def test_an_output_that_is_a_file_is_named(options):
    with pytest.raises(ClientError, match=r"the output .*train\.en is a file; name a folder"):
        prepare(dataclasses.replace(options, output=options.train.source))


def test_an_output_that_cannot_be_written_is_a_platform_error(options):
    with pytest.raises(PlatformError, match=r"cannot write to .*train\.en/below: Not a directory"):
        prepare(dataclasses.replace(options, output=options.train.source / "below"))


def test_equal_texts_give_equal_bytes(options):
    prepare(options)
    first = (options.output / "train.rec").read_bytes()
    prepare(options)
    assert (options.output / "train.rec").read_bytes() == first


# -- sub-words

SYLLABLES = ["wol", "ken", "son", "ne", "wald", "wie", "se", "re", "gen", "mond", "ster", "nacht", "mor", "bend"]
SUBWORD_FILES = ("spm.src.model", "spm.trg.model")


@pytest.fixture
def raw(options):
    """Raw text, whose target is the source backwards, and validation text with unseen characters."""
    draw = random.Random(1)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(200)]
    lines = [" ".join(draw.choices(words, k=draw.randint(1, 6))).capitalize() + "." for _ in range(300)]
    with_text(options, "\n".join(lines), "\n".join(line[::-1] for line in lines))
    options.validation.source.write_text("Sonne, Mond.\nRegen 漢字.\n", encoding="utf-8")
    options.validation.target.write_text("Unseen.\nWords.\n", encoding="utf-8")
    return options


def subword_model(options, side="src"):
    return Subwords.load(options.output / f"spm.{side}.model")


@pytest.mark.parametrize("subword_type", ["unigram", "bpe"])
def test_pieces_are_learnt_per_side_and_their_models_written(raw, subword_type):
    raw = dataclasses.replace(raw, subwords_source=60, subwords_target=50, subword_type=subword_type)
    report = prepare(raw)
    assert [file.name for file in report.files] == [*FILES, *SUBWORD_FILES]
    assert (report.source, report.target) == (VocabularyReport(64, 60, 60), VocabularyReport(54, 50, 50))
    for side, text, other in (("src", raw.train.source, 0), ("trg", raw.train.target, 1)):
        model = subword_model(raw, side)
        vocabulary = Vocabulary.load(raw.output / f"vocab.{side}.json", raw.output / f"spm.{side}.model")
        assert vocabulary == Vocabulary.of_pieces(model)
        pairs = [parse_pair(payload) for payload in split_framed((raw.output / "train.rec").read_bytes())]
        assert [vocabulary.text(pair[other]) for pair in pairs] == text.read_text(encoding="utf-8").splitlines()


def test_unigram_is_the_default(raw):
    models = []
    for subword_type in (None, "unigram", "bpe"):
        prepare(dataclasses.replace(raw, subwords_source=60, subword_type=subword_type))
        models.append(subword_model(raw))
    assert models[0] == models[1] != models[2]


def test_the_report_tells_what_share_of_the_tokens_is_unknown(raw):
    report = prepare(dataclasses.replace(raw, subwords_source=60))
    assert report.train.source.unknown == report.train.target.unknown == 0
    ids = [parse_pair(payload) for payload in split_framed((raw.output / "val.rec").read_bytes())]
    assert report.validation.source.unknown == sum(pair.source.count(1) for pair in ids) > 0
    assert report.validation.source.all == sum(len(pair.source) for pair in ids)
    assert report.validation.target == TokenCounts(2, 2)


def test_only_one_side_may_have_subwords(raw, tmp_path):
    report = prepare(dataclasses.replace(raw, subwords_target=50))
    assert [file.name for file in report.files] == [*FILES, "spm.trg.model"]
    assert report.source == VocabularyReport(len(words(raw.output / "vocab.src.json")) + 4)
    Vocabulary.from_tokens([*SPECIAL_TOKENS, "Sonne"]).save(tmp_path / "given.json")
    prepare(dataclasses.replace(raw, subwords_target=50, vocabulary_source=tmp_path / "given.json"))
    assert words(raw.output / "vocab.src.json") == ("Sonne",)


def test_a_single_vocabulary_has_one_model_of_both_sides(raw):
    report = prepare(dataclasses.replace(raw, subwords_source=80, single_vocabulary=True, channels=True))
    vocab = raw.output / "vocab"
    models = [(vocab / name).read_bytes() for name in SUBWORD_FILES]
    assert models[0] == models[1]
    assert (vocab / "vocab.src.json").read_bytes() == (vocab / "vocab.trg.json").read_bytes()
    assert report.source == report.target == VocabularyReport(84, 80, 80)
    channels = read_channels(raw.output / "none.json", raw.output)
    joint = channels.vocab.load_target()
    text = (raw.train.source.read_text() + raw.train.target.read_text()).split("\n")
    assert not any(joint.unk_id in joint.encode(line) for line in text)


def test_given_models_are_used_and_written(raw):
    prepare(dataclasses.replace(raw, subwords_source=60, subwords_target=50))
    models = [raw.output / name for name in SUBWORD_FILES]
    other = dataclasses.replace(
        raw, output=raw.output / "other", subword_model_source=models[1], subword_model_target=models[0]
    )
    report = prepare(other)
    assert (report.source, report.target) == (VocabularyReport(54, 50), VocabularyReport(64, 60))
    assert [(other.output / name).read_bytes() for name in SUBWORD_FILES] == [
        path.read_bytes() for path in reversed(models)
    ]
    one = dataclasses.replace(raw, output=raw.output / "one", subword_model_source=models[0], single_vocabulary=True)
    assert prepare(one).target == VocabularyReport(64, 60)


def test_models_of_an_earlier_preparation_do_not_stay_beside_words(raw):
    prepare(dataclasses.replace(raw, subwords_source=60, subwords_target=50, channels=True))
    report = prepare(dataclasses.replace(raw, channels=True))
    assert [file.name for file in report.files] == list(FILES)
    assert sorted(path.name for path in (raw.output / "vocab").iterdir()) == ["vocab.src.json", "vocab.trg.json"]


def test_a_failure_leaves_the_models_of_an_earlier_preparation(raw):
    prepare(dataclasses.replace(raw, subwords_source=60))
    before = {path.name: path.read_bytes() for path in raw.output.iterdir()}
    raw.validation.target.write_text("one line\n")
    failure(dataclasses.replace(raw, subwords_target=50))
    assert {path.name: path.read_bytes() for path in raw.output.iterdir()} == before


def test_too_few_pieces_are_told_with_their_option(raw):
    message = failure(dataclasses.replace(raw, subwords_target=3))
    assert re.fullmatch(
        r"the pieces of --subwords-target cannot be learnt: 3 pieces are fewer than the (\d+) different characters of "
        r"the text; ask for \1 or more",
        message,
    )


def test_a_missing_model_is_named(raw):
    path = raw.output / "absent.model"
    assert failure(dataclasses.replace(raw, subword_model_target=path)) == (
        f"cannot read {path}: there is no such file; name a model of SentencePiece"
    )


def test_a_file_that_is_no_model_is_named(raw):
    path = raw.train.source
    assert failure(dataclasses.replace(raw, subword_model_target=path)) == (
        f"{path}: it is not a model of SentencePiece; copy it again, or train one with s2s prepare"
    )


def test_fewer_pieces_than_asked_for_are_told(raw):
    line = prepare(dataclasses.replace(raw, subwords_source=5000)).source.line("source")
    assert re.fullmatch(
        r"source vocabulary: \d+ entries, of \d{2,3} pieces \(5000 were asked for; the text has no more\)", line
    )


# -- filters


def test_training_pairs_alone_are_filtered_and_every_reason_counted(options):
    text = "a b c d\na b\n\na b\na\na\nb\n", "x\nx y\nx\nx  y\nx y z\nx\nx\n"
    with_text(options, *text)
    options.validation.source.write_text(text[0])
    options.validation.target.write_text(text[1])
    report = prepare(dataclasses.replace(options, max_length=3, max_ratio=2.0, drop_duplicates=True))
    assert report.train == ChannelReport(
        3,
        {Skipped.EMPTY: 1, Skipped.TOO_LONG: 1, Skipped.UNEQUAL: 1, Skipped.DUPLICATE: 1},
        TokenCounts(4, 0),
        TokenCounts(4, 0),
    )
    assert tokens(options) == [("a b", "x y"), ("a", "x"), ("b", "x")]
    assert (report.validation.written, report.validation.skipped) == (6, {Skipped.EMPTY: 1})
    assert list(report.train.lines("train")) == [
        "train: 3 pairs written; skipped: 1 with an empty side, 1 too long, 1 of too unequal lengths, "
        "1 equal to an earlier one",
        "train: 1.3 source and 1.3 target tokens a pair, 0.00% and 0.00% of them <unk>",
    ]


def test_lengths_are_those_of_pieces(raw):
    pieces = prepare(dataclasses.replace(raw, subwords_source=60, subwords_target=60, max_length=8)).train
    all_words = prepare(dataclasses.replace(raw, max_length=8)).train
    assert pieces.skipped[Skipped.TOO_LONG] > 0 == all_words.skipped[Skipped.TOO_LONG]


def test_filters_that_leave_nothing_are_told(options):
    assert failure(dataclasses.replace(options, max_length=1)) == (
        f"no pair of {options.train} is left to write; skipped: 0 with an empty side, 2 too long"
    )


# -- options


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("subwords_source", 0, "subwords_source is 0; it must be 1 or more"),
        ("subwords_target", 10**11, "subwords_target is 100000000000; it must be 1000000 or less"),
        ("max_length", 0, "max_length is 0; it must be 1 or more"),
        *(
            ("max_ratio", value, f"max_ratio is {value}; it is the longer side's tokens per token of the shorter, ")
            for value in (0.5, math.nan)
        ),
    ],
)
def test_numbers_must_make_sense(options, name, value, message):
    assert failure(dataclasses.replace(options, **{name: value})).startswith(message)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("subwords", ["subwords", "subword_model"])
@pytest.mark.parametrize("other", ["num_words", "word_min_count", "vocabulary"])
def test_subwords_exclude_words_on_their_side(options, side, subwords, other):
    both = dataclasses.replace(options, **{f"{subwords}_{side}": 9, f"{other}_{side}": 9})
    assert failure(both) == (
        f"--{subwords}-{side} and --{other}-{side} exclude each other: the tokens of the {side} side are the pieces of "
        "one model, or words; drop one of the two".replace("_", "-")
    )


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_model_is_learnt_or_given(options, side):
    message = failure(dataclasses.replace(options, **{f"subwords_{side}": 9, f"subword_model_{side}": options.output}))
    assert message.startswith(f"--subwords-{side} and --subword-model-{side} exclude each other: ")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"subwords_source": 9, "subwords_target": 9}, "--subwords-target"),
        ({"subwords_target": 9}, "--subwords-target"),
        ({"subword_model_target": "file"}, "--subword-model-target"),
        ({"subwords_source": 9, "num_words_target": 9}, "--num-words-target"),
    ],
)
def test_a_single_vocabulary_has_no_options_of_the_target(options, given, name):
    assert failure(dataclasses.replace(options, single_vocabulary=True, **given)) == (
        f"{name} and --single-vocabulary exclude each other: the options of the source side say what the one model of "
        "both sides is; drop one of the two"
    )


def test_how_to_learn_nothing_is_refused(options):
    assert failure(dataclasses.replace(options, subword_type="bpe")) == (
        "--subword-type says how pieces are learnt, but none are; add --subwords-source or --subwords-target, "
        "or drop it"
    )


# -- what people see meanwhile


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_shown_on_a_terminal_alone(options, monkeypatch):
    for stream, is_shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        prepare(options)
        assert ("writing train.rec" in stream.getvalue()) == is_shown
        assert ("pairs" in stream.getvalue()) == is_shown
