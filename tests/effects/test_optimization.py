"""How weights begin, and how an update changes them."""

import math

import pytest
import torch

from s2s_algo.training.loss import batch_loss
from s2s_algo.training.optimizers import Optimizer
from tests.tiny_job import copies, script_validation, weights_of

SGD = {"optimizer_type": "sgd", "learning_rate": "0.5", "clip_gradient": "-1", "max_num_batches": "1"}
RATE = 0.5


def is_bias(name):
    return ".bias" in name


def first_gradient(jobs, raw):
    """The gradient of the first batch at the first weights."""
    job = jobs.assemble(raw).job
    job.model.train()
    batch = job.train_data.collate(job.train_data.plan(0)[0])
    batch_loss(job.model, batch)[0].backward()
    return {name: weight.grad for name, weight in job.model.named_parameters()}


def first_weights(jobs, raw):
    return weights_of(jobs.assemble(raw))


def first_step(jobs, raw):
    """What the first update adds to the weights."""
    before, after = first_weights(jobs, raw), weights_of(jobs.train(raw | {"max_num_batches": "1"}))
    return {name: after[name] - before[name] for name in before}


def assert_close(ours, expected, **tolerance):
    assert ours.keys() == expected.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], expected[name], **({"rtol": 1e-4, "atol": 1e-6} | tolerance), msg=name)


def largest(tensors):
    return max(tensor.abs().max().item() for tensor in tensors.values())


@pytest.mark.effect_of("loss_type")
def test_the_loss_is_the_cross_entropy_per_target_token(jobs):
    raw = {"loss_type": "cross-entropy", "max_num_batches": "1"}
    fresh = jobs.assemble(raw).job
    batch = fresh.train_data.collate(fresh.train_data.plan(0)[0])
    with torch.no_grad():
        logits = fresh.model.output_layer(fresh.model(batch.source, batch.source_length, batch.target_in)).double()
    nats = [
        -math.log(logits[row, column].softmax(0)[label])
        for row, labels in enumerate(batch.target_label.tolist())
        for column, label in enumerate(labels)
        if label
    ]
    (entry,) = jobs.train(raw).state.history
    assert math.log(entry["train_perplexity"]) == pytest.approx(sum(nats) / len(nats), rel=1e-5)
    # And it is what updates lower.
    assert jobs.train(raw | {"max_num_batches": "40"}).state.history[0]["train_perplexity"] < entry["train_perplexity"]


@pytest.mark.effect_of("optimizer_type")
def test_sgd_takes_a_step_down_the_gradient(jobs):
    gradient = first_gradient(jobs, SGD)
    assert_close(first_step(jobs, SGD), {name: -RATE * value for name, value in gradient.items()})


@pytest.mark.effect_of("optimizer_type")
def test_the_first_step_of_adam_is_the_rate_in_the_direction_of_the_gradient(jobs):
    raw = SGD | {"optimizer_type": "adam"}
    gradient = first_gradient(jobs, raw)
    # The averages are corrected for their beginning at 0, but for epsilon.
    epsilon = 1e-8 / math.sqrt(1 - 0.999)
    assert_close(first_step(jobs, raw), {name: -RATE * g / (g.abs() + epsilon) for name, g in gradient.items()})


@pytest.mark.effect_of("optimizer_type")
def test_the_first_step_of_rmsprop_divides_by_a_tenth_of_the_squared_gradient(jobs):
    raw = SGD | {"optimizer_type": "rmsprop"}
    gradient = first_gradient(jobs, raw)
    expected = {name: -RATE * g / torch.sqrt(0.1 * g * g + 1e-8) for name, g in gradient.items()}
    assert_close(first_step(jobs, raw), expected)


@pytest.mark.effect_of("learning_rate")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_twice_the_rate_is_twice_the_first_step(jobs, optimizer):
    raw = SGD | {"optimizer_type": optimizer}
    one, two = (first_step(jobs, raw | {"learning_rate": rate}) for rate in ("0.25", "0.5"))
    assert largest(one) > 0
    assert_close({name: 2 * step for name, step in one.items()}, two)


@pytest.mark.effect_of("clip_gradient")
def test_no_number_of_a_gradient_counts_more_than_the_clip(jobs):
    gradient = first_gradient(jobs, SGD)
    clip = largest(gradient) / 3
    expected = {name: -RATE * g.clamp(-clip, clip) for name, g in gradient.items()}
    step = first_step(jobs, SGD | {"clip_gradient": str(clip)})
    assert_close(step, expected)
    assert largest(step) == pytest.approx(RATE * clip, rel=1e-5)


