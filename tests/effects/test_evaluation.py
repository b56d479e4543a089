"""What is measured, on what, and which checkpoint is the best one."""

import logging

import pytest

from s2s_algo.checkpoints.artifact import save_artifact
from s2s_algo.decoding import scheduler as scheduler_module
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.training import trainer
from s2s_algo.training.validation import BleuSample
from tests.tiny_job import VALIDATION, copies, differing, script_validation

EVERY_UPDATE = {"checkpoint_frequency_num_batches": "1", "checkpoint_threshold": "99"}


@pytest.mark.effect_of("training_metric")
@pytest.mark.parametrize("metric", ["perplexity", "accuracy"])
def test_the_speed_lines_show_the_training_metric(jobs, caplog, metric):
    caplog.set_level(logging.INFO, "s2s_algo.training.progress")
    assembled = jobs.train({"training_metric": metric, "max_num_batches": "50"})
    (line,) = (message for message in caplog.messages if "Speed" in message)
    value = assembled.state.history[0][f"train_{metric}"]
    assert line.startswith("Epoch[12] Batch [2]\tSpeed: ")
    assert line.endswith(f" samples/sec\t{metric}={value:.6f}")


@pytest.mark.effect_of("training_metric")
def test_both_metrics_are_logged_at_checkpoints_whichever_is_shown_in_between(jobs, caplog):
    caplog.set_level(logging.INFO, "s2s_algo.training.trainer")
    logged = []
    for metric in ("perplexity", "accuracy"):
        jobs.train({"training_metric": metric})
        logged.append([message for message in caplog.messages if "Train-" in message or "alidation-" in message])
        caplog.clear()
    assert logged[0] == logged[1]
    text = "\n".join(logged[0])
    for name in ("Train-perplexity=", "Train-accuracy=", "Validation-perplexity=", "Validation-accuracy="):
        assert text.count(f"Checkpoint [1]\t{name}") == 1


@pytest.mark.effect_of("optimized_metric")
@pytest.mark.parametrize(("metric", "best", "score"), [("perplexity", 2, 3.0), ("accuracy", 3, 0.6), ("bleu", 4, 0.5)])
def test_the_optimized_metric_decides_which_checkpoint_is_best(jobs, monkeypatch, metric, best, score):
    script_validation(monkeypatch, perplexities=[4, 3, 5, 6, 7], accuracies=[0.4, 0.5, 0.6, 0.3, 0.2])
    bleu = iter([0.1, 0.2, 0.3, 0.5, 0.4])
    monkeypatch.setattr(BleuSample, "score", lambda *_: next(bleu))
    after_update = []
    update = trainer.update

    def spy(job, state, planned):
        totals = update(job, state, planned)
        after_update.append(copies(dict(job.model.named_parameters())))
        return totals

    monkeypatch.setattr(trainer, "update", spy)
    raw = EVERY_UPDATE | {"optimized_metric": metric, "max_num_batches": "5", "bleu_sample_size": "2"}
    assembled = jobs.train(raw)
    assert assembled.state.best_checkpoint == best
    assert assembled.state.best_score == pytest.approx(score)
    artifact = assembled.artifact()
    assert artifact.training["optimized_metric"] == metric
    assert differing(dict(artifact.model.named_parameters()), after_update[best - 1]) == []


@pytest.mark.effect_of("optimized_metric")
@pytest.mark.parametrize(("metric", "updates"), [("perplexity", 3), ("accuracy", 4)])
def test_the_optimized_metric_decides_on_early_stopping_and_on_the_learning_rate(jobs, monkeypatch, metric, updates):
    # Perplexity is at its best at the first checkpoint, accuracy at the second.
    script_validation(monkeypatch, perplexities=[4, 5, 6, 7], accuracies=[0.4, 0.5, 0.5, 0.5])
    raw = EVERY_UPDATE | {
        "optimized_metric": metric,
        "max_num_batches": "-1",
        "checkpoint_threshold": "2",
        "plateau_reduce_lr_threshold": "1",
    }
    assembled = jobs.train(raw)
    assert assembled.state.updates == updates
    rates = [entry["learning_rate"] for entry in assembled.state.history]
    assert rates == [0.01] * (updates - 1) + [0.005]


