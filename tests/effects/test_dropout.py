"""Dropout acts in training, on its own tensor, and nowhere else."""

import math

import pytest
import torch

from s2s_algo.decoding.translator import Translator
from s2s_algo.model import decoder_recurrent
from tests.tiny_job import draw_pairs

NAMES = ("embed_dropout_source", "embed_dropout_target", "rnn_decoder_hidden_dropout")

# Large enough that shares can be measured, and a single batch.
SIZES = {
    "num_embed_source": "64",
    "num_embed_target": "48",
    "rnn_num_hidden": "32",
    "batch_size": "64",
    "bucketing_enabled": "false",
    "max_seq_len_source": "6",
    "max_seq_len_target": "6",
}
PAIRS = {"train_pairs": draw_pairs(64, seed=3, shortest=6, longest=6)}


@pytest.fixture(autouse=True)
def plain_loop(monkeypatch):
    """Hooks see the steps of the plain loop alone; test_fused_loops.py compares the fused one with it."""
    monkeypatch.setattr(decoder_recurrent, "has_fused_loops", lambda device: False)


class Look:
    """The three tensors that may be dropped from, as one forward pass computes them."""

    def __init__(self, job, training):
        model = job.model.train(training)
        self.tensors = {name: [] for name in NAMES}
        hooks = [
            model.source_embedding.register_forward_hook(lambda _, __, output: self.keep(NAMES[0], output)),
            model.target_embedding.register_forward_hook(lambda _, __, output: self.keep(NAMES[1], output)),
            model.decoder.hidden_layer.register_forward_pre_hook(lambda _, inputs: self.keep(NAMES[2], inputs[0])),
        ]
        (planned,) = job.train_data.plan(0)
        batch = job.train_data.collate(planned)
        with torch.no_grad():
            self.outputs = model(batch.source, batch.source_length, batch.target_in)
        for hook in hooks:
            hook.remove()

    def keep(self, name, tensor):
        self.tensors[name].append(tensor.clone())

    def __getitem__(self, name):
        """The tensor of a name, all steps of the decoder one after the other."""
        return torch.stack(self.tensors[name])


def undropped(job):
    """The same tensors of the same weights without dropout, in evaluation."""
    return Look(job, training=False)


@pytest.mark.effect_of(*NAMES)
def test_without_dropout_training_computes_what_evaluation_does(jobs):
    job = jobs.assemble(SIZES | dict.fromkeys(NAMES, "0"), **PAIRS).job
    training, evaluation = Look(job, training=True), undropped(job)
    for name in NAMES:
        assert torch.equal(training[name], evaluation[name])
        assert (training[name] == 0).float().mean() < 0.01
    assert torch.equal(training.outputs, evaluation.outputs)


def check_dropout(jobs, name, share):
    """Everything that is said of all three: the share is dropped, the rest is scaled up, evaluation is left alone."""
    job = jobs.assemble(SIZES | {name: str(share)}, **PAIRS).job
    before = undropped(job)
    torch.manual_seed(3)
    training = Look(job, training=True)
    after = undropped(job)
    for other in NAMES:
        assert torch.equal(before[other], after[other])
    dropped = (training[name] == 0) & (before[name] != 0)
    assert dropped.float().mean().item() == pytest.approx(share, abs=0.02)
    assert not torch.equal(training.outputs, before.outputs)
    # Another mask at every pass.
    assert not torch.equal(Look(job, training=True)[name] == 0, training[name] == 0)
    return training, before, dropped


@pytest.mark.effect_of("embed_dropout_source")
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_source_embeddings_are_dropped_from(jobs, share):
    training, before, dropped = check_dropout(jobs, "embed_dropout_source", share)
    kept = training["embed_dropout_source"][~dropped]
    torch.testing.assert_close(kept, before["embed_dropout_source"][~dropped] / (1 - share))
    assert torch.equal(training["embed_dropout_target"], before["embed_dropout_target"])


@pytest.mark.effect_of("embed_dropout_target")
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_target_embeddings_are_dropped_from(jobs, share):
    training, before, dropped = check_dropout(jobs, "embed_dropout_target", share)
    kept = training["embed_dropout_target"][~dropped]
    torch.testing.assert_close(kept, before["embed_dropout_target"][~dropped] / (1 - share))
    assert torch.equal(training["embed_dropout_source"], before["embed_dropout_source"])


@pytest.mark.effect_of("rnn_decoder_hidden_dropout")
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_state_and_context_are_dropped_from_where_the_decoder_joins_them(jobs, share):
    training, before, dropped = check_dropout(jobs, "rnn_decoder_hidden_dropout", share)
    # At the first step nothing else has been dropped yet.
    first = training["rnn_decoder_hidden_dropout"][0]
    kept = ~dropped[0]
    torch.testing.assert_close(first[kept], before["rnn_decoder_hidden_dropout"][0][kept] / (1 - share))
    for half in first.chunk(2, dim=1):
        assert (half == 0).float().mean().item() == pytest.approx(share, abs=0.08)
    # Every step draws its own mask.
    assert not torch.equal(dropped[0], dropped[1])
    assert torch.equal(training["embed_dropout_source"], before["embed_dropout_source"])
    assert torch.equal(training["embed_dropout_target"], before["embed_dropout_target"])


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.effect_of(name)) for name in NAMES])
def test_dropout_of_1_drops_everything_and_training_goes_on(jobs, name):
    job = jobs.assemble(SIZES | {name: "1"}, **PAIRS).job
    assert not Look(job, training=True)[name].any()
    trained = jobs.train({name: "1", "max_num_batches": "3"})
    assert all(weight.isfinite().all() for weight in trained.job.model.parameters())
    assert math.isfinite(trained.state.best_score)


@pytest.mark.effect_of(*NAMES)
def test_translations_for_bleu_are_not_dropped_from(jobs, monkeypatch):
    translate, scores = Translator.translate, []

    def spy(self, sources, options=None):
        found = translate(self, sources, options)
        if options is None or options.max_output_length is None:  # otherwise it is the trial before training
            scores.append([translation.score for translation in found])
        return found

    monkeypatch.setattr(Translator, "translate", spy)
    assembled = jobs.train(dict.fromkeys(NAMES, "0.5") | {"bleu_sample_size": "-1"})
    assembled.job.model.train()
    assembled.job.bleu.score(assembled.job.workers, lambda *_: None)
    assert len(scores) == 2
    assert scores[0] == scores[1]
