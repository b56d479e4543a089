"""The extensions that choose, order and batch the training pairs, and those of seeds and of translation."""

import logging

import numpy as np
import pytest

from s2s_algo.checkpoints.artifact import save_artifact
from s2s_algo.data.buckets import Bucket
from s2s_algo.data.ordering import Ordering, epoch_seed
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from tests.tiny_job import FIRST_WORD, TRAIN, differing, draw_pairs, weights_of

ONE_EPOCH = {"max_num_batches": "-1", "max_num_epochs": "1"}
SOURCES = [len(source) for source, _ in TRAIN]
TARGETS = [len(target) + 1 for _, target in TRAIN]  # with the end symbol


def planned(assembled, epoch=0):
    return [batch.pairs.tolist() for batch in assembled.job.train_data.plan(epoch)]


def flat(batches):
    return [pair for batch in batches for pair in batch]


def pairs_of(*lengths):
    """Pairs of so many source and target tokens."""
    return [([FIRST_WORD] * source, [FIRST_WORD] * target) for source, target in lengths]


def tagged(*lengths):
    return pairs_of(*((length, length) for length in lengths))


# Batches of a limited number of tokens


@pytest.mark.effect_of("max_batch_tokens")
@pytest.mark.parametrize("most", [12, 30, 1000])
def test_a_batch_has_at_most_so_many_padded_tokens_on_each_side(jobs, most):
    assembled = jobs.train(ONE_EPOCH | {"max_batch_tokens": str(most)})
    batches = planned(assembled)
    assert sorted(flat(batches)) == list(range(len(TRAIN)))
    assert assembled.state.updates == len(batches)
    assert assembled.state.samples == len(TRAIN)
    for batch, after in zip(batches, [*batches[1:], None], strict=True):
        for lengths in (SOURCES, TARGETS):
            assert len(batch) * max(lengths[pair] for pair in batch) <= most
        if after:  # the next pair would have been too much
            more = [*batch, after[0]]
            assert len(more) * max(max(SOURCES[pair], TARGETS[pair]) for pair in more) > most


@pytest.mark.effect_of("max_batch_tokens")
def test_such_a_batch_is_as_long_as_its_longest_source_and_target(jobs):
    data = jobs.assemble({"max_batch_tokens": "30"}).job.train_data
    for batch in data.plan(0):
        source, target = (max(lengths[pair] for pair in batch.pairs) for lengths in (SOURCES, TARGETS))
        assert batch.bucket == Bucket(source, target)
        assert data.collate(batch).source.shape == (len(batch.pairs), source)
        assert data.collate(batch).target_label.shape == (len(batch.pairs), target)


@pytest.mark.effect_of("max_batch_tokens")
def test_pairs_of_one_token_are_trained_on_in_their_own_shape(jobs):
    pairs = {"train_pairs": pairs_of(*[(1, 1)] * 6), "validation_pairs": pairs_of((1, 1))}
    for kind in ("rnn", "cnn"):
        raw = ONE_EPOCH | {"max_batch_tokens": "4", "encoder_type": kind, "decoder_type": kind, "cnn_num_hidden": "8"}
        assert jobs.train(raw, **pairs).state.updates == 3


@pytest.mark.effect_of("max_batch_tokens")
def test_the_order_of_such_batches_is_laplace_with_parts_of_a_thousand(jobs):
    raw = {"max_batch_tokens": "30"}
    assert planned(jobs.assemble(raw)) == planned(jobs.assemble(raw | {"seq_ordering": "laplace:.1000"}))
    assert planned(jobs.assemble(raw)) != planned(jobs.assemble(raw | {"seq_ordering": "laplace:3"}))