@pytest.mark.effect_of("optimized_metric")
@pytest.mark.parametrize("metric", ["perplexity", "accuracy", "bleu"])
def test_the_log_names_the_optimized_metric(jobs, caplog, metric):
    caplog.set_level(logging.INFO)
    jobs.train({"optimized_metric": metric, "max_num_batches": "1"})
    assert f"Early stopping by optimizing '{metric}'" in caplog.messages
    assert any(message.startswith(f"Validation-{metric} improved to ") for message in caplog.messages)
    assert any(f"Best validation {metric}: " in message for message in caplog.messages)


def watch_translations(monkeypatch):
    """Lists the sources of every call of the translator but the trial before training, which has options of its own."""
    translate, asked = Translator.translate, []

    def spy(self, sources, options=None):
        if options is None or options.max_output_length is None:
            asked.append([list(source) for source in sources])
        return translate(self, sources, options)

    monkeypatch.setattr(Translator, "translate", spy)
    return asked


ALL = [source for source, _ in VALIDATION]


@pytest.mark.effect_of("bleu_sample_size")
@pytest.mark.parametrize(("size", "count"), [("1", 1), ("3", 3), ("7", 7), ("8", 7), ("-1", 7)])
def test_so_many_sentences_are_translated_at_every_checkpoint(jobs, monkeypatch, size, count):
    asked = watch_translations(monkeypatch)
    jobs.train(EVERY_UPDATE | {"bleu_sample_size": size})
    assert [len(sources) for sources in asked] == [count] * 3
    # The same ones every time, and no sentence twice.
    assert asked[0] == asked[1] == asked[2]
    assert len({str(source) for source in asked[0]}) == count
    assert all(source in ALL for source in asked[0])


@pytest.mark.effect_of("bleu_sample_size")
def test_a_sample_size_of_0_means_no_bleu(jobs, monkeypatch):
    asked = watch_translations(monkeypatch)
    assembled = jobs.train(EVERY_UPDATE | {"bleu_sample_size": "0"})
    assert asked == []
    assert "validation_bleu" not in assembled.state.history[0]


@pytest.mark.effect_of("bleu_sample_size", "optimized_metric")
def test_a_sample_size_of_0_means_all_where_bleu_is_optimized(jobs, monkeypatch):
    asked = watch_translations(monkeypatch)
    assembled = jobs.train({"bleu_sample_size": "0", "optimized_metric": "bleu"})
    assert [sorted(sources) for sources in asked] == [sorted(ALL)]
    assert assembled.state.best_score == assembled.state.history[0]["validation_bleu"]


@pytest.mark.effect_of("bleu_sample_size")
def test_a_sample_larger_than_the_channel_is_logged(jobs, caplog):
    caplog.set_level(logging.INFO)
    jobs.assemble({"bleu_sample_size": "8"})
    assert "bleu_sample_size 8 is more than the 7 validation pairs: all are used" in caplog.messages


@pytest.mark.effect_of("bleu_sample_size")
def test_a_sample_leaves_perplexity_on_all_pairs(jobs):
    one, other = (jobs.train({"bleu_sample_size": size}).state.history[0] for size in ("2", "0"))
    assert one["validation_perplexity"] == other["validation_perplexity"]
    assert 0 <= one["validation_bleu"] <= 1


@pytest.mark.effect_of("beam_size")
@pytest.mark.parametrize("width", [1, 4])
def test_the_beam_is_so_wide_for_bleu_and_in_the_artifact(jobs, monkeypatch, tmp_path, width):
    search, widths = scheduler_module.BeamSearch, []

    def spy(*args, beam_size, **others):
        widths.append(beam_size)
        return search(*args, beam_size=beam_size, **others)

    monkeypatch.setattr(scheduler_module, "BeamSearch", spy)
    assembled = jobs.train({"beam_size": str(width), "bleu_sample_size": "-1"})
    assert widths
    assert set(widths) == {width}
    save_artifact(assembled.artifact(), tmp_path / "model")
    widths.clear()
    translator = Translator.load(tmp_path / "model")
    assert translator.options.beam_size == width
    translator.translate([[4, 5]])
    assert widths == [width]


@pytest.mark.effect_of("beam_size")
def test_a_beam_as_wide_as_the_target_vocabulary_is_refused(jobs):
    jobs.assemble({"beam_size": "9"})
    with pytest.raises(ClientError) as caught:
        jobs.assemble({"beam_size": "10"})
    assert str(caught.value) == (
        "beam_size: 10 is not in 1 … 9 (the target vocabulary has 10 entries). Choose a smaller beam."
    )
