"""Vocabularies in memory and on disk."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s_algo.data.vocabulary import PAD_ID, SPECIAL_TOKENS, Vocabulary
from s2s_algo.errors import ClientError, PlatformError

VOCABULARY = Vocabulary.from_tokens([*SPECIAL_TOKENS, "b", "a"])
GOOD = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, "a": 4}


@pytest.fixture
def load(tmp_path):
    def load_content(content):
        path = tmp_path / "vocab.src.json"
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        path.write_bytes(content)
        return Vocabulary.load(path)

    return load_content


@pytest.fixture
def failure(load, tmp_path):
    def failure_of(content):
        with pytest.raises(ClientError) as error:
            load(content)
        place, _, message = str(error.value).partition(": ")
        assert place == f"{tmp_path / 'vocab.src.json'}"
        return message

    return failure_of


def test_special_symbols_have_their_ids():
    assert (PAD_ID, VOCABULARY.unk_id, VOCABULARY.bos_id, VOCABULARY.eos_id) == (0, 1, 2, 3)
    assert len(VOCABULARY) == 6


def test_unknown_tokens_become_unk():
    assert VOCABULARY.encode("a x b") == [5, 1, 4]


def test_special_symbols_in_text_are_looked_up_except_pad():
    assert VOCABULARY.encode("<s> </s> <unk> <pad>") == [2, 3, 1, 1]


@given(st.text())
def test_no_text_encodes_to_padding(text):
    assert PAD_ID not in VOCABULARY.encode(text)


def test_text_is_split_at_every_unicode_white_space():
    assert VOCABULARY.encode("  a\u00a0b\u2028a\u3000b\tx\r\n") == [5, 4, 5, 4, 1]


def test_empty_text_has_no_ids():
    assert VOCABULARY.encode(" \n") == []


def test_decoding_reverses_the_encoding_of_known_tokens():
    assert VOCABULARY.decode(VOCABULARY.encode("b a </s>")) == ["b", "a", "</s>"]


@pytest.mark.parametrize("id_", [-1, 6])
def test_decoding_refuses_ids_outside_the_vocabulary(id_):
    with pytest.raises(ClientError, match=rf"id {id_} is outside the vocabulary, whose ids are 0 to 5"):
        VOCABULARY.decode([4, id_])


def test_the_order_of_the_special_symbols_is_free_except_for_pad():
    vocabulary = Vocabulary.from_tokens(["<pad>", "a", "</s>", "<unk>", "<s>"])
    assert (vocabulary.unk_id, vocabulary.bos_id, vocabulary.eos_id) == (3, 4, 2)
    assert vocabulary.encode("zzz") == [3]


def test_equal_tokens_make_equal_vocabularies():
    assert Vocabulary.from_tokens(VOCABULARY.tokens) == VOCABULARY
    assert Vocabulary.from_tokens(SPECIAL_TOKENS) != VOCABULARY


def test_a_repeated_token_is_refused():
    with pytest.raises(ClientError, match="token 'a' occurs more than once"):
        Vocabulary.from_tokens([*SPECIAL_TOKENS, "a", "b", "a"])


def test_saving_writes_unescaped_json_with_an_indent_of_four(tmp_path):
    path = tmp_path / "vocab.json"
    Vocabulary.from_tokens([*SPECIAL_TOKENS, "Straße", '"']).save(path)
    expected = '{\n    "<pad>": 0,\n    "<unk>": 1,\n    "<s>": 2,\n    "</s>": 3,\n    "Straße": 4,\n    "\\"": 5\n}'
    assert path.read_bytes() == expected.encode()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
def test_what_is_saved_is_loaded(tmp_path_factory, words):
    path = tmp_path_factory.getbasetemp() / "saved.json"
    vocabulary = Vocabulary.from_tokens(dict.fromkeys([*SPECIAL_TOKENS, *words]))
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary


def test_the_order_in_the_file_does_not_matter(load):
    assert load(dict(reversed(GOOD.items()))).tokens == tuple(GOOD)


def test_a_byte_order_mark_is_tolerated(load):
    assert load(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()).tokens == tuple(GOOD)


@pytest.mark.parametrize("token", ["", " ", "new york", "\x00"])
def test_tokens_that_no_text_can_contain_are_accepted_for_records(load, token):
    assert load(GOOD | {token: 5}).decode([5]) == [token]


def test_a_missing_file_is_the_users_error(tmp_path):
    with pytest.raises(ClientError, match=r".*none\.json: the file does not exist"):
        Vocabulary.load(tmp_path / "none.json")


def test_a_folder_in_place_of_the_file_cannot_be_read(tmp_path):
    with pytest.raises(PlatformError, match="cannot be read"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize("missing", ["<pad>", "<unk>", "<s>", "</s>"])
def test_a_missing_special_symbol_is_named(failure, missing):
    tokens = [token for token in GOOD if token != missing]
    message = failure({token: id_ for id_, token in enumerate(tokens)})
    assert message == f"special symbols missing: {missing}; a vocabulary needs <pad>, <unk>, <s>, </s>"


def test_pad_must_be_zero(failure):
    assert failure(GOOD | {"<pad>": 1, "<unk>": 0}) == "<pad> has id 1; it must have id 0, which pads batches"


def test_shared_ids_name_both_tokens(failure):
    assert failure(GOOD | {"b": 4}) == "tokens 'a' and 'b' share the id 4; ids must be unique"


@pytest.mark.parametrize("id_", [6, -1, 10**90])
def test_gaps_are_named(failure, id_):
    message = failure(GOOD | {"b": id_})
    assert message.startswith("token 'b' has the id ")
    assert message.endswith("; 6 tokens must have the ids 0 to 5 without gaps")
    assert len(message) < 150


@pytest.mark.parametrize(
    ("id_", "shown"),
    [("5", "'5'"), (5.0, "5.0"), (True, "true"), (None, "null"), ([5], "of JSON type array")],
)
def test_ids_that_are_not_integers_are_named(failure, id_, shown):
    assert failure(GOOD | {"b": id_}) == f"token 'b' has the id {shown}; ids must be integers"


def test_repeated_json_keys_are_refused(failure):
    assert failure('{"<pad>": 0, "a": 1, "a": 2}') == "'a' given more than once; pass each name once"


def test_bytes_that_are_not_utf_8_are_refused(failure):
    assert failure('{"<pad>": 0, "é": 1}'.encode("latin-1")) == "byte 14 is not UTF-8; save the file as UTF-8"


def test_half_a_surrogate_pair_is_refused(failure):
    message = failure('{"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, "\\ud800": 4}')
    assert message == r"token '\ud800' (id 4) is not Unicode text: it holds half a surrogate pair"


@pytest.mark.parametrize("content", ["", "{", "{]", '{"a": 1} x'])
def test_what_is_not_json_is_refused(failure, content):
    message = failure(content)
    assert message.startswith("not JSON at line 1, column ")
    assert message.endswith("; the format is one JSON object of token to id")


@pytest.mark.parametrize(("content", "shown"), [("[]", "[]"), ("3", "3"), ("null", "None"), ('"a"', "'a'")])
def test_json_that_is_no_object_is_refused(failure, content, shown):
    assert failure(content) == f"{shown} is not a JSON object; the format is one JSON object of token to id"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_bombs_are_refused(failure, opening):
    assert failure(opening * 200_000).startswith("nested too deeply")


def test_a_huge_token_does_not_make_a_huge_message(failure):
    assert len(failure(GOOD | {"x" * 10**6: 4})) < 200


def test_a_vocabulary_that_cannot_be_saved_names_the_path(tmp_path):
    with pytest.raises(PlatformError, match=r"cannot write .*none/vocab\.json: No such file or directory"):
        VOCABULARY.save(tmp_path / "none" / "vocab.json")