@pytest.mark.effect_of("clip_gradient")
@pytest.mark.parametrize("clip", ["0", "-1", "-0.001"])
def test_a_clip_that_is_not_positive_is_none(jobs, clip):
    gradient = first_gradient(jobs, SGD)
    assert largest(first_step(jobs, SGD | {"clip_gradient": clip})) == pytest.approx(RATE * largest(gradient), rel=1e-5)


@pytest.mark.effect_of("weight_decay")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_decay_pulls_weights_towards_zero_and_spares_biases(jobs, optimizer):
    raw = SGD | {"optimizer_type": optimizer, "learning_rate": "0.01"}
    after = {}
    for decay in ("0", "0.1"):
        assembled = jobs.assemble(raw | {"weight_decay": decay})
        with torch.no_grad():
            for name, weight in assembled.job.model.named_parameters():
                if is_bias(name):
                    weight.fill_(0.5)
                else:
                    weight.add_(torch.sign(weight))
        before = weights_of(assembled)
        assembled.job.model.train()
        # Without a gradient, decay is all that moves a weight.
        assembled.job.optimizer.step(0.01)
        after[decay] = weights_of(assembled)
    for name, value in before.items():
        assert torch.equal(after["0"][name], value)
        if is_bias(name):
            assert torch.equal(after["0.1"][name], value)
        else:
            assert (after["0.1"][name].abs() < value.abs()).all()
            assert torch.equal(after["0.1"][name].sign(), value.sign())


@pytest.mark.effect_of("weight_decay")
def test_with_sgd_decay_takes_its_share_of_the_weight(jobs):
    plain, decayed = first_step(jobs, SGD), first_step(jobs, SGD | {"weight_decay": "0.1"})
    weights = first_weights(jobs, SGD)
    expected = {name: plain[name] - (0 if is_bias(name) else RATE * 0.1) * weights[name] for name in plain}
    assert_close(decayed, expected)
    assert largest({name: decayed[name] - plain[name] for name in plain}) > 0.01


@pytest.mark.effect_of("momentum")
def test_momentum_keeps_a_share_of_the_last_step(jobs):
    two = SGD | {"max_num_batches": "2"}
    first = first_step(jobs, SGD | {"momentum": "0.8"})
    assert_close(first, first_step(jobs, SGD))
    with_momentum, without = weights_of(jobs.train(two | {"momentum": "0.8"})), weights_of(jobs.train(two))
    assert_close(with_momentum, {name: without[name] + 0.8 * first[name] for name in first}, rtol=1e-3)
    assert largest(first) > 0.01


@pytest.mark.effect_of("momentum")
def test_momentum_of_0_or_none_is_plain_sgd(jobs):
    two = SGD | {"max_num_batches": "2"}
    zero, none = weights_of(jobs.train(two | {"momentum": "0"})), weights_of(jobs.train(two | {"momentum": "None"}))
    assert all(torch.equal(zero[name], none[name]) for name in zero)


@pytest.fixture
def rates(jobs, monkeypatch):
    """Trains jobs in which only the first checkpoint improves; returns the rate of every update."""
    script_validation(monkeypatch, [5, 6])
    real, seen = Optimizer.step, []

    def spy(self, learning_rate):
        seen.append(learning_rate)
        real(self, learning_rate)

    monkeypatch.setattr(Optimizer, "step", spy)

    def rates(raw):
        seen.clear()
        common = {"max_num_batches": "12", "checkpoint_frequency_num_batches": "2", "checkpoint_threshold": "99"}
        jobs.train(common | {"learning_rate": "0.08"} | raw)
        return list(seen)

    return rates


@pytest.mark.effect_of("lr_scheduler_type", "fixed_rate_lr_half_life")
@pytest.mark.parametrize(("half_life", "updates"), [("1", 2), ("3", 6)])
def test_inverse_time_halves_the_rate_after_so_many_checkpoints(rates, half_life, updates):
    found = rates({"lr_scheduler_type": "fixed_rate_inv_t", "fixed_rate_lr_half_life": half_life})
    assert found == pytest.approx([0.08 / (1 + t / updates) for t in range(1, 13)])
    assert found[updates - 1] == pytest.approx(0.04)


@pytest.mark.effect_of("lr_scheduler_type", "fixed_rate_lr_half_life")
@pytest.mark.parametrize(("half_life", "updates"), [("1", 2), ("3", 6)])
def test_inverse_square_root_of_time_halves_the_rate_after_so_many_checkpoints(rates, half_life, updates):
    found = rates({"lr_scheduler_type": "fixed_rate_inv_sqrt_t", "fixed_rate_lr_half_life": half_life})
    assert found == pytest.approx([0.08 / math.sqrt(1 + 3 * t / updates) for t in range(1, 13)])
    assert found[updates - 1] == pytest.approx(0.04)


