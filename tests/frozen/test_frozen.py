"""What earlier versions wrote is read by this one and gives the same: the promise of docs/compatibility.md.

If a test here fails, the code must learn to read the old form again; the frozen files are never made anew.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from s2s_algo.checkpoints.artifact import CONFIG_FILE, FORMAT_VERSION, load_artifact, save_artifact
from s2s_algo.loading import load_model
from tests.frozen.make import going_on, perplexities, train, translations

HERE = Path(__file__).parent
VERSIONS = sorted(path.parent for path in HERE.glob("*/expected.json"))
MODELS = [model for version in VERSIONS for model in sorted((version / "models").iterdir())]

# Of a score, a mean negative logarithm; processors differ in the last bits of their sums.
TOLERANCE = 1e-4


def expected(version):
    return json.loads((version / "expected.json").read_text(encoding="utf-8"))


def differences(model, frozen):
    """What a model does not translate as a frozen one did, in words."""
    wanted = expected(frozen.parents[1])[frozen.name]
    for ours, theirs in zip(translations(model, [one["source"] for one in wanted]), wanted, strict=True):
        ours_n_best, n_best = ours["n_best"], theirs["n_best"]
        if [one["text"] for one in ours_n_best] != [one["text"] for one in n_best]:
            yield f"{theirs['source']!r} is {ours_n_best} instead of {n_best}"
        elif any(
            abs(one["score"] - other["score"]) > TOLERANCE for one, other in zip(ours_n_best, n_best, strict=True)
        ):
            yield f"{theirs['source']!r} has the scores of {ours_n_best} instead of {n_best}"


def name(path):
    return str(path.relative_to(HERE))


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_a_model_of_an_earlier_version_translates_as_before(model):
    assert list(differences(model, model)) == []


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_it_still_does_after_this_version_has_written_it(model, tmp_path):
    save_artifact(load_artifact(model), tmp_path)
    assert list(differences(tmp_path, model)) == []


@pytest.mark.parametrize("version", VERSIONS, ids=name)
def test_a_job_of_an_earlier_version_goes_on_from_its_checkpoint(version, tmp_path):
    wanted = expected(version)["perplexities"]
    (begin, _), (end, _) = wanted
    opt_ml = going_on(version / "job", tmp_path / "ml", end)
    log = train(opt_ml)
    assert f"Resuming from {opt_ml.checkpoints}/checkpoint-{begin:09d}: update {begin}" in log
    found = perplexities(opt_ml)
    assert [updates for updates, _ in found] == [begin, end]
    assert [perplexity for _, perplexity in found] == pytest.approx([perplexity for _, perplexity in wanted], rel=1e-4)


@pytest.mark.parametrize("version", VERSIONS, ids=name)
def test_every_kind_of_model_was_frozen(version):
    names = sorted(path.name for path in (version / "models").iterdir())
    assert names == ["convolutional", "recurrent", "subwords"]


def test_the_form_in_which_models_are_written_now_is_frozen():
    versions = {json.loads((model / CONFIG_FILE).read_text(encoding="utf-8"))["format_version"] for model in MODELS}
    assert FORMAT_VERSION in versions


@pytest.mark.parametrize("version", VERSIONS, ids=name)
def test_what_is_frozen_is_small(version):
    assert sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) < 150_000


def test_a_model_that_changes_is_noticed(tmp_path):
    artifact = load_model(MODELS[0])
    with torch.no_grad():
        for parameter in artifact.model.parameters():
            parameter += 0.001
    save_artifact(artifact, tmp_path)
    assert list(differences(tmp_path, MODELS[0]))


def test_a_configuration_that_changes_is_noticed(tmp_path):
    frozen = next(model for model in MODELS if model.name == "convolutional")
    model = shutil.copytree(frozen, tmp_path / "model")
    text = (model / CONFIG_FILE).read_text(encoding="utf-8")
    penalty = '"length_penalty_alpha": 0.8'
    assert penalty in text
    (model / CONFIG_FILE).write_text(text.replace(penalty, '"length_penalty_alpha": 1.0'))
    assert list(differences(model, frozen))