@pytest.mark.effect_of("max_batch_tokens")
def test_validation_has_such_batches_too_and_the_same_scores(jobs):
    raw = {"learning_rate": "1e-9", "max_num_batches": "1"}
    bucketed, by_tokens = jobs.train(raw), jobs.train(raw | {"max_batch_tokens": "20"})
    plan = by_tokens.job.validation_data.plan_in_order()
    assert sorted(pair for batch in plan for pair in batch.pairs) == list(range(7))
    assert all(len(batch.pairs) * max(batch.bucket) <= 20 for batch in plan)
    one, other = (assembled.state.history[0]["validation_perplexity"] for assembled in (bucketed, by_tokens))
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.effect_of("max_batch_tokens")
def test_a_pair_that_is_longer_is_its_own_batch_with_a_warning(jobs, caplog):
    raw = {"max_batch_tokens": "5", "seq_ordering": "default"}
    assembled = jobs.assemble(raw, train_pairs=pairs_of((2, 1), (2, 5), (6, 1), (1, 1), (1, 1)))
    assert planned(assembled) == [[0], [1], [2], [3, 4]]
    assert "train channel: each of 2 pairs over max_batch_tokens 5 is its own batch" in caplog.messages


@pytest.mark.effect_of("max_seqs", "max_batch_tokens")
@pytest.mark.parametrize(("most", "expected"), [("1", [1] * 5), ("2", [2, 2, 1]), ("3", [3, 2]), ("9", [4, 1])])
def test_such_a_batch_has_at_most_so_many_pairs(jobs, most, expected):
    raw = {"max_batch_tokens": "8", "max_seqs": most, "seq_ordering": "default"}
    assert [len(batch) for batch in planned(jobs.assemble(raw, train_pairs=pairs_of(*[(2, 1)] * 5)))] == expected


# Orders


def by_length(order):
    return [SOURCES[pair] for pair in order]


@pytest.mark.effect_of("seq_ordering")
@pytest.mark.parametrize("batching", [{"bucketing_enabled": "false"}, {"max_batch_tokens": "20"}], ids=str)
@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("default", list(range(14))),
        ("reverse", list(range(13, -1, -1))),
        ("sorted", sorted(range(14), key=SOURCES.__getitem__)),
        ("sorted_reverse", sorted(range(14), key=lambda pair: -SOURCES[pair])),
        ("random:5", np.random.RandomState(5).permutation(14).tolist()),
    ],
)
def test_pairs_are_trained_on_in_their_order(jobs, batching, ordering, expected):
    assembled = jobs.assemble(batching | {"seq_ordering": ordering})
    assert flat(planned(assembled, 0)) == flat(planned(assembled, 1)) == expected


@pytest.mark.effect_of("seq_ordering", "seed")
@pytest.mark.parametrize("batching", [{"bucketing_enabled": "false"}, {"max_batch_tokens": "20"}], ids=str)
@pytest.mark.parametrize("ordering", ["random", "laplace:3"])
def test_a_random_order_follows_from_the_seed_and_the_epoch(jobs, batching, ordering):
    plan = Ordering("random") if ordering == "random" else Ordering("laplace", parts=3)
    for seed in (13, 14):
        assembled = jobs.assemble(batching | {"seq_ordering": ordering, "seed": str(seed)})
        orders = [flat(planned(assembled, epoch)) for epoch in range(2)]
        assert orders[0] != orders[1]
        assert orders == [plan.of(np.array(SOURCES), epoch_seed(seed, epoch)).tolist() for epoch in range(2)]


@pytest.mark.effect_of("seq_ordering")
def test_parts_of_a_laplace_order_go_up_and_down(jobs):
    raw = {"seq_ordering": "laplace:.7", "bucketing_enabled": "false"}
    lengths = by_length(flat(planned(jobs.assemble(raw))))
    assert lengths == sorted(lengths[:7]) + sorted(lengths[7:], reverse=True)


@pytest.mark.effect_of("seq_ordering")
def test_with_buckets_the_pairs_of_a_bucket_are_in_order_and_batches_follow_their_first_pairs(jobs):
    raw = {"max_seq_len_source": "9", "max_seq_len_target": "9", "bucket_width": "5", "seq_ordering": "reverse"}
    data = jobs.assemble(raw).job.train_data
    plan = data.plan(0)
    assert len({batch.bucket for batch in plan}) > 1
    for bucket in {batch.bucket for batch in plan}:
        pairs = flat([batch.pairs.tolist() for batch in plan if batch.bucket == bucket])
        assert pairs == sorted(pairs, reverse=True)
    first = [batch.pairs[0] for batch in plan]
    assert first == sorted(first, reverse=True)


