"""The command ``s2s score``: forced scoring, with the numbers of training's loss."""

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional

from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.cli import main
from s2s_algo.data.batches import collate
from s2s_algo.data.buckets import Bucket
from s2s_algo.data.plans import PlannedBatch
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from s2s_algo.training import forced_scoring
from s2s_algo.training.forced_scoring import ForcedScorer
from s2s_algo.training.loss import batch_loss
from tests.tiny_job import corpus_of
from tests.unit.small_model import SOURCE_SIZE, TARGET_SIZE, small_config, small_model, vocabulary

PAIRS = [
    ("w4 w5 w6", "w4 w9"),
    ("w7", ""),
    ("w8 unheard w12 w4 w5 w6", "w10 w4 w5 w6 w7 unheard"),
    ("w4", "w5 w6 w7"),
    ("w5 w5", "w10"),
]


def write_model(folder, *, source_eos=False, **shape):
    limits = LengthLimits(max_input_length=7, ratio_mean=1.2, ratio_std=0.2, max_output_length=7)
    inference = InferenceConfig(beam_size=2, limits=limits, source_eos=source_eos)
    model = small_model(small_config(**shape), scale=2.0)
    save_artifact(Artifact(model, inference, vocabulary(SOURCE_SIZE), vocabulary(TARGET_SIZE)), folder)
    return model


def write_texts(folder, pairs):
    paths = folder / "source", folder / "target"
    for path, lines in zip(paths, zip(*pairs, strict=True), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines))
    return paths


def run(folder, pairs, *options):
    return CliRunner().invoke(main, ["score", *map(str, write_texts(folder, pairs)), "--model", str(folder), *options])


def lines_of(result):
    assert result.exit_code == 0, result.output
    return [[float(cell) for cell in line.split("\t")] for line in result.stdout.splitlines()]


def alone(model, source, target, source_eos=False):
    """The cost of a pair, by a forward pass of its own and the plainest formula."""
    source_ids = vocabulary(SOURCE_SIZE).encode(source) + ([3] if source_eos else [])
    target_ids = vocabulary(TARGET_SIZE).encode(target)
    with torch.no_grad():
        inputs, labels = torch.tensor([[2, *target_ids]]), torch.tensor([*target_ids, 3])
        lengths = torch.tensor([len(source_ids)]), torch.tensor([len(labels)])
        logits = model.output_layer(model(torch.tensor([source_ids]), lengths[0], inputs, lengths[1]))[0]
        return functional.cross_entropy(logits.double(), labels, reduction="sum").item()


@pytest.mark.parametrize("decoder", ["rnn", "cnn"])
@pytest.mark.parametrize("encoder", ["rnn", "cnn"])
def test_each_line_is_the_cost_of_its_sentence_alone(tmp_path, encoder, decoder):
    model = write_model(tmp_path, encoder=encoder, decoder=decoder)
    lines = lines_of(run(tmp_path, PAIRS))
    assert [tokens for _, tokens, _ in lines] == [len(target.split()) + 1 for _, target in PAIRS]
    for (cost, tokens, perplexity), pair in zip(lines, PAIRS, strict=True):
        assert cost == pytest.approx(alone(model, *pair), abs=2e-5)
        assert perplexity == pytest.approx(math.exp(cost / tokens), rel=1e-5)


def test_the_total_is_the_loss_of_training(tmp_path):
    model = write_model(tmp_path)
    source, target = vocabulary(SOURCE_SIZE), vocabulary(TARGET_SIZE)
    corpus = corpus_of([(source.encode(one), target.encode(other)) for one, other in PAIRS])

    batch = collate(corpus, PlannedBatch(Bucket(10, 10), np.arange(len(PAIRS))), target.bos_id, target.eos_id)
    loss, totals = batch_loss(model, batch)
    result = run(tmp_path, PAIRS, "--json")
    total = json.loads(result.stderr)
    assert total["sentences"] == 5
    assert total["tokens"] == totals.tokens == 17
    assert total["negative_log_probability"] / 17 == pytest.approx(loss.item(), rel=1e-6)
    assert total["perplexity"] == pytest.approx(math.exp(loss.item()), rel=1e-5)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert list(lines[0]) == ["negative_log_probability", "tokens", "perplexity"]
    assert sum(line["negative_log_probability"] for line in lines) == pytest.approx(total["negative_log_probability"])


