"""Parallel text to channel files."""

import dataclasses
import gzip

import pytest

from s2s_algo.data.channels import read_channels
from s2s_algo.data.corpus import build_corpus
from s2s_algo.data.pairs import parse_pair
from s2s_algo.data.prepare import PairCounts, PrepareOptions, PrepareReport, build_vocabulary, prepare
from s2s_algo.data.recordio import split_framed
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
        train_source=tmp_path / "train.en",
        train_target=tmp_path / "train.de",
        validation_source=tmp_path / "val.en",
        validation_target=tmp_path / "val.de",
        output=tmp_path / "out" / "deep",
    )


def with_text(options, source, target):
    """The same options with other training texts."""
    for path, text in ((options.train_source, source), (options.train_target, target)):
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
    assert report == PrepareReport(PairCounts(2, 0), PairCounts(1, 0), 7, 7, files)
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


def test_frequent_words_come_first_and_ties_in_reverse_alphabetical_order():
    assert build_vocabulary(["b a d c b", "é c"], 99, 1).tokens == (*SPECIAL_TOKENS, "c", "b", "é", "d", "a")


def test_the_number_of_words_does_not_count_special_symbols():
    assert build_vocabulary(["b a d c b", "c"], 3, 1).tokens == (*SPECIAL_TOKENS, "c", "b", "d")


def test_rare_words_can_be_left_out():
    assert build_vocabulary(["b a d c b", "c"], 99, 2).tokens == (*SPECIAL_TOKENS, "c", "b")


def test_special_symbols_in_the_text_are_not_counted():
    assert build_vocabulary(["<s> a <pad> </s> <unk>"], 99, 1).tokens == (*SPECIAL_TOKENS, "a")


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
    assert prepare(with_text(options, "a\u2028b\r\nc", "x\ny\n")).train == PairCounts(2, 0)


def test_pairs_with_a_blank_side_are_skipped_but_their_words_count(options):
    report = prepare(with_text(options, "a\n\nb\n \u00a0\n", "x\ny\n\n\n"))
    assert report.train == PairCounts(1, 3)
    assert tokens(options) == [("a", "x")]
    assert words(options.output / "vocab.trg.json") == ("y", "x")


def test_gz_files_are_unpacked(options):
    packed = options.train_source.with_suffix(".gz")
    packed.write_bytes(gzip.compress("ä ö\nü\n".encode()))
    prepare(dataclasses.replace(options, train_source=packed))
    assert tokens(options) == [("ä ö", "x y"), ("ü", "y y z")]


@pytest.mark.parametrize("damage", [lambda data: data[:-12], lambda data: b"no gzip", lambda data: data[:12] + data])
def test_a_damaged_gz_file_is_refused(options, damage):
    packed = options.train_source.with_suffix(".gz")
    packed.write_bytes(damage(gzip.compress(b"a b c\n" * 1000)))
    assert failure(dataclasses.replace(options, train_source=packed)).startswith(f"cannot read {packed}: ")


def test_bytes_that_are_not_utf_8_are_replaced(options):
    prepare(with_text(options, b"caf\xe9 a\n", b"x\n"))
    assert tokens(options) == [("caf\ufffd a", "x")]


def test_a_byte_order_mark_is_no_part_of_the_first_word(options):
    prepare(with_text(options, b"\xef\xbb\xbfa\n", b"x\n"))
    assert tokens(options) == [("a", "x")]


def test_texts_of_different_lengths_are_refused_with_both_counts(options):
    message = failure(with_text(options, "a\n" * 3, "x\n" * 5))
    assert message == (
        f"{options.train_source} has 3 lines, {options.train_target} has 5; line n of one must be the translation "
        "of line n of the other, so nothing was written"
    )


def test_a_failure_leaves_earlier_output_and_nothing_half_written(options):
    prepare(options)
    before = {path.name: path.read_bytes() for path in options.output.iterdir()}
    options.validation_target.write_text("z\nz\n")
    failure(with_text(options, "other\n", "words\n"))
    assert {path.name: path.read_bytes() for path in options.output.iterdir()} == before


def test_texts_without_a_single_pair_are_refused(options):
    message = failure(with_text(options, "a\n\n", "\nx\n"))
    assert message.endswith("hold no pair of lines of which neither is blank")


def test_a_missing_text_is_named(options):
    options.train_target.unlink()
    assert failure(options) == f"cannot read {options.train_target}: No such file or directory"


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
        prepare(dataclasses.replace(options, output=options.train_source))


def test_an_output_that_cannot_be_written_is_a_platform_error(options):
    with pytest.raises(PlatformError, match=r"cannot write to .*train\.en/below: Not a directory"):
        prepare(dataclasses.replace(options, output=options.train_source / "below"))


def test_equal_texts_give_equal_bytes(options):
    prepare(options)
    first = (options.output / "train.rec").read_bytes()
    prepare(options)
    assert (options.output / "train.rec").read_bytes() == first
