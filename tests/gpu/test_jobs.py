"""Whole jobs train, stop, go on and leave models that load on any device."""

import math

import pytest
import torch

from s2s_algo.checkpoints.artifact import save_artifact
from s2s_algo.decoding.translator import Translator
from s2s_algo.training.reporting.reporter import Outputs
from s2s_algo.training.stopping import StopRequested
from s2s_algo.training.trainer import train
from s2s_algo.training.workers import Workers
from tests.tiny_job import assemble_job, copies, never
from tests.unit.training.test_resume import StopAt
from tests.unit.training.test_together import JOB, PAIRS

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
KINDS = {
    "rnn": {},
    "gru, bilinear": {"rnn_cell_type": "gru", "rnn_attention_type": "bilinear"},
    "cnn": {"encoder_type": "cnn", "decoder_type": "cnn", "cnn_num_hidden": "8"},
}
DROPOUT = {
    "embed_dropout_source": "0.3",
    "embed_dropout_target": "0.2",
    "rnn_decoder_hidden_dropout": "0.4",
    "cnn_hidden_dropout": "0.2",
}
# Of losses. The same updates on another device differ by the rounding of all updates before them; on the same GPU, by
# the order in which it adds up the gradients of a word that occurs several times.
OTHER_DEVICE, SAME_DEVICE = 3e-4, 1e-4


def trained(folder, device, raw, stop_requested=never):
    """A job in float32 on a device, and how it ended."""
    folder.mkdir(exist_ok=True)
    outputs = Outputs(folder / "data", folder / "tensorboard", artifact=folder / "model")
    assembled = assemble_job(
        folder, JOB | raw, workers=Workers(device), stop_requested=stop_requested, outputs=outputs, **PAIRS
    )
    torch.set_float32_matmul_precision("highest")
    try:
        train(assembled.job, assembled.state)
    except StopRequested:
        return assembled, True
    return assembled, False


def losses(assembled, channel):
    return [math.log(entry[f"{channel}_perplexity"]) for entry in assembled.state.history]


def assert_equal(found, expected, tolerance):
    assert found.state.updates == expected.state.updates
    for channel in ("train", "validation"):
        assert losses(found, channel) == pytest.approx(losses(expected, channel), abs=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_learns_what_it_learns_on_the_cpu(device, tmp_path, kind):
    found, _ = trained(tmp_path / "device", device, KINDS[kind])
    assert found.job.model.device.type == device.type
    assert {moment.device.type for moment in found.job.optimizer.state().values()} == {device.type}
    expected, _ = trained(tmp_path / "cpu", CPU, KINDS[kind])
    assert losses(expected, "train")[-1] < losses(expected, "train")[0] - 0.3
    assert_equal(found, expected, OTHER_DEVICE)
    assert (tmp_path / "device/data/report.html").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_job_goes_on_as_if_it_had_not_been(device, tmp_path, kind):
    raw = KINDS[kind] | DROPOUT
    whole, _ = trained(tmp_path / "whole", device, raw)
    dry, _ = trained(tmp_path / "dry", device, KINDS[kind])
    assert abs(losses(dry, "train")[-1] - losses(whole, "train")[-1]) > 10 * SAME_DEVICE
    stopped, was_stopped = trained(tmp_path / "stopped", device, raw, StopAt(40))
    assert was_stopped
    assert 0 < stopped.state.updates < whole.state.updates
    resumed, _ = trained(tmp_path / "stopped", device, raw)
    assert_equal(resumed, whole, SAME_DEVICE)


@pytest.mark.parametrize("begins_on_cpu", [True, False])
def test_a_job_goes_on_on_another_device(device, tmp_path, begins_on_cpu):
    expected, _ = trained(tmp_path / "whole", CPU, {})
    first, second = (CPU, device) if begins_on_cpu else (device, CPU)
    trained(tmp_path / "moved", first, {"max_num_batches": "20"})
    found, _ = trained(tmp_path / "moved", second, {})
    assert found.job.model.device.type == second.type
    assert {moment.device.type for moment in found.job.optimizer.state().values()} == {second.type}
    assert_equal(found, expected, OTHER_DEVICE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trained_on_cpu", [True, False])
def test_a_model_loads_on_any_device(device, tmp_path, kind, trained_on_cpu):
    assembled, _ = trained(tmp_path, CPU if trained_on_cpu else device, KINDS[kind])
    artifact = assembled.artifact()
    save_artifact(artifact, tmp_path / "model")
    weights = {name: tensor.cpu() for name, tensor in copies(dict(artifact.model.named_parameters())).items()}
    sources = [list(source) for source, _ in PAIRS["train_pairs"]]
    found = []
    for loaded_on in (CPU, device):
        translator = Translator.load(tmp_path / "model", loaded_on)
        assert translator.model.device.type == loaded_on.type
        for name, parameter in translator.model.named_parameters():
            assert torch.equal(parameter.cpu(), weights[name]), name
        found.append(translator.translate(sources))
    assert len({translation.text for translation in found[0]}) > 3
    scores = [[translation.score for translation in translations] for translations in found]
    assert scores[1] == pytest.approx(scores[0], abs=OTHER_DEVICE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_in_mixed_precision_learns(device, tmp_path, kind):
    found, _ = trained(tmp_path / "mixed", device, KINDS[kind] | {"precision": "bfloat16"})
    exact, _ = trained(tmp_path / "exact", device, KINDS[kind])
    assert losses(found, "train") != losses(exact, "train")
    assert losses(found, "validation")[-1] == pytest.approx(losses(exact, "validation")[-1], abs=0.1)


def test_a_job_that_is_not_told_where_takes_the_gpu(cuda, tmp_path):
    assert assemble_job(tmp_path).job.model.device.type == "cuda"