@pytest.mark.effect_of("lr_scheduler_type", "plateau_reduce_lr_threshold")
@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        # The first checkpoint, after update 2, improves; then one is missed every 2 updates.
        ("1", [0.08] * 4 + [0.04] * 2 + [0.02] * 2 + [0.01] * 2 + [0.005] * 2),
        ("2", [0.08] * 6 + [0.04] * 4 + [0.02] * 2),
        ("9", [0.08] * 12),
    ],
)
def test_plateau_reduce_lowers_the_rate_after_so_many_misses(rates, threshold, expected):
    found = rates({"lr_scheduler_type": "plateau_reduce", "plateau_reduce_lr_threshold": threshold})
    assert found == pytest.approx(expected)


@pytest.mark.effect_of("plateau_reduce_lr_factor")
@pytest.mark.parametrize(("factor", "last"), [("0.5", 0.02), ("0.1", 0.0008), ("1", 0.08)])
def test_plateau_reduce_lowers_the_rate_by_its_factor(rates, factor, last):
    raw = {"lr_scheduler_type": "plateau_reduce", "plateau_reduce_lr_threshold": "2"}
    assert rates(raw | {"plateau_reduce_lr_factor": factor})[-1] == pytest.approx(last)


@pytest.mark.effect_of("lr_scheduler_type", "plateau_reduce_lr_factor", "fixed_rate_lr_half_life")
def test_each_schedule_has_settings_of_its_own(rates):
    plateau, fixed = {"lr_scheduler_type": "plateau_reduce"}, {"lr_scheduler_type": "fixed_rate_inv_t"}
    for raw, foreign in ((plateau, {"fixed_rate_lr_half_life": "1"}), (fixed, {"plateau_reduce_lr_factor": "0.1"})):
        raw = raw | {"plateau_reduce_lr_threshold": "1"}
        assert rates(raw | foreign) == rates(raw)


# Weights before the first update

SIZES = {"rnn_num_hidden": "24", "num_embed_source": "20", "num_embed_target": "14", "rnn_attention_num_hidden": "18"}


def fan(shape, factor):
    return {"in": shape[1], "out": shape[0], "avg": (shape[0] + shape[1]) / 2}[factor]


def check_bounds(weights, bound_of):
    """Every weight but the recurrent ones is drawn between -bound and bound, and comes near both."""
    drawn = {name: weight for name, weight in weights.items() if not is_bias(name) and "weight_hh" not in name}
    assert len(drawn) > 8
    for name, weight in drawn.items():
        bound = bound_of(weight.shape)
        assert weight.max() <= bound, name
        assert weight.min() >= -bound, name
        near = 0.9 if weight.numel() > 200 else 0.6
        assert weight.max() > near * bound, name
        assert weight.min() < -near * bound, name
        assert abs(weight.mean().item()) < 0.3 * bound, name


@pytest.mark.effect_of("weight_init_type", "weight_init_scale")
@pytest.mark.parametrize(("scale", "bound"), [("0.1", 0.1), ("0.7", 0.7), ("-0.3", 0.3)])
def test_uniform_draws_between_the_scale_and_its_negative(jobs, scale, bound):
    raw = SIZES | {"weight_init_type": "uniform", "weight_init_scale": scale}
    check_bounds(first_weights(jobs, raw), lambda shape: bound)


@pytest.mark.effect_of("weight_init_type", "weight_init_scale", "xavier_factor_type")
@pytest.mark.parametrize("factor", ["in", "out", "avg"])
@pytest.mark.parametrize("scale", [2.34, 0.5])
def test_xavier_draws_by_the_scale_and_the_connections_of_a_weight(jobs, factor, scale):
    raw = SIZES | {"weight_init_type": "xavier", "weight_init_scale": str(scale), "xavier_factor_type": factor}
    check_bounds(first_weights(jobs, raw), lambda shape: math.sqrt(scale / fan(shape, factor)))


@pytest.mark.effect_of("xavier_factor_type")
def test_the_factor_of_xavier_says_nothing_to_uniform(jobs):
    raw = {"weight_init_type": "uniform", "weight_init_scale": "0.1"}
    one, other = (first_weights(jobs, raw | {"xavier_factor_type": factor}) for factor in ("in", "out"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.effect_of("weight_init_type")
@pytest.mark.parametrize("kind", ["uniform", "xavier"])
def test_recurrent_weights_begin_orthogonal_and_biases_at_0_with_both(jobs, kind):
    weights = first_weights(jobs, SIZES | {"weight_init_type": kind})
    recurrent = copies({name: weight for name, weight in weights.items() if "weight_hh" in name})
    assert len(recurrent) == 3
    for weight in recurrent.values():
        gram = weight.double().T @ weight.double()
        torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype) * 1.414**2, rtol=0, atol=1e-5)
    for name, weight in weights.items():
        if is_bias(name):
            assert not weight.any(), name
