"""Translation memories."""

import gzip
import tracemalloc
from itertools import pairwise

import pytest

from s2s_algo.data.tmx import read_tmx
from s2s_algo.errors import ClientError

HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4">'


def unit(**sentences):
    variants = (f'<tuv xml:lang="{name.replace("_", "-")}"><seg>{text}</seg></tuv>' for name, text in sentences.items())
    return f"<tu>{''.join(variants)}</tu>\n"


def memory(tmp_path, *units, header=HEADER):
    path = tmp_path / "memory.tmx"
    path.write_text(f'{header}<header srclang="en"/><body>\n{"".join(units)}</body></tmx>', encoding="utf-8")
    return path


def read(path, source="en", target="de"):
    return list(read_tmx(path, source, target))


def failure(path, source="en", target="de"):
    with pytest.raises(ClientError) as error:
        read(path, source, target)
    return str(error.value)


def test_a_unit_is_a_pair_in_the_asked_direction(tmp_path):
    path = memory(tmp_path, unit(en="a &amp; b", de="ä", fr="é"), unit(de="ö", en="o"))
    assert read(path) == [("a & b", "ä"), ("o", "ö")]
    assert read(path, "fr", "de") == [("é", "ä"), ("", "ö")]


def test_packed_files_are_unpacked(tmp_path):
    plain = memory(tmp_path, unit(en="a", de="b"))
    packed = tmp_path / "memory.tmx.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(packed) == [("a", "b")]


def test_other_encodings_are_read(tmp_path):
    path = memory(tmp_path, unit(en="a", de="ä"))
    path.write_bytes(path.read_text(encoding="utf-8").replace("UTF-8", "UTF-16").encode("utf-16"))
    assert read(path) == [("a", "ä")]


@pytest.mark.parametrize(
    ("asked", "written"), [("en", "EN"), ("EN", "en"), ("en", "en_US"), ("en", "en_gb"), ("en-us", "EN_US")]
)
def test_languages_match_without_case_and_with_their_regions(asked, written, tmp_path):
    assert read(memory(tmp_path, unit(**{written: "a", "de": "b"})), asked) == [("a", "b")]


def test_a_region_is_not_its_language_and_no_other_one(tmp_path):
    path = memory(tmp_path, unit(en="a", en_US="b", eng="c", de="x"))
    assert read(path, "en-US") == [("b", "x")]
    assert read(path, "en") == [("a", "x")]
    assert read(path, "eng") == [("c", "x")]


def test_older_files_name_languages_without_a_prefix(tmp_path):
    path = memory(tmp_path, unit(en="a", de="b").replace("xml:lang", "lang"))
    assert read(path) == [("a", "b")]


def test_text_of_nested_tags_is_kept_and_codes_of_programs_are_not(tmp_path):
    source = 'a <hi type="b">bold <hi>word</hi></hi>, <bpt i="1">{\\b <sub>x</sub></bpt>c<ept i="1">}</ept> <ph/>d'
    path = memory(tmp_path, unit(en=source, de="\n  b\n\t c "))
    assert read(path) == [("a bold word, c d", "b c")]


def test_text_outside_of_sentences_is_not_read(tmp_path):
    note = "<note>note</note><prop>x</prop>"
    inside = unit(en="a", de="b").replace("<seg>", note + "<seg>").replace("<tu>", "<tu>" + note)
    assert read(memory(tmp_path, inside)) == [("a", "b")]


def test_sentences_of_a_language_that_a_unit_lacks_are_blank(tmp_path):
    path = memory(tmp_path, unit(en="a", de="b"), unit(en="c"), unit(fr="d"), unit(de="e", en=""))
    assert read(path) == [("a", "b"), ("c", ""), ("", ""), ("", "e")]


def test_languages_that_are_not_there_are_told_with_those_that_are(tmp_path):
    path = memory(tmp_path, unit(fr="a", it="b"), unit(en="c"))
    assert failure(path) == (
        f"{path} has no unit with a sentence in en and one in de; its languages are: en, fr, it. "
        "Choose two of them with --source-language and --target-language"
    )


@pytest.mark.parametrize(("source", "target"), [("en", "en"), ("en", "EN-us"), ("en_US", "en")])
def test_languages_that_cannot_be_told_apart_are_refused(source, target, tmp_path):
    path = memory(tmp_path, unit(en="a"))
    assert failure(path, source, target) == (
        f"the languages {source} and {target} cannot be told apart in {path}; "
        "name another --source-language or --target-language"
    )


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (f"{HEADER}<body>\n<tu>\n</body></tmx>", 5, "mismatched tag"),
        (f"{HEADER}<body>\n", 4, "no element found"),
        ("<tmx>\n&nbsp;</tmx>", 2, "undefined entity"),
        ("no XML", 1, "syntax error"),
        ("", 1, "no element found"),
    ],
)
def test_broken_xml_is_refused_with_its_line(content, line, reason, tmp_path):
    path = tmp_path / "memory.tmx"
    path.write_text(content)
    assert failure(path) == f"{path}, line {line}: broken XML: {reason}; export the translation memory again"


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [("shift_jis", "multi-byte encodings are not supported"), ("none-such", "unknown encoding: none-such")],
)
def test_encodings_that_cannot_be_read_are_refused(encoding, reason, tmp_path):
    path = tmp_path / "memory.tmx"
    path.write_text(f"<?xml version='1.0' encoding='{encoding}'?>\n<tmx/>")
    assert failure(path) == f"{path}: its encoding cannot be read ({reason}); save it as UTF-8"


def test_other_xml_is_refused(tmp_path):
    path = tmp_path / "memory.tmx"
    path.write_text("<?xml version='1.0'?>\n<html/>")
    assert failure(path) == f"{path}, line 2: the file begins with <html>, but a translation memory with <tmx>"


def test_entities_cannot_blow_up(tmp_path):
    names = "abcdefghijkl"
    entities = '<!ENTITY a "lol">' + "".join(
        f'<!ENTITY {name} "' + 10 * f"&{before};" + '">' for before, name in pairwise(names)
    )
    path = memory(tmp_path, unit(en="&l;", de="b"), header=f"<!DOCTYPE tmx [{entities}]><tmx>")
    assert (
        failure(path) == f"{path}, line 1: the file declares the entity 'a', which is not read; replace it by its text"
    )


def test_files_of_the_machine_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("secret")
    header = f'<!DOCTYPE tmx [<!ENTITY x SYSTEM "{tmp_path}/secret">]><tmx>'
    assert "declares the entity 'x'" in failure(memory(tmp_path, unit(en="&x;", de="b"), header=header))


def test_entities_of_a_document_type_elsewhere_are_refused_rather_than_lost(tmp_path):
    path = memory(tmp_path, unit(en="caf&eacute;", de="b"))
    assert failure(path) == f"{path}, line 4: the entity &eacute; is not known here; replace it by its text"


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = memory(tmp_path, *[unit(en="word " * 20, de="Wort " * 20)] * 20_000)
    size = path.stat().st_size
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_tmx(path, "en", "de")) == 20_000
        assert tracemalloc.get_traced_memory()[1] < size / 5
    finally:
        tracemalloc.stop()
