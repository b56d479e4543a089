"""Whole training trajectories: every optimizer, with and without clipping, weight decay and falling rates."""

import pytest
import torch

from s2s_algo.data.batches import Batch
from s2s_algo.training.loss import batch_loss
from s2s_algo.training.optimizers import OptimizerConfig, build_optimizer
from s2s_algo.training.schedules import InverseSquareRoot, InverseTime
from tests.golden.sockeye import TRAINING, load_folder, unflatten

FOLDERS = [load_folder(path) for path in sorted(TRAINING.iterdir())]
RUNS = [(folder, run) for folder in FOLDERS for run in folder.read_json("runs.json")["runs"]]

SCHEDULES = {"fixed_rate_inv_t": InverseTime, "fixed_rate_inv_sqrt_t": InverseSquareRoot}


def batches(folder):
    arrays = {name: torch.tensor(array, dtype=torch.int64) for name, array in folder.read_arrays("batches.npz").items()}
    for number in sorted({name.partition("_")[0] for name in arrays}):
        source, target_in, label = (arrays[f"{number}_{kind}"] for kind in ("source", "target", "target_label"))
        yield Batch(source, source.ne(0).sum(1), target_in, label, label.ne(0).sum(1))


def learning_rate(run):
    if run["lr_scheduler"] is None:
        return lambda _: run["learning_rate"]
    settings = run["lr_scheduler"]
    half_life = settings["half_life"] * settings["checkpoint_frequency"]
    return SCHEDULES[settings["type"]](run["learning_rate"], half_life).rate


def snapshot(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(("folder", "run"), RUNS, ids=[f"{folder.path.name}-{run['name']}" for folder, run in RUNS])
def test_a_training_run_follows_the_golden_one(folder, run, compare):
    initial = folder.read_arrays("initial.npz")
    golden = folder.read_arrays(f"run_{run['name']}.npz")
    model = folder.model(initial).train()
    optimizer = build_optimizer(
        model,
        OptimizerConfig(
            type=run["optimizer"],
            weight_decay=run["weight_decay"],
            momentum=run["momentum"] or 0.0,
            clip_gradient=run["clip_gradient"],
        ),
    )
    rate = learning_rate(run)
    losses, totals, rates, after_update = [], [], [], []
    for update, batch in enumerate(batches(folder), start=1):
        loss, counted = batch_loss(model, batch)
        loss.backward()
        optimizer.step(rate(update))
        losses.append(loss.item())
        totals.append(counted)
        rates.append(rate(update))
        after_update.append(snapshot(model))

    assert len(losses) == run["updates"] == optimizer.updates
    case = f"training {folder.path.name} {run['name']}"
    compare(f"{case}: loss, relative", losses, golden["loss"], relative=True)
    compare(f"{case}: perplexity, relative", [t.perplexity for t in totals], golden["perplexity"], relative=True)
    compare(f"{case}: accuracy", [t.accuracy for t in totals], golden["accuracy"])
    compare(f"{case}: learning rate, relative", rates, golden["learning_rate"], 1e-12, relative=True)
    for name, ours in (("after_update_1", after_update[0]), ("final", after_update[-1])):
        expected = folder.parameters(unflatten(golden[name], initial))
        assert ours.keys() == expected.keys()
        for parameter, value in ours.items():
            compare(f"{case}: parameters, {name}", value, expected[parameter])


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.path.name for folder in FOLDERS])
def test_the_gradients_of_the_first_batch_are_the_golden_ones(folder, compare):
    model = folder.model(folder.read_arrays("initial.npz")).train()
    batch_loss(model, next(batches(folder)))[0].backward()
    expected = folder.parameters(folder.read_arrays("gradients_batch1.npz"))
    assert expected.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        compare("training: gradients of batch 1", parameter.grad, expected[name], 1e-6)
        assert expected[name].any()