@pytest.mark.effect_of("seq_ordering")
def test_lengths_are_those_of_truncated_sources(jobs):
    raw = {"max_seq_len_source": "3", "seq_ordering": "sorted", "bucketing_enabled": "false"}
    assembled = jobs.assemble(raw, train_pairs=pairs_of((9, 1), (3, 1), (1, 1), (5, 1)))
    assert flat(planned(assembled)) == [2, 0, 1, 3]


@pytest.mark.effect_of("seq_ordering")
def test_validation_keeps_its_own_order(jobs):
    plans = []
    for raw in ({}, {"seq_ordering": "reverse"}):
        plan = jobs.assemble(raw).job.validation_data.plan_in_order()
        plans.append([batch.pairs.tolist() for batch in plan])
    assert plans[0] == plans[1]


# Chunks and discarded pairs


def contents(assembled):
    corpus = assembled.job.train_data.corpus
    return [(corpus.source[pair].tolist(), corpus.target[pair].tolist()) for pair in range(len(corpus))]


@pytest.mark.effect_of("chunking")
def test_training_pairs_are_cut_into_chunks_that_overlap(jobs, caplog):
    caplog.set_level(logging.INFO)
    train = [([4, 5, 6, 7, 8], [9, 8, 7, 6, 5]), ([4], [5])]
    assembled = jobs.train(ONE_EPOCH | {"chunking": "3:2"}, train_pairs=train, validation_pairs=tagged(9))
    assert contents(assembled) == [([4, 5, 6], [9, 8, 7]), ([6, 7, 8], [7, 6, 5]), ([8], [5]), ([4], [5])]
    assert assembled.state.samples == 4
    assert "train channel: cut into 4 chunks of at most 3 tokens" in caplog.messages
    # Validation is left whole.
    assert assembled.job.validation_data.corpus.source.lengths.tolist() == [9]


@pytest.mark.effect_of("chunking")
def test_chunks_are_trained_on_as_pairs_of_their_own(jobs):
    train, chunks = tagged(5, 1, 4), tagged(3, 2, 1, 3, 1)
    raw = ONE_EPOCH | {"chunking": "3:3"}
    one, other = jobs.train(raw, train_pairs=train), jobs.train(ONE_EPOCH, train_pairs=chunks)
    assert differing(weights_of(one), weights_of(other)) == []


@pytest.mark.effect_of("chunking", "max_seq_len_source")
def test_sequences_are_cut_into_chunks_before_they_are_truncated(jobs):
    raw = {"chunking": "4:4", "max_seq_len_source": "4", "max_seq_len_target": "4"}
    assert len(contents(jobs.assemble(raw, train_pairs=tagged(10)))) == 3
    raw |= {"chunking": "5:5"}
    assert [len(source) for source, _ in contents(jobs.assemble(raw, train_pairs=tagged(10)))] == [4, 4]


@pytest.mark.effect_of("chunking")
def test_chunks_of_unequal_sides_are_refused(jobs):
    jobs.assemble({"chunking": "0"}, train_pairs=pairs_of((3, 3), (3, 2)))
    with pytest.raises(ClientError) as caught:
        jobs.assemble({"chunking": "2:1"}, train_pairs=pairs_of((3, 3), (3, 2)))
    assert str(caught.value).startswith("train channel, file train.rec, record 2: 3 source and 2 target tokens; ")


@pytest.mark.effect_of("max_seq_length")
@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ('{"source": 5}', [0, 1, 3]),
        ('{"target": 5}', [0, 2, 3]),
        ("{'source': 5, 'target': 5}", [0, 3]),
        ("{'source': 7, 'target': 8}", [0, 1, 2, 3]),
    ],
)
def test_longer_training_pairs_are_discarded_and_counted(jobs, caplog, bounds, kept):
    caplog.set_level(logging.INFO)
    lengths = [(5, 5), (2, 8), (7, 3), (1, 1)]
    raw = {"max_seq_length": bounds, "max_seq_len_source": "4"}  # lengths are those before truncation
    train, validation = pairs_of(*lengths), pairs_of((9, 9))
    assembled = jobs.assemble(raw, train_pairs=train, validation_pairs=validation)
    assert [len(target) for _, target in contents(assembled)] == [lengths[pair][1] for pair in kept]
    shown = bounds.replace("'", '"')
    assert f"train channel: {4 - len(kept)} pairs over max_seq_length {shown} discarded" in caplog.messages
    assert len(assembled.job.validation_data.corpus) == 1


