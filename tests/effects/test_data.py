"""Which tokens are trained on, and in which batches."""

import logging

import pytest

from s2s_algo.training import trainer, validation
from tests.tiny_job import FIRST_WORD, differing, draw_pairs, weights_of

LONG = {"train_pairs": draw_pairs(9, seed=1, longest=9), "validation_pairs": draw_pairs(5, seed=2, longest=9)}
ROOM = {"max_seq_len_source": "12", "max_seq_len_target": "15"}


def cut(source, target):
    """The same pairs, cut by hand."""
    return {name: [(x[:source], y[:target]) for x, y in pairs] for name, pairs in LONG.items()}


def scores(assembled):
    (entry,) = assembled.state.history
    return {name: value for name, value in entry.items() if name.startswith(("train_", "validation_"))}


def watch_batches(monkeypatch):
    """Lists the batches of updates and of validation as they are used; the trial of the largest ones is among them."""
    seen = {"training": [], "validation": []}
    for name, module in (("training", trainer), ("validation", validation)):
        real = module.batch_loss

        def spy(model, batch, *smoothing, name=name, real=real):
            if model.training == (name == "training"):
                seen[name].append(batch)
            return real(model, batch, *smoothing)

        monkeypatch.setattr(module, "batch_loss", spy)
    return seen


def shapes(batches):
    return {(batch.source.shape[1], batch.target_in.shape[1]) for batch in batches}


@pytest.mark.effect_of("max_seq_len_source")
def test_sources_are_trained_on_up_to_their_longest_length(jobs):
    raw = ROOM | {"max_seq_len_source": "3"}
    truncated, by_hand = jobs.train(raw, **LONG), jobs.train(raw, **cut(3, 99))
    assert differing(weights_of(truncated), weights_of(by_hand)) == []
    assert scores(truncated) == scores(by_hand)
    assert differing(weights_of(truncated), weights_of(jobs.train(ROOM, **LONG)))


@pytest.mark.effect_of("max_seq_len_target")
def test_targets_are_trained_on_up_to_their_longest_length(jobs):
    raw = ROOM | {"max_seq_len_target": "3"}
    truncated, by_hand = jobs.train(raw, **LONG), jobs.train(raw, **cut(99, 3))
    assert differing(weights_of(truncated), weights_of(by_hand)) == []
    assert scores(truncated) == scores(by_hand)
    assert differing(weights_of(truncated), weights_of(jobs.train(ROOM, **LONG)))


@pytest.mark.effect_of("max_seq_len_source", "max_seq_len_target")
def test_truncation_keeps_the_first_tokens_and_adds_the_end_symbol(jobs):
    pair = ([4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4])
    raw = {"max_seq_len_source": "4", "max_seq_len_target": "3", "bucketing_enabled": "false"}
    data = jobs.assemble(raw, train_pairs=[pair]).job.train_data
    (planned,) = data.plan(0)
    batch = data.collate(planned)
    eos = data.vocabulary.eos_id
    assert batch.source.tolist() == [[4, 5, 6, 7]]
    assert batch.target_label.tolist() == [[9, 8, 7, eos]]


@pytest.mark.effect_of("max_seq_len_source", "max_seq_len_target")
def test_the_longest_lengths_are_the_limits_of_translation(jobs):
    limits = jobs.assemble({"max_seq_len_source": "7", "max_seq_len_target": "5"}).job.inference.limits
    assert limits.max_input_length == 7
    assert limits.max_output_length == 5 + 1  # the end symbol


@pytest.mark.effect_of("max_seq_len_source", "max_seq_len_target")
def test_the_log_counts_truncated_pairs(jobs, caplog):
    caplog.set_level(logging.INFO)
    jobs.assemble({"max_seq_len_source": "6", "max_seq_len_target": "4"}, **LONG)
    counts = [sum(len(x) > 6 or len(y) > 4 for x, y in pairs) for pairs in LONG.values()]
    assert all(counts)
    assert f"train channel: {counts[0]} pairs truncated to 6 source and 4 target tokens" in caplog.messages
    assert f"validation channel: {counts[1]} pairs truncated to 6 source and 4 target tokens" in caplog.messages
    caplog.clear()
    jobs.assemble({"max_seq_len_source": "9", "max_seq_len_target": "9"}, **LONG)
    assert "truncated" not in caplog.text


