"""Models of sub-words from text."""

import os
import random
import subprocess
import sys

import pytest

from s2s_algo.data import subword_training
from s2s_algo.data.subword_training import SUBWORD_TYPES, train_subwords
from s2s_algo.errors import ClientError

SYLLABLES = ["ba", "la", "mün", "gro", "ßen", "der", "ti", "ko", "sü", "re"]


def sentences(number=400):
    draw = random.Random(3)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(200)]
    return [" ".join(draw.choices(words, k=draw.randint(1, 9))) + "." for _ in range(number)]


@pytest.mark.parametrize("subword_type", SUBWORD_TYPES)
def test_there_are_as_many_pieces_as_asked_for(subword_type):
    subwords = train_subwords(sentences(), 50, subword_type, "--x")
    assert len(subwords.pieces) == 50
    assert all(subwords.join(subwords.split(text)) == text for text in sentences(20))


@pytest.mark.parametrize("subword_type", SUBWORD_TYPES)
def test_a_small_text_has_fewer_pieces(subword_type):
    assert 10 < len(train_subwords(sentences(30), 5000, subword_type, "--x").pieces) < 5000


def test_types_differ():
    first, second = (train_subwords(sentences(), 50, subword_type, "--x") for subword_type in SUBWORD_TYPES)
    assert first.pieces != second.pieces


def test_every_character_is_a_piece_however_rare():
    subwords = train_subwords([*sentences(), "漢"], 50, "unigram", "--x")
    assert "漢" in subwords.pieces


def test_a_long_sentence_is_learnt_from():
    assert "漢" in train_subwords(["a b " * 10_000 + "漢"], 10, "unigram", "--x").pieces


DIGEST = """
import random
from s2s_algo.data import subword_training
from s2s_algo.data.subword_training import train_subwords
subword_training._MOST_SENTENCES = 300
draw = random.Random(5)
text = [" ".join("".join(draw.choices("abcdefgh", k=draw.randint(1, 6))) for _ in range(8)) for _ in range(1000)]
print(train_subwords(text, 200, "unigram", "--x").digest, train_subwords(text, 100, "bpe", "--x").digest)
"""


def test_the_same_text_gives_the_same_model_in_every_process_on_any_number_of_cores():
    cores = sorted(os.sched_getaffinity(0))
    digests = {
        subprocess.run(
            [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {set(own)})\n{DIGEST}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for own in (cores[:1], cores, cores)
    }
    assert len(digests) == 1
    assert len(digests.pop().split()) == 2


def test_of_very_many_sentences_some_are_drawn_from_everywhere(monkeypatch):
    monkeypatch.setattr(subword_training, "_MOST_SENTENCES", 100)
    drawn = subword_training._draw(str(number) for number in range(10_000))
    assert len(set(drawn)) == 100
    numbers = sorted(map(int, drawn))
    assert numbers[10] < 3000
    assert 4000 < numbers[50] < 6000
    assert numbers[-10] > 7000
    assert subword_training._draw(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize("subword_type", SUBWORD_TYPES)
def test_fewer_pieces_than_characters_are_refused(subword_type):
    with pytest.raises(ClientError) as error:
        train_subwords(["abc de"], 4, subword_type, "--subwords-source")
    assert str(error.value) == (
        "the pieces of --subwords-source cannot be learnt: 4 pieces are fewer than the 6 different characters of the "
        "text; ask for 6 or more"
    )
    assert len(train_subwords(["abc de"], 6, subword_type, "--subwords-source").pieces) == 6


@pytest.mark.parametrize("text", [[], ["", "  "]])
def test_no_text_is_refused(text):
    with pytest.raises(ClientError) as error:
        train_subwords(text, 50, "unigram", "--subwords-target")
    assert str(error.value) == "there is no text to learn the pieces of --subwords-target from; every sentence is blank"


def test_what_else_goes_wrong_is_told_in_its_own_words(monkeypatch):
    monkeypatch.setattr(subword_training, "_LONGEST", 10)
    with pytest.raises(ClientError, match=r"the pieces of --x cannot be learnt: SentencePiece says: \S"):
        train_subwords(["a" * 100], 50, "unigram", "--x")


def test_nothing_is_written_to_the_terminal(capfd):
    train_subwords(sentences(), 50, "unigram", "--x")
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_text_stays_what_it_is():
    def text():
        yield "a"
        raise ClientError("of the text")

    with pytest.raises(ClientError, match=r"^of the text$"):
        train_subwords(text(), 50, "unigram", "--x")
