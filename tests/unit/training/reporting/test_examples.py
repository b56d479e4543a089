"""Which sentences are shown."""

import pytest

from s2s_algo.training.reporting.examples import choose_examples
from tests.tiny_job import assemble_job, corpus_of, draw_pairs


def chosen(pairs, seed=1):
    examples = choose_examples(corpus_of(pairs), seed, translator=None)
    return list(zip(examples.sources, examples.references, strict=True))


def test_five_short_pairs_of_the_channel_are_drawn():
    pairs = draw_pairs(200, seed=1, longest=60)
    shown = chosen(pairs)
    assert len(shown) == 5
    assert all(pair in [(list(source), list(target)) for source, target in pairs] for pair in shown)
    assert all(2 <= len(side) <= 20 for pair in shown for side in pair)


def test_the_seed_decides():
    pairs = draw_pairs(200, seed=1)
    assert chosen(pairs) == chosen(pairs)
    assert chosen(pairs) != chosen(pairs, seed=2)


def test_a_source_is_shown_once():
    assert chosen([([4, 5], [6, 7]), ([4, 5], [6, 8]), ([5, 4], [6, 7])] * 3).__len__() == 2


def test_where_all_are_long_the_shortest_are_shown():
    pairs = [([4] * size, [5] * size) for size in range(100, 30, -1)]
    assert [len(source) for source, _ in chosen(pairs)] == [31, 32, 33, 34, 35]


@pytest.mark.parametrize("beam_size", ["1", "6"])
def test_they_are_translated_as_bleu_translates_with_a_beam_of_5_at_most(tmp_path, beam_size):
    assembled = assemble_job(tmp_path, {"beam_size": beam_size, "bleu_sample_size": "-1"})
    translator = assembled.job.bleu.translator
    examples = choose_examples(corpus_of(draw_pairs(30, seed=4)), 1, translator)
    shown = examples.translate()
    options = translator.options
    expected = translator.translate(
        examples.sources, type(options)(min(options.beam_size, 5), options.length_penalty_alpha)
    )
    assert [one.translation.token_ids for one in shown] == [one.token_ids for one in expected]
    for one, source, reference in zip(shown, examples.sources, examples.references, strict=True):
        assert one.source == translator.source_vocabulary.decode(source)
        assert one.texts.reference == " ".join(translator.target_vocabulary.decode(reference))
        assert one.translation.attention.shape == (len(one.translation.tokens), len(source))