@pytest.mark.effect_of("max_seq_length")
def test_a_job_without_the_discarded_pairs_is_the_same(jobs):
    pairs = draw_pairs(20, seed=9)
    left = [pair for pair in pairs if len(pair[0]) <= 5]
    assert 0 < len(left) < 20
    one = jobs.train({"max_seq_length": '{"source": 5}'}, train_pairs=pairs)
    assert differing(weights_of(one), weights_of(jobs.train({}, train_pairs=left))) == []
    assert one.job.inference == jobs.assemble({}, train_pairs=left).job.inference


@pytest.mark.effect_of("max_seq_length")
def test_it_is_an_error_if_nothing_is_left(jobs):
    with pytest.raises(ClientError) as caught:
        jobs.assemble({"max_seq_length": '{"target": 1}'}, train_pairs=pairs_of((1, 2), (1, 3)))
    assert str(caught.value) == (
        'train channel: all 2 pairs have more tokens than max_seq_length {"target": 1} allows; raise it'
    )


@pytest.mark.effect_of("max_seq_length", "chunking")
def test_long_sequences_are_discarded_before_they_are_cut_into_chunks(jobs):
    raw = {"max_seq_length": '{"source": 5}', "chunking": "2:2"}
    assert [len(source) for source, _ in contents(jobs.assemble(raw, train_pairs=tagged(9, 4, 3)))] == [2, 2, 2, 1]


# Epochs, seeds, translation


@pytest.mark.effect_of("num_epochs")
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_job_ends_after_so_many_epochs(jobs, epochs):
    raw = {"max_num_batches": "-1", "checkpoint_threshold": "1"}
    one = jobs.train(raw | {"num_epochs": str(epochs)})
    assert one.state.epoch == epochs
    assert differing(weights_of(one), weights_of(jobs.train(raw | {"max_num_epochs": str(epochs)}))) == []


@pytest.mark.effect_of("seed")
def test_weights_batches_dropout_and_the_sample_for_bleu_follow_from_the_seed(jobs):
    def choices(seed, **more):
        assembled = jobs.assemble({"seed": str(seed), "bleu_sample_size": "4", **more})
        return weights_of(assembled), planned(assembled), assembled.job.bleu.sources

    one, other = choices(13), choices(4294967295)
    assert len(differing(one[0], other[0])) > 8
    assert one[1] != other[1]
    assert one[2] != other[2]
    again = choices(4294967295)
    assert differing(other[0], again[0]) == []
    assert other[1:] == again[1:]


@pytest.mark.effect_of("seed")
def test_the_seed_is_13_unless_it_is_passed(jobs):
    raw = {"rnn_decoder_hidden_dropout": "0.5"}
    default, passed, other = (weights_of(jobs.train(raw | more)) for more in ({}, {"seed": "13"}, {"seed": "14"}))
    assert differing(default, passed) == []
    assert differing(default, other)


@pytest.mark.effect_of("length_penalty_alpha", "length_penalty_beta")
def test_the_length_penalty_is_that_of_bleu_and_of_the_artifact(jobs, tmp_path):
    raw = {"length_penalty_alpha": "0.6", "length_penalty_beta": "5", "bleu_sample_size": "-1"}
    assembled = jobs.assemble(raw)
    save_artifact(assembled.artifact(), tmp_path / "model")
    for translator in (assembled.job.bleu.translator, Translator.load(tmp_path / "model")):
        options = translator.options
        assert (options.length_penalty_alpha, options.length_penalty_beta) == (0.6, 5.0)
    inference = jobs.assemble({}).job.inference
    assert (inference.length_penalty_alpha, inference.length_penalty_beta) == (1.0, 0.0)
