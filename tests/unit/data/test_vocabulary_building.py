"""Vocabularies of words."""

from s2s_algo.data.vocabulary import SPECIAL_TOKENS
from s2s_algo.data.vocabulary_building import build_vocabulary


def test_frequent_words_come_first_and_ties_in_reverse_alphabetical_order():
    assert build_vocabulary(["b a d c b", "é c"], 99, 1).tokens == (*SPECIAL_TOKENS, "c", "b", "é", "d", "a")


def test_the_number_of_words_does_not_count_special_symbols():
    assert build_vocabulary(["b a d c b", "c"], 3, 1).tokens == (*SPECIAL_TOKENS, "c", "b", "d")


def test_rare_words_can_be_left_out():
    assert build_vocabulary(["b a d c b", "c"], 99, 2).tokens == (*SPECIAL_TOKENS, "c", "b")


def test_special_symbols_in_the_text_are_not_counted():
    assert build_vocabulary(["<s> a <pad> </s> <unk>"], 99, 1).tokens == (*SPECIAL_TOKENS, "a")
