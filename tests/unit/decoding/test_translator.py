"""The translator: ids in, translations out."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.decoding import scheduler as module
from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from tests.unit.decoding.oracle import BOS, EOS, PAD, plain_beam_search, score
from tests.unit.decoding.scheduling import Watch
from tests.unit.small_model import ARCHITECTURES, SOURCE_SIZE, TARGET_SIZE, small_config, small_model, vocabulary

LONGEST = 5
LIMITS = LengthLimits(max_input_length=LONGEST, ratio_mean=1.2, ratio_std=0.2, max_output_length=6)
SOURCES = [[5, 6, 7, 8], [], [9], [4, 4, 12, 11, 10], [3, 8], [], [12] * 5, [1, 2]]
LONG = [5, 6, 7, 8, 9, 10, 11, 12, 4, 5, 6, 7]


@pytest.fixture(params=ARCHITECTURES)
def translator(request):
    model = small_model(small_config(encoder=request.param, decoder=request.param), seed=3, scale=1.5)
    with torch.no_grad():
        model.output_layer.bias[PAD] -= 4
    inference = InferenceConfig(beam_size=3, limits=LIMITS)
    return Translator(model, vocabulary(SOURCE_SIZE), vocabulary(TARGET_SIZE), inference)


def close(one, other):
    assert one.token_ids == other.token_ids
    assert one.tokens == other.tokens
    assert one.score == pytest.approx(other.score, abs=1e-5)
    np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)


def plain(translator, piece, beam_size=3):
    return plain_beam_search(translator.model, piece, LIMITS.output_limit(len(piece)), beam_size)


def test_translations_are_those_of_the_plain_search_without_special_tokens(translator):
    for source in filter(None, SOURCES):
        best = plain(translator, source)[0]
        words = [number for number, token in enumerate(best.tokens) if token not in (PAD, BOS, EOS)]
        (ours,) = translator.translate([source])
        assert list(ours.token_ids) == [best.tokens[number] for number in words]
        assert ours.tokens == tuple(f"w{id_}" if id_ > 3 else "<unk>" for id_ in ours.token_ids)
        assert ours.text == " ".join(ours.tokens)
        assert ours.score == pytest.approx(score(best, 1, 0), abs=1e-5)
        expected = np.array(best.attention)[words].reshape(-1, len(source))
        np.testing.assert_allclose(ours.attention, expected, atol=1e-5)


def test_an_empty_source_has_an_empty_translation(translator):
    (ours,) = translator.translate([[]])
    assert (ours.token_ids, ours.tokens, ours.text, ours.score) == ((), (), "", 0.0)
    assert ours.attention.shape == (0, 0)
    assert len(translator.translate_n_best([[]], SearchOptions(beam_size=3, n_best=3))[0]) == 1


def test_no_sources_have_no_translations(translator):
    assert translator.translate([]) == []
    assert translator.translate_n_best([]) == []


def test_answers_come_in_the_order_of_the_sources(translator):
    together = translator.translate(SOURCES)
    assert len(together) == len(SOURCES)
    assert len({translation.text for translation in together}) > 3
    for source, ours in zip(SOURCES, together, strict=True):
        close(ours, translator.translate([source])[0])


def test_searches_are_cut_to_fit_in_memory_without_changing_a_result(translator, monkeypatch):
    sources = [source for source in [*SOURCES, LONG] for _ in range(3)]
    expected = translator.translate(sources)
    monkeypatch.setattr(translator, "most_rows", 9)
    monkeypatch.setattr(module, "_MOST_SOURCE_CELLS", 40)
    monkeypatch.setattr(module, "_SMALLEST_WIDTH", 1)
    watch = Watch(monkeypatch)
    for ours, other in zip(translator.translate(sources), expected, strict=True):
        close(ours, other)
    batches = [[len(one.source) for one in event.stepping] for event in watch.steps]
    assert max(map(len, batches)) == 3
    for event in watch.steps:
        held = [[len(one.source) for one in batch] for batch in event.running.values() if batch]
        assert 3 * sum(map(len, held)) <= 9
        assert 3 * sum(len(batch) * max(batch) for batch in held) <= 40
    # Sources of similar length go together, so that little is padded.
    assert all(longest < 2 * shortest for longest, shortest in ((max(batch), min(batch)) for batch in batches))
    # The longest come first.
    assert sorted(batches[0]) == [LONGEST]
    assert max(batches[-1]) <= 2


@pytest.mark.parametrize("id_", [0, -1, SOURCE_SIZE, 10**9])
def test_ids_outside_the_vocabulary_are_named_with_their_source(translator, id_):
    with pytest.raises(ClientError) as caught:
        translator.translate([[5], [6, id_]])
    assert str(caught.value) == f"source 1: id {id_} is not in 1 … 12. Use the ids of the model's source vocabulary."


def test_every_id_of_the_vocabulary_is_accepted(translator):
    assert len(translator.translate([[id_] for id_ in range(1, SOURCE_SIZE)])) == SOURCE_SIZE - 1


# Long sources


def test_a_long_source_is_translated_piece_by_piece_and_joined(translator):
    pieces = [LONG[:5], LONG[5:10], LONG[10:]]
    translations = translator.translate(pieces)
    (ours,) = translator.translate([LONG])
    assert ours.token_ids == sum((piece.token_ids for piece in translations), ())
    assert ours.text == " ".join(piece.text for piece in translations if piece.text)


def test_the_attention_of_a_long_source_is_block_diagonal(translator):
    pieces = [LONG[:5], LONG[5:10], LONG[10:]]
    translations = translator.translate(pieces)
    (ours,) = translator.translate([LONG])
    expected = np.zeros((len(ours.tokens), len(LONG)))
    row = column = 0
    for piece, translation in zip(pieces, translations, strict=True):
        expected[row : row + len(translation.tokens), column : column + len(piece)] = translation.attention
        row, column = row + len(translation.tokens), column + len(piece)
    np.testing.assert_allclose(ours.attention, expected, atol=1e-5)
    np.testing.assert_allclose(ours.attention.sum(1), 1, atol=1e-5)
    assert len(ours.tokens) > 3


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 0.0), (0.6, 2.0)])
def test_the_score_of_a_long_source_weighs_its_pieces_by_length(translator, alpha, beta):
    options = SearchOptions(3, alpha, beta)
    best = [
        plain_beam_search(translator.model, piece, LIMITS.output_limit(len(piece)), 3, alpha, beta)[0]
        for piece in (LONG[:5], LONG[5:10], LONG[10:])
    ]

    def penalty(tokens):
        # <s> counts; the </s> inside is gone.
        return (beta + 1 + tokens) ** alpha / (beta + 1) ** alpha

    lengths = [len(hypothesis.real_tokens) for hypothesis in best]
    summed = sum(score(one, alpha, beta) * penalty(n) for one, n in zip(best, lengths, strict=True))
    inner = sum(n - (one.tokens[-1] == EOS) for one, n in zip(best[:-1], lengths, strict=False))
    (ours,) = translator.translate([LONG], options)
    assert ours.score == pytest.approx(summed / penalty(inner + lengths[-1]), abs=1e-5)


def test_a_long_source_has_one_translation_whatever_n_best(translator):
    short, long = translator.translate_n_best([LONG[:5], LONG], SearchOptions(beam_size=3, n_best=3))
    assert len(short) == 3
    assert len(long) == 1
    close(long[0], translator.translate([LONG])[0])


def test_the_longest_source_is_not_cut(translator):
    piece = LONG[:LONGEST]
    assert list(translator.translate([piece])[0].token_ids) == [
        token for token in plain(translator, piece)[0].tokens if token not in (PAD, BOS, EOS)
    ]


# Options


def test_the_models_own_options_hold_unless_a_call_gives_others(translator):
    greedy = SearchOptions(beam_size=1)
    inference = InferenceConfig(beam_size=1, limits=LIMITS)
    differing = Translator(translator.model, translator.source_vocabulary, translator.target_vocabulary, inference)
    for one, other in zip(translator.translate(SOURCES, greedy), differing.translate(SOURCES), strict=True):
        close(one, other)
    texts = [[t.score for t in translator.translate(SOURCES, options)] for options in (None, greedy)]
    assert texts[0] != texts[1]


def test_n_best_translations_are_those_of_the_plain_search(translator):
    source = [5, 6, 7, 8]
    (found,) = translator.translate_n_best([source], SearchOptions(beam_size=4, n_best=4))
    expected = plain(translator, source, beam_size=4)
    assert [list(ours.token_ids) for ours in found] == [
        [token for token in hypothesis.tokens if token not in (PAD, BOS, EOS)] for hypothesis in expected
    ]
    assert [ours.score for ours in found] == pytest.approx([score(one, 1, 0) for one in expected], abs=1e-5)


def test_max_output_length_only_ever_shortens(translator):
    with torch.no_grad():
        translator.model.output_layer.bias[[PAD, BOS, EOS]] -= 60
    (own,) = translator.translate([[5, 6, 7]], SearchOptions(beam_size=1))
    assert len(own.tokens) == LIMITS.output_limit(3) == 6
    for most, expected in ((2, 2), (6, 6), (1000, 6)):
        (ours,) = translator.translate([[5, 6, 7]], SearchOptions(beam_size=1, max_output_length=most))
        assert ours.token_ids == own.token_ids[:expected]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"beam_size": 0},
            "beam_size: 0 is not in 1 … 10 (the target vocabulary has 11 entries). Choose a smaller beam.",
        ),
        (
            {"beam_size": 11},
            "beam_size: 11 is not in 1 … 10 (the target vocabulary has 11 entries). Choose a smaller beam.",
        ),
        (
            {"beam_size": 4, "n_best": 5},
            "n_best: 5 is not in 1 … 4 (the beam size). Ask for fewer translations or raise beam_size.",
        ),
        (
            {"n_best": 0},
            "n_best: 0 is not in 1 … 5 (the beam size). Ask for fewer translations or raise beam_size.",
        ),
        ({"max_output_length": 0}, "max_output_length: 0 is below 1."),
        ({"length_penalty_alpha": -0.1}, "length_penalty_alpha: -0.1 is not a finite number of 0 or more."),
        ({"length_penalty_beta": float("nan")}, "length_penalty_beta: nan is not a finite number of 0 or more."),
        ({"length_penalty_alpha": float("inf")}, "length_penalty_alpha: inf is not a finite number of 0 or more."),
    ],
)
def test_options_out_of_range_are_refused_with_what_is_allowed(translator, options, message):
    with pytest.raises(ClientError) as caught:
        translator.translate([[5]], SearchOptions(**options))
    assert str(caught.value) == message


def test_options_are_checked_even_if_there_is_nothing_to_search(translator):
    with pytest.raises(ClientError, match="beam_size"):
        translator.translate([[]], SearchOptions(beam_size=99))


def test_the_widest_beam_works(translator):
    for options in (SearchOptions(beam_size=10, n_best=10), replace(translator.options, beam_size=10)):
        assert translator.translate([[5, 6]], options)[0].score > 0


# Sharing


def test_two_threads_get_what_one_gets(translator):
    jobs = [(SOURCES[:4] * 3, SearchOptions(beam_size=4)), ([LONG, *SOURCES[4:]] * 3, SearchOptions(beam_size=2))]
    expected = [translator.translate(*job) for job in jobs]
    start = threading.Barrier(2)
    found = [[], []]

    def work(number):
        start.wait()
        for _ in range(6):
            found[number].append(translator.translate(*jobs[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answers, right in zip(found, expected, strict=True):
        assert len(answers) == 6
        for answer in answers:
            for ours, other in zip(answer, right, strict=True):
                close(ours, other)


def test_a_loaded_artifact_translates_as_its_configuration_says(translator, tmp_path):
    inference = InferenceConfig(beam_size=4, length_penalty_alpha=0.5, length_penalty_beta=1.0, limits=LIMITS)
    translator.model.train()
    save_artifact(
        Artifact(translator.model, inference, translator.source_vocabulary, translator.target_vocabulary), tmp_path
    )
    loaded = Translator.load(tmp_path, torch.device("cpu"))
    assert loaded.options == SearchOptions(beam_size=4, length_penalty_alpha=0.5, length_penalty_beta=1.0)
    assert loaded.inference == inference
    assert not loaded.model.training
    expected = translator.translate(SOURCES, loaded.options)
    for ours, other in zip(loaded.translate(SOURCES), expected, strict=True):
        close(ours, other)


# Habits of imported models


def habitual(translator, **habits):
    """The same model with other habits."""
    inference = translator.inference.model_copy(update=habits)
    return Translator(translator.model, translator.source_vocabulary, translator.target_vocabulary, inference)


def test_a_model_that_cuts_its_sources_translates_their_beginnings(translator):
    (ours,) = habitual(translator, cuts_sources=True).translate([LONG])
    (beginning,) = translator.translate([LONG[:LONGEST]])
    assert ours.token_ids == beginning.token_ids
    assert ours.score == pytest.approx(beginning.score, abs=1e-5)
    assert ours.attention.shape == (len(ours.tokens), len(LONG))
    np.testing.assert_allclose(ours.attention[:, :LONGEST], beginning.attention, atol=1e-5)
    assert not ours.attention[:, LONGEST:].any()


def test_a_source_may_be_ended_for_a_model_that_expects_it(translator):
    ending = habitual(translator, source_eos=True)
    (ours,) = ending.translate([[5, 6, 7]])
    (by_hand,) = translator.translate([[5, 6, 7, EOS]])
    assert (ours.token_ids, ours.score) == (by_hand.token_ids, pytest.approx(by_hand.score, abs=1e-5))
    np.testing.assert_allclose(ours.attention, by_hand.attention[:, :3], atol=1e-5)
    assert (by_hand.attention[:, 3] > 0).any()


def test_each_piece_is_ended_and_its_column_stays(translator):
    (ours,) = habitual(translator, source_eos=True).translate([LONG])
    row = column = 0
    for start in range(0, len(LONG), LONGEST - 1):
        (piece,) = translator.translate([[*LONG[start : start + LONGEST - 1], EOS]])
        block = piece.attention[:, : max(0, len(LONG) - column)]
        rows = slice(row, row + len(piece.tokens))
        np.testing.assert_allclose(ours.attention[rows, column : column + LONGEST], block, atol=1e-5)
        row, column = row + len(piece.tokens), column + LONGEST
    assert row == len(ours.tokens)