def test_the_total_is_told_on_standard_error(tmp_path):
    write_model(tmp_path)
    result = run(tmp_path, PAIRS)
    cost = sum(line[0] for line in lines_of(result))
    beginning, perplexity = result.stderr.rstrip("\n").rsplit(" ", 1)
    number = float(beginning.split("negative log-probability ")[1].removesuffix(", perplexity"))
    assert beginning.startswith("total: 5 sentences, 17 tokens, negative log-probability ")
    assert number == pytest.approx(cost, abs=1e-5)
    assert float(perplexity) == pytest.approx(math.exp(cost / 17), rel=1e-5)


def test_a_source_ends_as_the_model_learnt_it(tmp_path):
    model = write_model(tmp_path, source_eos=True)
    for (cost, _, _), pair in zip(lines_of(run(tmp_path, PAIRS)), PAIRS, strict=True):
        assert cost == pytest.approx(alone(model, *pair, source_eos=True), abs=2e-5)


def test_batches_and_chunks_change_no_number(tmp_path, monkeypatch):
    write_model(tmp_path)
    pairs = PAIRS * 7
    expected = lines_of(run(tmp_path, pairs))
    monkeypatch.setattr(forced_scoring, "_POSITIONS", 9)
    monkeypatch.setattr(forced_scoring, "_PAIRS_AT_ONCE", 4)
    for found, wanted in zip(lines_of(run(tmp_path, pairs)), expected, strict=True):
        assert found == pytest.approx(wanted, abs=2e-5)


def test_an_endless_text_needs_no_endless_memory(tmp_path, monkeypatch):
    write_model(tmp_path)
    monkeypatch.setattr(forced_scoring, "_PAIRS_AT_ONCE", 4)
    read = []

    def endless():
        while True:
            read.append(1)
            yield PAIRS[0]

    scores = ForcedScorer.load(tmp_path).score(endless())
    for _ in range(6):
        next(scores)
    assert len(read) == 8


def test_batches_are_bounded_by_positions(tmp_path, monkeypatch):
    write_model(tmp_path)
    monkeypatch.setattr(forced_scoring, "_POSITIONS", 12)
    shapes = []
    score = forced_scoring.score_labels
    monkeypatch.setattr(
        forced_scoring, "score_labels", lambda model, batch: shapes.append(batch.target_in.shape) or score(model, batch)
    )
    lines_of(run(tmp_path, PAIRS * 3))
    assert sum(rows for rows, _ in shapes) == 15
    assert all(rows == 1 or rows * columns <= 12 for rows, columns in shapes)
    assert max(rows for rows, _ in shapes) > 1


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (("w4 " * 8, "w4"), "the source has 8 tokens, but the model takes at most 7 on this side"),
        (("w4", "w4 " * 7), "the target has 7 tokens, but the model takes at most 6 on this side"),
        (("  ", "w4"), "the source is blank, which no model can read; remove the pair"),
    ],
)
def test_what_the_model_cannot_take_is_told_with_its_line(tmp_path, pair, text):
    write_model(tmp_path)
    result = run(tmp_path, [PAIRS[0], pair])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ClientError: line 2: {text}")


def test_a_model_that_reads_an_end_takes_a_token_less(tmp_path):
    write_model(tmp_path, source_eos=True)
    assert "has 7 tokens, but the model takes at most 6" in run(tmp_path, [("w4 " * 7, "w4")]).stderr


def test_texts_of_different_lengths_are_refused(tmp_path):
    write_model(tmp_path)
    source, target = write_texts(tmp_path, PAIRS)
    target.write_text("w4\n")
    result = CliRunner().invoke(main, ["score", str(source), str(target), "--model", str(tmp_path)])
    assert result.exit_code == 2
    assert f"{source} has 5 lines, {target} has 1" in result.stderr


def test_a_folder_without_a_model_is_told(tmp_path):
    result = run(tmp_path, PAIRS)
    assert result.exit_code == 2
    assert "config.json: the file is missing" in result.stderr
