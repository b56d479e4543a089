import io
import json
import random

import pytest
import sentencepiece

from s2s_algo.data.segmentation import WHITESPACE, Subwords
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.errors import ClientError

WORDS = ["Haus", "Baum", "Häuser", "Bäume", "klein", "groß", "der", "die", "das", "sieht", "und", "läuft"]


def model_of(sentences, size=60, **options):
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=content,
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        **options,
    )
    return content.getvalue()


@pytest.fixture(scope="module")
def sentences():
    draw = random.Random(3)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) + "." for _ in range(500)]


@pytest.fixture(scope="module")
def subwords(sentences):
    return Subwords.from_bytes(model_of(sentences))


def test_white_space_has_no_text_of_its_own():
    assert WHITESPACE.split(" a\tb\u3000c\n") == ["a", "b", "c"]
    assert WHITESPACE.join(["a", "b"]) == "a b"
    assert (WHITESPACE.is_plain_text, WHITESPACE.digest) == (False, "")


def test_text_comes_back_from_its_pieces(subwords, sentences):
    assert subwords.is_plain_text
    for sentence in sentences:
        pieces = subwords.split(sentence)
        assert subwords.join(pieces) == sentence
        assert set(pieces) <= set(subwords.pieces)
    assert max(len(subwords.split(sentence)) for sentence in sentences) > 5


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_blank_text_has_no_pieces(subwords, text):
    assert subwords.split(text) == []
    assert subwords.join([]) == ""


def test_symbols_of_the_vocabulary_in_a_text_are_text(subwords):
    assert not set(subwords.split("<s> </s> <pad> <unk>")) & set(SPECIAL_TOKENS)


def test_pieces_of_others_keep_their_blanks(subwords):
    assert subwords.join(["▁Haus", "▁日本"]) == "Haus 日本"


def test_models_are_equal_if_their_files_are(subwords, sentences, tmp_path):
    subwords.save(tmp_path / "model")
    again = Subwords.load(tmp_path / "model")
    assert again == subwords
    assert again.digest == subwords.digest
    other = Subwords.from_bytes(model_of(sentences, model_type="bpe"))
    assert other != subwords
    assert other.digest != subwords.digest


@pytest.mark.parametrize("content", [b"", b"no model", b"\x0a\x10\x0a\x05<unk>"])
def test_what_is_no_model_is_refused(tmp_path, content, capfd):
    (tmp_path / "spm.src.model").write_bytes(content)
    with pytest.raises(ClientError) as error:
        Subwords.load(tmp_path / "spm.src.model")
    assert str(error.value) == (
        f"{tmp_path / 'spm.src.model'}: it is not a model of SentencePiece; "
        "copy it again, or train one with s2s prepare"
    )
    assert capfd.readouterr() == ("", "")


# -- vocabularies


def test_a_vocabulary_of_pieces_takes_and_gives_text(subwords, sentences):
    vocabulary = Vocabulary.of_pieces(subwords)
    assert vocabulary.tokens[:4] == SPECIAL_TOKENS
    assert set(vocabulary.tokens[4:]) == set(subwords.pieces)
    for sentence in sentences[:50]:
        ids = vocabulary.encode(sentence)
        assert vocabulary.unk_id not in ids
        assert vocabulary.text(ids) == sentence
    assert vocabulary.unk_id in vocabulary.encode("日本")


def test_a_vocabulary_finds_the_model_beside_it(subwords, tmp_path):
    vocabulary = Vocabulary.of_pieces(subwords)
    vocabulary.save(tmp_path / "vocab.src.json")
    path = tmp_path / "spm.src.model"
    words = Vocabulary.load(tmp_path / "vocab.src.json", path)
    assert words.segmentation == WHITESPACE
    subwords.save(path)
    assert Vocabulary.load(tmp_path / "vocab.src.json", path) == vocabulary
    assert vocabulary.digest() != words.digest()


def test_a_model_of_another_vocabulary_is_refused(subwords, tmp_path):
    ids = {token: id_ for id_, token in enumerate([*SPECIAL_TOKENS, "h", "e"])}
    (tmp_path / "vocab.src.json").write_text(json.dumps(ids))
    subwords.save(tmp_path / "spm.src.model")
    with pytest.raises(ClientError) as error:
        Vocabulary.load(tmp_path / "vocab.src.json", tmp_path / "spm.src.model")
    assert str(error.value) == (
        f"{tmp_path / 'spm.src.model'}: of its {len(subwords.pieces)} pieces 2 are in vocab.src.json; "
        "a vocabulary holds the pieces of the model that lies beside it, so keep the files of one preparation together"
    )
