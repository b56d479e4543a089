"""Parallel text in several formats."""

import gzip
from pathlib import Path

import pytest

from s2s_algo.data.parallel_text import TabSeparated, TranslationMemory, TwoTexts, open_corpora
from s2s_algo.errors import ClientError

TEXT = b" a  b \n\nc\n"


def written(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def failure(text):
    with pytest.raises(ClientError) as error:
        list(text.pairs())
    return str(error.value)


@pytest.mark.parametrize("names", [("a.en", "a.de"), ("a.en.gz", "a.de"), ("a.en.gz", "a.de.gz")])
def test_two_texts_are_read_line_by_line(names, tmp_path):
    source, target = written(tmp_path / names[0], TEXT), written(tmp_path / names[1], b"x\r\ny\nz")
    text = TwoTexts(source, target)
    assert list(text.pairs()) == [("a  b", "x"), ("", "y"), ("c", "z")]
    assert list(text.pairs()) == list(text.pairs())
    assert str(text) == f"{source} and {target}"


@pytest.mark.parametrize("name", ["a.en", "a.en.gz"])
def test_line_feeds_alone_end_lines(name, tmp_path):
    source, target = written(tmp_path / name, b"a\rb\r\nc\n"), written(tmp_path / "a.de", b"x\ny\x0b\xc2\x85z\r\n")
    assert list(TwoTexts(source, target).pairs()) == [("a\rb", "x"), ("c", "y\x0b\x85z")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.en", "a.en.gz"])
def test_utf_16_is_refused(name, encoding, tmp_path):
    source, target = written(tmp_path / name, "\ufeffa\n".encode(encoding)), written(tmp_path / "a.de", b"x\n")
    assert failure(TwoTexts(source, target)) == f"{source} is UTF-16; save it as UTF-8"


@pytest.mark.parametrize(("lines", "other_lines"), [(3, 5), (5, 3), (0, 1), (1, 0)])
def test_texts_of_other_numbers_of_lines_are_refused_with_both(lines, other_lines, tmp_path):
    source, target = written(tmp_path / "a.en", b"a\n" * lines), written(tmp_path / "a.de", b"x\n" * other_lines)
    assert failure(TwoTexts(source, target)) == (
        f"{source} has {lines} lines, {target} has {other_lines}; line n of one must be the translation of line n of "
        "the other"
    )


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_a_line_of_tsv_is_a_pair(name, tmp_path):
    path = written(tmp_path / name, "\ufeffa b\tx\r\n\t\n\n \n\"c\t'z \n".encode())
    assert list(TabSeparated(path).pairs()) == [("a b", "x"), ("", ""), ("", ""), ("", ""), ('"c', "'z")]
    assert str(TabSeparated(path)) == str(path)


@pytest.mark.parametrize(("line", "found"), [("no tabs", "no tab"), ("a\tb\tc", "3 columns")])
def test_a_line_of_tsv_with_other_columns_is_refused_with_its_number(line, found, tmp_path):
    path = written(tmp_path / "a.tsv", f"a\tx\n{line}\n".encode())
    assert failure(TabSeparated(path)) == (
        f"{path}, line 2: the line {line!r} has {found}; a line must hold a source, one tab and its translation, "
        "so cut out the two columns first"
    )


def test_long_lines_are_not_shown_as_a_whole(tmp_path):
    assert len(failure(TabSeparated(written(tmp_path / "a.tsv", b"x" * 100_000)))) < 400


# -- which files are opened how


def test_names_tell_formats(tmp_path):
    texts = [tmp_path / name for name in ("a", "b", "c", "d")]
    tsv, tmx = tmp_path / "A.TSV.gz", tmp_path / "a.tmx"
    assert open_corpora(texts) == (TwoTexts(*texts[:2]), TwoTexts(*texts[2:]))
    assert open_corpora(texts[:2], train=tsv) == (TabSeparated(tsv), TwoTexts(*texts[:2]))
    memory = TranslationMemory(tmx, "en", "de")
    assert open_corpora(texts[:2], None, tmx, "en", "de") == (TwoTexts(*texts[:2]), memory)
    assert open_corpora([], tmx, tsv, "en", "de") == (memory, TabSeparated(tsv))


@pytest.mark.parametrize(
    ("texts", "files", "message"),
    [
        (
            ["a", "b"],
            {},
            "2 texts are given, but 4 are needed: source and target to train on unless --train names one file of both, "
            "source and target to validate on unless --validation does",
        ),
        (["a", "b", "c", "d"], {"train": "x.tsv"}, "4 texts are given, but 2 are needed: "),
        (["a"], {"train": "x.tsv", "validation": "x.tsv"}, "1 texts are given, but 0 are needed: "),
        (
            ["a", "b"],
            {"train": "x.csv"},
            "x.csv is not a file of both languages, which end in .tsv, .tmx, .tsv.gz or .tmx.gz; give a text per "
            "language without --train and --validation",
        ),
        (
            ["a", "b"],
            {"train": "x.tmx", "source_language": "en"},
            "x.tmx may hold many languages; say which to take with --source-language and --target-language",
        ),
        (
            ["a", "b"],
            {"train": "x.tsv", "source_language": "en"},
            "--source-language and --target-language choose the languages of a .tmx file, but there is none; drop them",
        ),
    ],
)
def test_what_does_not_fit_is_refused(texts, files, message):
    paths = {name: value if "language" in name else Path(value) for name, value in files.items()}
    with pytest.raises(ClientError) as error:
        open_corpora([Path(text) for text in texts], **paths)
    assert str(error.value).startswith(message)