@pytest.mark.effect_of("max_seq_len_source", "max_seq_len_target")
def test_bleu_is_computed_on_whole_sentences(jobs):
    raw = {"max_seq_len_source": "3", "max_seq_len_target": "2", "bleu_sample_size": "-1"}
    assembled = jobs.assemble(raw, **LONG)
    bleu, words = assembled.job.bleu, assembled.vocabularies[1]
    pairs = [(source, words.encode(text)) for source, text in zip(bleu.sources, bleu.references, strict=True)]
    assert sorted(pairs) == sorted(LONG["validation_pairs"])
    # The model reads no more than 3 tokens at once, and still every token is translated.
    assert [found.attention.shape[1] for found in bleu.translator.translate(bleu.sources)] == [*map(len, bleu.sources)]


@pytest.mark.effect_of("batch_size")
@pytest.mark.parametrize(("size", "expected"), [("1", [1] * 9), ("4", [1, 4, 4]), ("9", [9]), ("1000", [9])])
def test_an_update_takes_so_many_pairs(jobs, size, expected):
    raw = {"batch_size": size, "bucketing_enabled": "false", "max_num_batches": "-1", "max_num_epochs": "1"}
    assembled = jobs.train(raw, **LONG)
    assert sorted(len(planned.pairs) for planned in assembled.job.train_data.plan(0)) == expected
    assert assembled.state.updates == len(expected)
    assert assembled.state.samples == 9


@pytest.mark.effect_of("bucketing_enabled")
def test_without_bucketing_every_batch_has_the_greatest_lengths(jobs, monkeypatch):
    seen = watch_batches(monkeypatch)
    raw = ROOM | {"max_num_batches": "-1", "max_num_epochs": "1", "bucket_width": "2"}
    jobs.train(raw | {"bucketing_enabled": "false"}, **LONG)
    assert shapes(seen["training"]) == shapes(seen["validation"]) == {(12, 16)}
    for batches in seen.values():
        batches.clear()
    jobs.train(raw | {"bucketing_enabled": "true"}, **LONG)
    assert len(shapes(seen["training"])) > 2
    assert len(shapes(seen["validation"])) > 2
    assert (12, 16) not in shapes(seen["training"])


@pytest.mark.effect_of("bucketing_enabled")
def test_bucketing_does_not_change_the_scores_of_a_model(jobs):
    raw = {"batch_size": "1000", "learning_rate": "1e-9", "max_num_batches": "1"}
    one, other = (jobs.train(raw | {"bucketing_enabled": flag}) for flag in ("true", "false"))
    assert scores(one)["validation_perplexity"] == pytest.approx(scores(other)["validation_perplexity"], rel=1e-5)


def pairs_of_ratio_one(count=8):
    """Pairs of 2 to 9 source tokens and one target token less, so that with the end symbol both are equally long."""
    lengths = [2 + number % 8 for number in range(count)]
    return [([FIRST_WORD] * length, [FIRST_WORD] * (length - 1)) for length in lengths]


@pytest.mark.effect_of("bucket_width")
@pytest.mark.parametrize(
    ("width", "buckets"),
    [
        ("3", [(3, 3), (6, 6), (9, 9), (10, 10)]),
        ("5", [(5, 5), (10, 10)]),
        ("10", [(10, 10)]),
        ("1", [(columns, columns) for columns in range(2, 11)]),
    ],
)
def test_buckets_grow_by_their_width(jobs, width, buckets):
    raw = {"max_seq_len_source": "10", "max_seq_len_target": "9", "bucket_width": width}
    data = jobs.assemble(raw, train_pairs=pairs_of_ratio_one()).job.train_data
    assert data.batches.buckets == buckets
    # Batches are padded to the first bucket that holds their pairs.
    for planned in data.plan(0):
        longest = int(data.collate(planned).source_length.max())
        assert planned.bucket == min(bucket for bucket in buckets if bucket[0] >= longest)


@pytest.mark.effect_of("bucket_width")
def test_the_width_is_the_step_of_the_longer_side(jobs):
    # Target sentences are, with their end symbol, twice as long as their sources.
    pairs = [([FIRST_WORD] * length, [FIRST_WORD] * (2 * length - 1)) for length in (1, 2, 3, 4)]
    raw = {"max_seq_len_source": "6", "max_seq_len_target": "11", "bucket_width": "4"}
    assert jobs.assemble(raw, train_pairs=pairs).job.train_data.batches.buckets == [(2, 4), (4, 8), (6, 12)]
